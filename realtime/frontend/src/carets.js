// @ts-check
/**
 * The others' carets and selections in the text, and ours told to them. Colours are classes, so
 * that they follow the theme and need no inline style, which a content policy may forbid.
 *
 * @typedef {import("./shared.js").SharedDocument} SharedDocument
 */

import { Annotation, Facet } from "@codemirror/state";
import { Decoration, EditorView, ViewPlugin, WidgetType } from "@codemirror/view";
import * as Y from "yjs";

import { colourOf, nameOf } from "./shared.js";

const NAME_MS = 2500;

/** @type {Facet<SharedDocument, SharedDocument>} */
const shared = Facet.define({ combine: (values) => values[0] });
const somebodyMoved = Annotation.define();

class CaretWidget extends WidgetType {
  /**
   * @param {string} name
   * @param {number} colour
   * @param {boolean} isNamed whether it has just moved
   */
  constructor(name, colour, isNamed) {
    super();
    Object.assign(this, { name, colour, isNamed });
  }

  /** @param {any} other */
  eq(other) {
    return this.key === other.key;
  }

  get key() {
    const { name, colour, isNamed } = /** @type {any} */ (this);
    return JSON.stringify([name, colour, isNamed]);
  }

  toDOM() {
    const { name, colour, isNamed } = /** @type {any} */ (this);
    const caret = document.createElement("span");
    caret.className = `caret colour-${colour}${isNamed ? " is-named" : ""}`;
    caret.setAttribute("aria-hidden", "true"); // the list of people says who is here
    const label = document.createElement("span");
    label.className = "caret-name";
    label.textContent = name;
    caret.append(label);
    return caret;
  }

  ignoreEvent() {
    return true;
  }
}

class Carets {
  /** @type {Map<number, {place: string, timer: number}>} */
  #moves = new Map();
  #timer = 0;

  /** @param {EditorView} view */
  constructor(view) {
    this.view = view;
    this.shared = view.state.facet(shared);
    this.decorations = this.#draw();
    this.shared.awareness.on("change", this.#changed);
  }

  destroy() {
    clearTimeout(this.#timer);
    this.shared.awareness.off("change", this.#changed);
    this.shared.awareness.setLocalStateField("cursor", null);
    for (const { timer } of this.#moves.values()) clearTimeout(timer);
  }

  /** @param {import("@codemirror/view").ViewUpdate} update */
  update(update) {
    if (update.docChanged || update.selectionSet || update.focusChanged) this.#tell(update);
    const moved = update.transactions.some((transaction) => transaction.annotation(somebodyMoved));
    if (update.docChanged || moved) this.decorations = this.#draw();
  }

  /** @param {{added: number[], updated: number[], removed: number[]}} change */
  #changed = ({ added, updated, removed }) => {
    const self = this.shared.doc.clientID;
    if ([...added, ...updated, ...removed].some((id) => id !== self)) this.#redrawSoon();
  };

  /** After the present update of the view, and once for many changes. */
  #redrawSoon() {
    if (this.#timer) return;
    this.#timer = window.setTimeout(() => {
      this.#timer = 0;
      this.view.dispatch({ annotations: somebodyMoved.of(true) });
    }, 16);
  }

  /** @param {import("@codemirror/view").ViewUpdate} update */
  #tell({ view, state }) {
    const { awareness, text } = this.shared;
    const local = awareness.getLocalState();
    if (!local || !view.hasFocus) return; // where we were stays our place while we look elsewhere
    const { anchor, head } = state.selection.main;
    const cursor = {
      anchor: Y.createRelativePositionFromTypeIndex(text, anchor),
      head: Y.createRelativePositionFromTypeIndex(text, head),
    };
    if (JSON.stringify(cursor) !== JSON.stringify(local.cursor)) {
      awareness.setLocalStateField("cursor", cursor);
    }
  }

  #draw() {
    const ranges = [];
    const { awareness, doc } = this.shared;
    for (const [id, state] of awareness.getStates()) {
      const place = id === doc.clientID ? null : this.#place(state.cursor);
      if (!place) continue;
      const colour = colourOf(id, state);
      const [from, to] = [Math.min(place.anchor, place.head), Math.max(place.anchor, place.head)];
      if (from < to) ranges.push(Decoration.mark({ class: `selected colour-${colour}` }).range(from, to));
      const widget = new CaretWidget(nameOf(state), colour, this.#isNamed(id, state.cursor));
      ranges.push(Decoration.widget({ side: place.head > place.anchor ? -1 : 1, widget }).range(place.head));
    }
    return Decoration.set(ranges, true);
  }

  /**
   * @param {any} cursor what another client says; it may say anything
   * @returns {{anchor: number, head: number} | null} null where it is nowhere in our text
   */
  #place(cursor) {
    if (!cursor?.anchor || !cursor?.head) return null;
    try {
      const anchor = this.#index(cursor.anchor);
      const head = this.#index(cursor.head);
      return anchor === null || head === null ? null : { anchor, head };
    } catch {
      return null;
    }
  }

  /** @param {any} json */
  #index(json) {
    const { doc, text } = this.shared;
    const position = Y.createRelativePositionFromJSON(json);
    const found = Y.createAbsolutePositionFromRelativePosition(position, doc);
    if (found?.type !== text) return null;
    // In the middle of an update of the view its text may be shorter than the shared one.
    return Math.min(found.index, this.view.state.doc.length);
  }

  /**
   * A name stands at a caret for a moment after it has moved; then the text is legible again.
   *
   * @param {number} id
   * @param {unknown} cursor
   */
  #isNamed(id, cursor) {
    const place = JSON.stringify(cursor);
    const last = this.#moves.get(id);
    if (last?.place !== place) {
      clearTimeout(last?.timer);
      const timer = window.setTimeout(() => {
        const move = this.#moves.get(id);
        if (move) move.timer = 0;
        this.#redrawSoon();
      }, NAME_MS);
      this.#moves.set(id, { place, timer });
      return true;
    }
    return last.timer !== 0;
  }
}

/**
 * @param {SharedDocument} document
 * @returns {import("@codemirror/state").Extension}
 */
export function carets(document) {
  const plugin = ViewPlugin.fromClass(Carets, { decorations: (value) => value.decorations });
  return [shared.of(document), plugin];
}
