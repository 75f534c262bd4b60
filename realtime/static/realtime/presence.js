// @ts-check
/**
 * Who else is on the board, and which models are in use: a few words in the bar.
 *
 * @typedef {import("./socket.js").Presence} RoomPresence
 */

import { byId, setText } from "./dom.js";

const NAMED = 3;

export class Presence {
  #here = byId("here");
  #models = byId("models-in-use");
  #me;

  /** @param {{id: string}} me */
  constructor(me) {
    this.#me = me;
  }

  /** @param {RoomPresence} presence */
  show({ count, users }) {
    const others = users.filter((user) => user.id !== this.#me.id).map((user) => user.name);
    setText(this.#here, count > 1 ? `Here: you, ${list(others, count - 1)}` : "Here: only you");
    this.#here.title = others.join(", ");
    this.#here.hidden = false;
  }

  /** The project does not let us know. */
  hide() {
    this.#here.hidden = true;
  }

  /** @param {string[]} modelIds */
  showModels(modelIds) {
    setText(this.#models, `In use: ${list(modelIds, modelIds.length)}`);
    this.#models.title = modelIds.join(", ");
    this.#models.hidden = modelIds.length === 0;
  }
}

/**
 * The first names, and how many more there are.
 *
 * @param {string[]} names
 * @param {number} count
 */
function list(names, count) {
  const named = names.slice(0, NAMED);
  if (count > named.length) named.push(`${(count - named.length).toLocaleString()} more`);
  return named.join(", ");
}
