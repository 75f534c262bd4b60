// @ts-check
/**
 * Streamed text on the page: appended in pieces, following its end unless the reader went up.
 */

import { make } from "./dom.js";

const CHUNK = 8192;
const NEAR_PX = 32;

export class StreamedText {
  length = 0;
  #isFollowing = true;
  // The reader turned the wheel upwards, and the box has not moved yet.
  #isLeaving = false;
  #top = 0;
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
    scroller.addEventListener("wheel", (event) => this.#turned(event), { passive: true });
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
    this.#isLeaving = false;
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
   * The wheel is heard before the box moves: text that arrives in between must not pull it back.
   * @param {WheelEvent} event
   */
  #turned(event) {
    if (event.deltaY >= 0 || this.#scroller.scrollTop <= 0) return;
    this.#isLeaving = true;
    this.#isFollowing = false;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    if (scrollTop < this.#top) this.#isLeaving = false;
    this.#top = scrollTop;
    if (this.#isLeaving) return;
    this.#isFollowing = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (this.#isFollowing) this.#follow.hidden = true;
  }
}
