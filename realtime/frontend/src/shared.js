// @ts-check
/**
 * The document as all its writers share it: a Yjs document, kept in step over y-websocket.
 *
 * @typedef {{name: string, colour: number}} Person
 * @typedef {{id: number, name: string, colour: number, isSelf: boolean}} Present
 * @typedef {{kind: "connecting"} | {kind: "live"} | {kind: "lost", until: number} | {kind: "final", code: number}} Line
 */

import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { readAuthMessage } from "y-protocols/auth";
import { messageYjsSyncStep1, messageYjsSyncStep2, writeSyncStep1 } from "y-protocols/sync";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

/** What we tell other Yjs clients about our colour; our own pages use the number. */
const COLOURS = ["#1d4fd7", "#b3221a", "#0b6b38", "#855000", "#7a2fa0", "#0f6674", "#a01f5f", "#4d5a12"];

const MESSAGE_SYNC = 0;
const MESSAGE_AUTH = 2;
const ASK_MS = 200;
const LONGEST_PAUSE_MS = 10_000;

export class SharedDocument {
  doc = new Y.Doc();
  text = this.doc.getText("content");
  undoManager = new Y.UndoManager(this.text, { trackedOrigins: new Set() });
  /** @type {WebsocketProvider} */
  #provider;
  #isArmed = false;
  #isSynced = false;
  #edits = 0;
  #received = 0;
  #asked = 0;
  #askTimer = 0;
  #on;

  /**
   * @param {string} serverUrl
   * @param {string} id
   * @param {Person} me
   * @param {{line: (line: Line) => void, synced: () => void, edited: (isOwn: boolean) => void,
   *   received: () => void, refused: (reason: string) => void, asked: () => void,
   *   present: (all: Present[]) => void}} on what the page is told: the state of the line; that the
   *   text is there; that it was edited; that every edit made here has been received by the server;
   *   that one was, or would be, refused; that the server asks for what was written here, as it does
   *   when it may be written now; who is present
   */
  constructor(serverUrl, id, me, on) {
    this.#on = on;
    // Other tabs of this browser are reached over the server too: only it knows who may write.
    const options = { connect: false, disableBc: true, maxBackoffTime: LONGEST_PAUSE_MS };
    this.#provider = new WebsocketProvider(serverUrl, id, this.doc, options);
    const color = COLOURS[me.colour % COLOURS.length];
    this.awareness.setLocalStateField("user", { name: me.name, color, colorLight: `${color}33` });
    this.#listen();
    this.#provider.connect();
  }

  get awareness() {
    return this.#provider.awareness;
  }

  /** Whether edits were made here that the server has not confirmed. */
  get hasUnreceived() {
    return this.#received < this.#edits;
  }

  /** Connect now instead of after the pause. */
  retry() {
    this.#provider.disconnect();
    this.#provider.connect();
  }

  destroy() {
    clearTimeout(this.#askTimer);
    this.#provider.destroy();
    this.doc.destroy();
  }

  #listen() {
    const provider = this.#provider;
    let isFinal = false;
    provider.on("status", ({ status }) => {
      if (status === "connecting") this.#on.line({ kind: "connecting" });
    });
    provider.on("connection-close", () => {
      this.#isSynced = false;
      // What the provider will wait: it counts this failure, then doubles from 100 ms.
      const pause = Math.min(LONGEST_PAUSE_MS, 100 * 2 ** (provider.wsUnsuccessfulReconnects + 1));
      if (!isFinal) this.#on.line({ kind: "lost", until: Date.now() + pause });
    });
    provider.on("closed", ({ code }) => {
      isFinal = true;
      this.#on.line({ kind: "final", code });
    });
    provider.on("sync", (isSynced) => {
      this.#isSynced = isSynced;
      if (!isSynced) return;
      this.#on.line({ kind: "live" });
      this.#on.synced();
      if (this.hasUnreceived) this.#askSoon(); // its answer counts what was sent before it
    });
    this.doc.on("update", (_update, origin) => this.#edited(origin !== provider));
    this.awareness.on("change", () => this.#on.present(this.#present()));
    provider.messageHandlers[MESSAGE_AUTH] = (_encoder, decoder) =>
      readAuthMessage(decoder, this.doc, (_doc, reason) => this.#on.refused(reason));
    this.#watchAnswers();
  }

  /** @param {boolean} isOwn */
  #edited(isOwn) {
    if (isOwn) {
      this.#edits += 1;
      this.#askSoon();
    }
    this.#on.edited(isOwn);
  }

  /**
   * The server answers in order: an answer to a question sent after an edit means that it has the
   * edit too. One question a moment, however much is typed.
   */
  #askSoon() {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#askTimer = window.setTimeout(() => {
      this.#isArmed = false;
      const ws = this.#provider.ws;
      if (!this.#isSynced || ws?.readyState !== WebSocket.OPEN) return;
      const encoder = encoding.createEncoder();
      encoding.writeVarUint(encoder, MESSAGE_SYNC);
      writeSyncStep1(encoder, this.doc);
      this.#asked = this.#edits;
      ws.send(encoding.toUint8Array(encoder));
    }, ASK_MS);
  }

  #watchAnswers() {
    const handle = this.#provider.messageHandlers[MESSAGE_SYNC];
    this.#provider.messageHandlers[MESSAGE_SYNC] = (encoder, decoder, ...rest) => {
      const begin = decoder.pos;
      const kind = decoding.readVarUint(decoder);
      decoder.pos = begin;
      handle(encoder, decoder, ...rest);
      if (kind === messageYjsSyncStep1 && this.#isSynced) this.#on.asked();
      if (kind !== messageYjsSyncStep2 || !this.#asked) return;
      this.#received = Math.max(this.#received, this.#asked);
      this.#asked = 0;
      if (this.hasUnreceived) this.#askSoon();
      else this.#on.received();
    };
  }

  /** @returns {Present[]} ourselves first, then by name */
  #present() {
    const self = this.doc.clientID;
    const all = [...this.awareness.getStates()].map(([id, state]) => ({
      id,
      name: nameOf(state),
      colour: colourOf(id, state),
      isSelf: id === self,
    }));
    return all.sort((a, b) => Number(b.isSelf) - Number(a.isSelf) || a.name.localeCompare(b.name));
  }
}

/** @param {Record<string, any>} state */
export function nameOf(state) {
  const name = state.user?.name;
  return typeof name === "string" && name ? name.slice(0, 64) : "Somebody";
}

/**
 * The number of the client's colour; one of another editor's palette gets any of ours.
 *
 * @param {number} id
 * @param {Record<string, any>} state
 */
export function colourOf(id, state) {
  const known = COLOURS.indexOf(state.user?.color);
  return known >= 0 ? known : id % COLOURS.length;
}
