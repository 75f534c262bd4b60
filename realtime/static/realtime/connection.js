// @ts-check
/**
 * The connection state above a page: an icon and a sentence, and a way out where there is one.
 *
 * @typedef {import("./socket.js").ConnectionState} ConnectionState
 * @typedef {{offline: string, meanwhile: string, final: Record<number, string>}} Words what a page
 *   says of its work while there is no connection, and of the codes that end it for good
 */

import { pageData } from "./api.js";
import { byId, setAttribute, setIcon, setText } from "./dom.js";

/** @type {Words} */
const BOARD = {
  offline: "Offline: tasks go on without you",
  meanwhile: "tasks go on",
  final: { 4403: "You have no access any more. Reload the page, or ask whoever runs the server." },
};

/** @type {Record<number, string>} */
const FINAL = {
  4401: "Signed out.",
  4408: "The server gave up waiting. Reload the page.",
  4429: "Too many messages. Reload the page in a moment.",
};

export class Connection {
  #box = byId("connection");
  #icon = byId("connection-icon");
  #text = byId("connection-text");
  #retry = byId("connection-retry");
  #signIn = byId("connection-sign-in");
  /** @type {ConnectionState} */
  #state = { kind: "idle" };
  #words;

  /**
   * @param {() => void} retry
   * @param {Words} [words]
   */
  constructor(retry, words = BOARD) {
    this.#words = words;
    this.#retry.addEventListener("click", retry);
    this.#signIn.href = `${pageData().login_url}?next=${encodeURIComponent(location.pathname)}`;
  }

  /** @param {ConnectionState} state */
  show(state) {
    this.#state = state;
    setAttribute(this.#box, "data-signal", SIGNALS[state.kind].signal);
    setAttribute(this.#box, "data-kind", state.kind);
    setIcon(this.#icon, SIGNALS[state.kind].icon);
    this.#retry.hidden = state.kind !== "waiting";
    this.#signIn.hidden = !(state.kind === "final" && state.code === 4401);
    this.tick();
  }

  tick() {
    setText(this.#text, sentence(this.#state, this.#words));
  }
}

/** @type {Record<ConnectionState["kind"], {signal: string, icon: string}>} */
const SIGNALS = {
  idle: { signal: "waiting", icon: "waiting" },
  connecting: { signal: "waiting", icon: "waiting" },
  live: { signal: "running", icon: "live" },
  waiting: { signal: "waiting", icon: "scheduled" },
  final: { signal: "failed", icon: "failed" },
};

/**
 * @param {ConnectionState} state
 * @param {Words} words
 */
function sentence(state, words) {
  switch (state.kind) {
    case "live":
      return "Live";
    case "waiting": {
      const seconds = Math.max(1, Math.ceil((state.until - Date.now()) / 1000));
      if (state.offline) return words.offline;
      return `Reconnecting in ${seconds} s; ${words.meanwhile}`;
    }
    case "final":
      return words.final[state.code] ?? FINAL[state.code] ?? `The server closed the connection (${state.code}). Reload the page.`;
    default:
      return "Connecting…";
  }
}
