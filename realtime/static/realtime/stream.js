// @ts-check
/**
 * Streamed text on the page: appended in pieces, following its end unless the reader went up.
 */

import { make } from "./dom.js";

const CHUNK = 8192;
const NEAR_PX = 32;
const UPWARDS = ["ArrowUp", "PageUp", "Home"];

export class StreamedText {
  length = 0;
  #isFollowing = true;
  // The reader went up, by wheel, key or finger, and has not come down again.
  #isAway = false;
  #waiting = "";
  #frame = 0;
  /** @type {Text | null} */
  #last = null;
  #box;
  #scroller;
  #follow;

  /**
   * @param {HTMLElement} box holds the text
   * @param {HTMLElement} scroller scrolls it
   * @param {HTMLElement} follow the button that goes back to the end
   */
  constructor(box, scroller, follow) {
    this.#box = box;
    this.#scroller = scroller;
    this.#follow = follow;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const options = { passive: true };
    scroller.addEventListener("wheel", (event) => this.#went(event.deltaY < 0), options);
    scroller.addEventListener("keydown", (event) => this.#went(UPWARDS.includes(event.key)));
    scroller.addEventListener("touchstart", () => this.#went(true), options);
    scroller.addEventListener("touchend", () => this.#went(false), options);
    scroller.addEventListener("pointerdown", () => this.#went(false), options);
    follow.addEventListener("click", () => this.toEnd());
  }

  get text() {
    return this.#box.textContent + this.#waiting;
  }

  /** @param {string} text */
  append(text) {
    this.length += text.length;
    this.#waiting += text;
    // A hidden page paints no frames; whoever reads it must still find the text.
    if (document.hidden) this.#write();
    else this.#frame ||= requestAnimationFrame(() => this.#write());
  }

  /** @param {string} [text] */
  replace(text = "") {
    this.length = 0;
    this.#waiting = "";
    this.#last = null;
    this.#box.replaceChildren();
    if (text) this.append(text);
    this.toEnd();
  }

  toEnd() {
    this.#isFollowing = true;
    this.#isAway = false;
    this.#follow.hidden = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #write() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    let text = this.#waiting;
    this.#waiting = "";
    // Several blocks, cut at line ends: adding to one endless block would lay all of it out again.
    while (text) {
      const cut = this.#last && this.#last.length > CHUNK ? text.indexOf("\n") + 1 : 0;
      const piece = cut ? text.slice(0, cut) : text.slice(0, CHUNK);
      if (!this.#last) {
        this.#last = document.createTextNode("");
        this.#box.append(make("div", "chunk"));
        this.#box.lastElementChild?.append(this.#last);
      }
      this.#last.appendData(piece);
      if (cut) this.#last = null;
      text = text.slice(piece.length);
    }
    if (this.#isFollowing) this.toEnd();
    else this.#follow.hidden = false;
  }

  /**
   * The reader's intent. Not told from where the box is: it glides upwards in small steps, and text
   * that arrives after the first of them would pull it back.
   * @param {boolean} isUp
   */
  #went(isUp) {
    if (isUp && this.#scroller.scrollTop <= 0) return; // there is nothing above
    this.#isAway = isUp;
    if (isUp) this.#isFollowing = false;
    else this.#scrolled();
  }

  #scrolled() {
    if (this.#isAway) return;
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#isFollowing = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (this.#isFollowing) this.#follow.hidden = true;
  }
}
