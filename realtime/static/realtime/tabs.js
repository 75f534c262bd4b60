// @ts-check
/** On a phone the three columns are three tabs; on wide screens they are simply columns. */

import { byId } from "./dom.js";

const PHONE = window.matchMedia("(max-width: 899px)");
const NAMES = ["start", "output", "tasks"];

export class Tabs {
  /** @type {HTMLButtonElement[]} */
  #tabs = NAMES.map((name) => byId(`tab-${name}`));
  /** @type {HTMLElement[]} */
  #panels = NAMES.map((name) => byId(`panel-${name}`));
  #current = "start";

  constructor() {
    this.#tabs.forEach((tab, index) => {
      tab.addEventListener("click", () => this.open(NAMES[index]));
      tab.addEventListener("keydown", (event) => this.#key(event, index));
    });
    PHONE.addEventListener("change", () => this.#show());
    this.#show();
  }

  /** @param {string} name */
  open(name) {
    this.#current = name;
    this.#show();
  }

  #show() {
    this.#tabs.forEach((tab, index) => {
      const isCurrent = NAMES[index] === this.#current;
      tab.setAttribute("aria-selected", String(isCurrent));
      tab.tabIndex = isCurrent ? 0 : -1;
      const panel = this.#panels[index];
      panel.toggleAttribute("data-closed", !isCurrent);
      if (PHONE.matches) panel.setAttribute("role", "tabpanel");
      else panel.removeAttribute("role");
    });
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} index
   */
  #key(event, index) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const to = (index + step + NAMES.length) % NAMES.length;
    this.open(NAMES[to]);
    this.#tabs[to].focus();
  }
}
