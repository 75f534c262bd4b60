// @ts-check
/**
 * The page of one document: wires the editor's bundle to the page, the socket and the REST API.
 *
 * @typedef {import("./api.js").Doc} Doc
 * @typedef {{kind: "connecting"} | {kind: "live"} | {kind: "lost", until: number}
 *   | {kind: "final", code: number}} Line
 */

import { ApiError, SIGNED_OUT, pageData } from "../api.js";
import { Connection } from "../connection.js";
import { byId, say, setText } from "../dom.js";
import { SignalboxSocket } from "../socket.js";
import { changeDocument, readDocument } from "./api.js";
import { loadEditor } from "./bundle.js";
import { Continuing } from "./continuing.js";
import { People, colourFor } from "./people.js";
import { Saved } from "./saved.js";
import { Sharing } from "./sharing.js";
import { Versions } from "./versions.js";

const TICK_MS = 500;
const READ_AGAIN_MS = 3000;
const NOT_SIGNED_IN = 4401;

const WORDS = {
  offline: "Offline: your edits are kept",
  meanwhile: "your edits are kept",
  final: {
    4403: "You may not open this document any more.",
    4404: "This document was deleted.",
    4413: "This document is too large.",
  },
};

/** @type {Record<number, string>} */
const FINAL_ADVICE = {
  4401: "You are signed out. Your last edits are still on this page: copy what you need, then sign in again.",
  4403: "Your access was taken away. Ask the owner; what you see is how it was at that moment.",
  4404: "The document was deleted. What you see is only on this page: copy what you need.",
  4413: "The document has reached its largest size, and your last edit did not fit. What you see is only on this page: copy what you need, then reload.",
};

class DocumentPage {
  #id = pageData().document;
  #me = pageData().user;
  /** @type {Doc | null} */
  #doc = null;
  /** @type {any} the bundle's exports */
  #bundle = null;
  /** @type {any} */
  #shared = null;
  /** @type {any} */
  #editor = null;
  /** @type {Line["kind"]} */
  #line = "connecting";
  #endComparison = () => {};
  #title = byId("title");
  #trouble = byId("trouble");
  #refused = byId("refused");
  #say = byId("sheet-say");
  #people = new People();
  #saved = new Saved(() => this.#askVersion());
  #sharing = new Sharing(this.#id);
  #versions = new Versions(this.#id, {
    show: (version) => this.#compare(version),
    hide: () => this.#backToText(),
  });
  // For tasks; the text has a socket of its own, whose state is the one that is shown.
  #socket = new SignalboxSocket(socketUrl("/ws/"));
  #continuing = new Continuing(this.#id, {
    socket: this.#socket,
    trouble: (text) => say(this.#trouble, text),
  });
  #connection = new Connection(() => this.#shared?.retry(), WORDS);

  async open() {
    window.addEventListener(SIGNED_OUT, () => this.#socket.refuse(NOT_SIGNED_IN));
    window.addEventListener("beforeunload", (event) => {
      if (this.#shared?.hasUnreceived) event.preventDefault();
    });
    window.addEventListener("online", () => this.#line === "lost" && this.#shared?.retry());
    window.setInterval(() => this.#tick(), TICK_MS);
    this.#wireTitle();
    this.#wireUndo();
    if (!(await this.#read())) return;
    this.#socket.open();
    this.#bundle = await loadEditor((sentence) => this.#withoutEditor(sentence));
    this.#share();
  }

  #tick() {
    this.#connection.tick();
    this.#saved.tick();
  }

  // --- the document as the REST API knows it ------------------------------------------------

  /** @returns {Promise<boolean>} false when it is not there for this user */
  async #read() {
    for (;;) {
      try {
        this.#know(await readDocument(this.#id));
        say(this.#trouble, "");
        return true;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.status === 404) {
          this.#connection.show({ kind: "final", code: 4404 });
          say(this.#say, "");
          say(this.#trouble, "This document is not there: it was deleted, or it is not shared with you. Go back to the documents.");
          return false;
        }
        say(this.#trouble, `The document could not be read. ${error.message}`);
        await new Promise((resolve) => setTimeout(resolve, READ_AGAIN_MS));
      }
    }
  }

  async #askVersion() {
    try {
      const doc = await readDocument(this.#id);
      this.#know(doc);
      return doc;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return null; // the line itself says what is wrong
    }
  }

  /** @param {Doc} doc */
  #know(doc) {
    const isNewVersion = this.#doc !== null && doc.version !== this.#doc.version;
    this.#doc = doc;
    const canWrite = doc.permission !== "read";
    this.#showTitle();
    this.#title.readOnly = !canWrite;
    byId("read-only").hidden = canWrite;
    byId("share").hidden = doc.permission !== "owner";
    byId("undo").hidden = byId("redo").hidden = !canWrite;
    this.#versions.allow(canWrite);
    this.#editor?.setReader(!canWrite);
    if (canWrite) {
      say(this.#refused, "");
      this.#saved.refused(false);
    }
    this.#continuing.allow(canWrite && this.#editor !== null);
    this.#saved.know(doc);
    if (isNewVersion) this.#versions.refresh();
  }

  // --- title --------------------------------------------------------------------------------

  #wireTitle() {
    this.#title.addEventListener("change", () => this.#rename());
    this.#title.addEventListener("blur", () => this.#showTitle());
    this.#title.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape") this.#title.value = this.#doc?.title ?? "";
      if (event.key === "Enter" || event.key === "Escape") this.#title.blur();
    });
  }

  #showTitle() {
    const title = this.#doc?.title ?? "";
    document.title = `${title || "Untitled"} · Signalbox`;
    if (document.activeElement !== this.#title && this.#title.value !== title) this.#title.value = title;
  }

  async #rename() {
    const before = this.#doc;
    const title = this.#title.value.trim();
    if (!before || title === before.title) return;
    if (!title) {
      this.#title.value = before.title;
      return;
    }
    this.#doc = { ...before, title };
    try {
      this.#know(await changeDocument(this.#id, { title }));
      say(this.#trouble, "");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#doc = before;
      this.#showTitle();
      say(this.#trouble, `The title was not changed: ${error.message}`);
    }
  }

  // --- the text -----------------------------------------------------------------------------

  /**
   * Without the editor's bundle: say why, and show the text to read.
   *
   * @param {string} sentence
   */
  #withoutEditor(sentence) {
    say(this.#say, sentence);
    byId("plain").hidden = !sentence;
    if (sentence) setText(byId("plain-text"), this.#doc?.content ?? "");
    byId("connection").hidden = Boolean(sentence);
  }

  #share() {
    say(this.#say, "Reading the text…");
    const me = { name: this.#me.name, colour: colourFor(this.#me.id) };
    this.#shared = new this.#bundle.SharedDocument(socketUrl("/ws/documents"), this.#id, me, {
      line: (/** @type {Line} */ line) => this.#lineChanged(line),
      synced: () => this.#synced(),
      edited: (/** @type {boolean} */ isOwn) => this.#edited(isOwn),
      received: () => this.#saved.received(),
      refused: (/** @type {string} */ reason) => this.#refuse(reason),
      asked: () => this.#askVersion(), // perhaps because we may write now
      present: (/** @type {any} */ all) => this.#people.show(all),
    });
    for (const event of ["stack-item-added", "stack-item-popped", "stack-cleared"]) {
      this.#shared.undoManager.on(event, () => this.#showUndo());
    }
  }

  #synced() {
    if (this.#editor || !this.#doc) return;
    const isReader = this.#doc.permission === "read";
    say(this.#say, "");
    byId("editor").hidden = false;
    this.#editor = new this.#bundle.Editor(byId("editor"), this.#shared, { isReader });
    this.#continuing.allow(!isReader);
    if (!isReader) this.#continuing.find();
    if (!isReader && matchMedia("(pointer: fine)").matches) this.#editor.focus();
  }

  /** @param {boolean} isOwn */
  #edited(isOwn) {
    if (this.#editor) this.#saved.edited(isOwn);
  }

  /** @param {Line} line */
  #lineChanged(line) {
    this.#line = line.kind;
    if (line.kind === "lost") this.#connection.show({ kind: "waiting", until: line.until, offline: !navigator.onLine });
    else this.#connection.show(line);
    this.#saved.connected(line.kind === "live", line.kind === "final");
    if (line.kind === "live") say(this.#refused, "");
    if (line.kind !== "final") return;
    this.#editor?.setReader(true);
    say(this.#refused, "");
    say(this.#say, this.#editor ? "" : "The text could not be opened.");
    say(this.#trouble, FINAL_ADVICE[line.code] ?? "The server closed this document. Copy what you need, then reload the page.");
    this.#continuing.allow(false);
  }

  /** @param {string} reason a sentence of the server's */
  #refuse(reason) {
    this.#saved.refused(true);
    say(this.#refused, reason || "The server refused an edit: others do not see it.");
    this.#askVersion(); // our rights may have changed
  }

  #wireUndo() {
    for (const name of ["undo", "redo"]) {
      byId(name).addEventListener("click", () => {
        this.#shared?.undoManager[name]();
        this.#editor?.focus();
      });
    }
  }

  #showUndo() {
    byId("undo").disabled = !this.#shared.undoManager.canUndo();
    byId("redo").disabled = !this.#shared.undoManager.canRedo();
  }

  // --- versions -----------------------------------------------------------------------------

  /** @param {import("./api.js").DocVersion} version */
  #compare({ version, content = "" }) {
    this.#endComparison();
    if (!this.#bundle) {
      say(this.#trouble, "Versions are compared in the editor, which is not there yet.");
      return;
    }
    const host = byId("comparison");
    byId("editor").hidden = true;
    host.hidden = false;
    const newer = this.#shared.text.toString();
    this.#endComparison = this.#bundle.compare(host, { older: content, newer, label: `Version ${version} compared with the text` });
  }

  #backToText() {
    this.#endComparison();
    this.#endComparison = () => {};
    byId("comparison").hidden = true;
    byId("editor").hidden = !this.#editor;
  }
}

/** @param {string} path */
function socketUrl(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

new DocumentPage().open();
