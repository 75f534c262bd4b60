// @ts-check
/** The dialog in which an owner gives others access and takes it away. */

import { ApiError } from "../api.js";
import { byId, icon, make, say } from "../dom.js";
import { giveAccess, listAccess, takeAccess } from "./api.js";

/** @typedef {import("./api.js").Permission} Permission */

export class Sharing {
  #dialog = byId("share-dialog");
  #list = byId("share-list");
  #name = byId("share-name");
  #right = byId("share-right");
  #trouble = byId("share-trouble");
  #id;

  /** @param {string} id of the document */
  constructor(id) {
    this.#id = id;
    byId("share").addEventListener("click", () => this.#open());
    byId("share-close").addEventListener("click", () => this.#dialog.close());
    byId("share-form").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#give();
    });
  }

  async #open() {
    say(this.#trouble, "");
    this.#dialog.showModal();
    this.#name.focus();
    await this.#try(() => Promise.resolve());
  }

  async #give() {
    const name = this.#name.value.trim();
    if (!name) return;
    if (await this.#try(() => giveAccess(this.#id, name, this.#right.value))) this.#name.value = "";
    this.#name.focus();
  }

  /**
   * Do it, then show who has access now.
   *
   * @param {() => Promise<unknown>} change
   */
  async #try(change) {
    try {
      await change();
      say(this.#trouble, "");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(this.#trouble, `Not changed: ${error.message}`);
      return false;
    }
    try {
      const { access } = await listAccess(this.#id);
      this.#list.replaceChildren(...access.map((one) => this.#row(one)));
      byId("share-empty").hidden = access.length > 0;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(this.#trouble, `Who has access could not be read. ${error.message}`);
    }
    return true;
  }

  /** @param {{username: string, permission: Permission}} one */
  #row({ username, permission }) {
    const row = make("li", "share-row");
    row.append(make("span", "name", username));
    const right = make("select");
    right.setAttribute("aria-label", `What ${username} may do`);
    for (const value of ["write", "read"]) right.append(make("option", "", value));
    right.value = permission;
    right.addEventListener("change", () => this.#try(() => giveAccess(this.#id, username, right.value)));
    const remove = make("button", "quiet");
    remove.type = "button";
    remove.setAttribute("aria-label", `Take access from ${username}`);
    remove.title = "Take access away";
    remove.append(icon("close"));
    remove.addEventListener("click", async () => {
      await this.#try(() => takeAccess(this.#id, username));
      this.#name.focus();
    });
    row.append(right, remove);
    return row;
  }
}
