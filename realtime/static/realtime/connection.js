// @ts-check
/**
 * The connection state above the board: an icon and a sentence, and a way out where there is one.
 *
 * @typedef {import("./socket.js").ConnectionState} ConnectionState
 */

import { pageData } from "./api.js";
import { byId, setAttribute, setIcon, setText } from "./dom.js";

/** @type {Record<number, string>} */
const FINAL = {
  4401: "Signed out.",
  4403: "You have no access any more. Reload the page, or ask whoever runs the server.",
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

  /** @param {() => void} retry */
  constructor(retry) {
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
    setText(this.#text, sentence(this.#state));
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

/** @param {ConnectionState} state */
function sentence(state) {
  switch (state.kind) {
    case "live":
      return "Live";
    case "waiting": {
      const seconds = Math.max(1, Math.ceil((state.until - Date.now()) / 1000));
      if (state.offline) return "Offline: tasks go on without you";
      return `Reconnecting in ${seconds} s; tasks go on`;
    }
    case "final":
      return FINAL[state.code] ?? `The server closed the connection (${state.code}). Reload the page.`;
    default:
      return "Connecting…";
  }
}
