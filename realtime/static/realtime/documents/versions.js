// @ts-check
/**
 * The side panel of versions: listed, compared with the text as it is now, restored. Restoring is
 * an edit like any other: nobody loses a word, and the version before it stays in the list.
 *
 * @typedef {import("./api.js").DocVersion} DocVersion
 */

import { ApiError, serverNow } from "../api.js";
import { byId, make, say, setAttribute, setText } from "../dom.js";
import { age, exact } from "../words.js";
import { listVersions, readVersion, restoreVersion } from "./api.js";

export class Versions {
  #panel = byId("versions");
  #button = byId("versions-open");
  #list = byId("versions-list");
  #say = byId("versions-say");
  #trouble = byId("versions-trouble");
  #foot = byId("versions-foot");
  #restore = byId("restore");
  /** @type {DocVersion[]} */
  #versions = [];
  #chosen = 0;
  #canWrite = false;
  #actions;
  #id;

  /**
   * @param {string} id of the document
   * @param {{show: (version: DocVersion) => void, hide: () => void}} actions compare a version with
   *   the present text, and go back to writing
   */
  constructor(id, actions) {
    this.#id = id;
    this.#actions = actions;
    this.#button.addEventListener("click", () => (this.#panel.hidden ? this.#open() : this.#close()));
    byId("versions-close").addEventListener("click", () => this.#close());
    byId("versions-back").addEventListener("click", () => this.#choose(0));
    this.#panel.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape") this.#close();
    });
    this.#restore.addEventListener("click", () => this.#restoreChosen());
  }

  /** @param {boolean} canWrite */
  allow(canWrite) {
    this.#canWrite = canWrite;
    this.#restore.hidden = !canWrite;
    this.#button.disabled = false;
  }

  /** A version was saved: the list, if it is open, is out of date. */
  refresh() {
    if (!this.#panel.hidden) this.#read();
  }

  #open() {
    this.#panel.hidden = false;
    setAttribute(this.#button, "aria-expanded", "true");
    say(this.#say, "Reading the versions…");
    this.#read();
    byId("versions-close").focus();
  }

  #close() {
    this.#choose(0);
    this.#panel.hidden = true;
    setAttribute(this.#button, "aria-expanded", "false");
    this.#button.focus();
  }

  async #read() {
    try {
      this.#versions = (await listVersions(this.#id)).versions;
      say(this.#trouble, "");
      say(this.#say, this.#versions.length ? "" : "No version has been kept yet. One is kept whenever the text is saved.");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(this.#say, "");
      say(this.#trouble, `The versions could not be read. ${error.message}`);
    }
    this.#show();
  }

  #show() {
    const focused = document.activeElement?.getAttribute("data-version");
    this.#list.replaceChildren(...this.#versions.map((version) => this.#row(version)));
    if (focused) this.#list.querySelector(`[data-version="${focused}"]`)?.focus();
    this.#foot.hidden = !this.#chosen;
    setText(this.#restore, `Restore version ${this.#chosen}`);
  }

  /** @param {DocVersion} version */
  #row({ version, created_at: savedAt }) {
    const row = make("li");
    const button = make("button", "version");
    button.type = "button";
    button.dataset.version = version;
    if (version === this.#chosen) button.setAttribute("aria-current", "true");
    const when = make("time", "small soft", `saved ${age(serverNow() - Date.parse(savedAt))} ago`);
    when.dateTime = savedAt;
    when.title = exact(savedAt);
    button.append(make("span", "word", `Version ${version}`), when);
    button.addEventListener("click", () => this.#choose(version));
    row.append(button);
    return row;
  }

  /** @param {number} version 0 goes back to the text */
  async #choose(version) {
    this.#chosen = version;
    this.#show();
    say(this.#trouble, "");
    if (!version) {
      this.#actions.hide();
      return;
    }
    try {
      const found = await readVersion(this.#id, version);
      if (this.#chosen === version) this.#actions.show(found);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(this.#trouble, `Version ${version} could not be read. ${error.message}`);
    }
  }

  async #restoreChosen() {
    if (!this.#canWrite || this.#restore.ariaDisabled === "true") return;
    this.#restore.ariaDisabled = "true";
    try {
      await restoreVersion(this.#id, this.#chosen);
      await this.#choose(0);
      this.refresh();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(this.#trouble, `Not restored: ${error.message}`);
    } finally {
      this.#restore.ariaDisabled = "false";
    }
  }
}
