// @ts-check
/**
 * Who has the document open: a chip each, in the colour of their caret.
 *
 * @typedef {{id: number, name: string, colour: number, isSelf: boolean}} Present
 */

import { byId, make } from "../dom.js";

const MOST = 12;

export class People {
  #list = byId("people");
  #shown = "";

  /** @param {Present[]} all */
  show(all) {
    const known = JSON.stringify(all);
    if (known === this.#shown) return; // carets move all the time; names seldom change
    this.#shown = known;
    const chips = all.slice(0, MOST).map(({ name, colour, isSelf }) => {
      const chip = make("li", `person colour-${colour}`, isSelf ? `${name} (you)` : name);
      chip.title = chip.textContent;
      return chip;
    });
    if (all.length > MOST) chips.push(make("li", "small soft", `and ${all.length - MOST} more`));
    this.#list.replaceChildren(...chips);
  }
}

/**
 * The number of somebody's colour, always the same for the same person.
 *
 * @param {string} userId
 */
export function colourFor(userId) {
  let sum = 0;
  for (const character of userId) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return sum % 8;
}
