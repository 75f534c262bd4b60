// @ts-check
/**
 * Whether what is written is safe: with the server, and in the database.
 *
 * An edit is safe with the server once it has confirmed it; a version later than the one that was
 * known at the last edit says that the database has it too. Versions are asked for after edits,
 * ever less often while nothing comes, and now and then otherwise: others edit as well.
 *
 * @typedef {{version: number, updated_at: string}} Version
 */

import { serverNow } from "../api.js";
import { byId, setAttribute, setIcon, setText } from "../dom.js";
import { exact } from "../words.js";

const FIRST_MS = 1300;
const QUIET_MS = 1200; // longer than the server waits for quiet: no save is still to come
const LAST_MS = 15_000;
const IDLE_MS = 60_000;
const LONG_MS = 20_000;

export class Saved {
  #box = byId("saved");
  #icon = byId("saved-icon");
  #text = byId("saved-text");
  /** @type {Version | null} */
  #version = null;
  #isDirty = false;
  #dirtySince = 0;
  #versionAtEdit = 0;
  #editedAt = 0;
  #isRefused = false;
  #isReceived = true;
  #isLive = true; // there is nothing to be offline from before the text is opened
  #isOver = false;
  #pause = FIRST_MS;
  #timer = 0;
  #ask;

  /** @param {() => Promise<Version | null>} ask reads the last version; null when it cannot */
  constructor(ask) {
    this.#ask = ask;
  }

  /** @param {Version} version the last one saved, as the server tells */
  know({ version, updated_at }) {
    if (this.#version && version < this.#version.version) return;
    const isQuiet = performance.now() - this.#editedAt > QUIET_MS;
    if (isQuiet && this.#isReceived && version > this.#versionAtEdit) this.#isDirty = false;
    this.#version = { version, updated_at };
    this.#show();
    this.#askLater();
  }

  /** The text was edited, here or elsewhere. @param {boolean} isOwn */
  edited(isOwn) {
    if (isOwn) this.#isReceived = false;
    if (!this.#isDirty) this.#dirtySince = serverNow();
    this.#isDirty = true;
    this.#editedAt = performance.now();
    this.#versionAtEdit = this.#version?.version ?? 0;
    this.#pause = FIRST_MS;
    this.#show();
    this.#askLater();
  }

  /** The server has every edit that was made here. */
  received() {
    this.#isReceived = true;
    this.#show();
  }

  /**
   * Edits made here are refused, or are taken again.
   *
   * @param {boolean} isRefused
   */
  refused(isRefused) {
    this.#isRefused = isRefused && !this.#isReceived; // what was received before is safe
    this.#show();
  }

  /** @param {boolean} isLive @param {boolean} [isOver] whether there will be no connection again */
  connected(isLive, isOver = false) {
    this.#isLive = isLive;
    this.#isOver = isOver;
    this.#show();
    if (isLive) this.#askLater();
  }

  tick() {
    this.#show();
  }

  #askLater() {
    clearTimeout(this.#timer);
    if (this.#isOver) return;
    this.#timer = window.setTimeout(() => this.#askNow(), this.#isDirty ? this.#pause : IDLE_MS);
  }

  async #askNow() {
    this.#pause = Math.min(LAST_MS, this.#pause * 2);
    const version = document.hidden || !this.#isLive ? null : await this.#ask();
    if (version) this.know(version);
    else this.#askLater();
  }

  #show() {
    const { signal, icon, text } = this.#state();
    this.#box.hidden = !text;
    setAttribute(this.#box, "data-signal", signal);
    setIcon(this.#icon, icon);
    setText(this.#text, text);
    setAttribute(this.#box, "title", this.#version ? `Version ${this.#version.version}, saved ${exact(this.#version.updated_at)}` : null);
  }

  #state() {
    const failed = { signal: "failed", icon: "failed" };
    const waiting = { signal: "waiting", icon: "waiting" };
    if (this.#isOver && !this.#isReceived) return { ...failed, text: "Not saved: copy your last edits before you leave" };
    if (this.#isOver) return { ...failed, text: "" };
    if (this.#isRefused) return { ...failed, text: "Your last edit may not have been taken" };
    if (!this.#isLive && !this.#isReceived) return { ...waiting, text: "Offline: your edits are kept" };
    if (!this.#isLive) return { ...waiting, text: this.#version ? "Offline: what you write is kept" : "" };
    if (this.#isDirty && serverNow() - this.#dirtySince > LONG_MS && this.#isReceived) return { ...waiting, text: "With the server; saving takes long" };
    if (this.#isDirty) return { ...waiting, text: "Saving…" };
    return { signal: "ended", icon: "succeeded", text: this.#version ? savedText(this.#version) : "" };
  }
}

/** @param {Version} version */
function savedText({ version, updated_at }) {
  const time = new Date(updated_at).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  return `Saved · version ${version} · ${time}`;
}
