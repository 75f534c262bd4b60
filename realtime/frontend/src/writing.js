// @ts-check
/**
 * The editor of a shared document: CodeMirror in a shadow root of its own, where its styles are
 * adopted as sheets; in the page itself they would be inline, which a content policy may forbid.
 *
 * @typedef {import("./shared.js").SharedDocument} SharedDocument
 */

import { defaultKeymap } from "@codemirror/commands";
import { search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState } from "@codemirror/state";
import { EditorView, highlightSpecialChars, keymap, placeholder } from "@codemirror/view";
import { yCollab, yUndoManagerKeymap } from "y-codemirror.next";

import { carets } from "./carets.js";
import { look } from "./look.js";

export class Editor {
  #view;
  #rights = new Compartment();

  /**
   * @param {HTMLElement} host
   * @param {SharedDocument} shared
   * @param {{isReader: boolean}} options
   */
  constructor(host, shared, { isReader }) {
    const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    this.#view = new EditorView({
      root,
      parent: /** @type {any} */ (root),
      state: EditorState.create({
        doc: plain(shared.text.toDelta()),
        extensions: [
          // Yjs counts every character: a carriage return is one of them and no end of a line.
          EditorState.lineSeparator.of("\n"),
          yCollab(toldPlainly(shared.text), null, { undoManager: shared.undoManager }),
          carets(shared),
          keymap.of([...yUndoManagerKeymap, ...searchKeymap, ...defaultKeymap]),
          search({ top: true }),
          highlightSpecialChars(),
          EditorView.lineWrapping,
          this.#rights.of(rights(isReader)),
          look,
        ],
      }),
    });
  }

  /** @param {boolean} isReader */
  setReader(isReader) {
    this.#view.dispatch({ effects: this.#rights.reconfigure(rights(isReader)) });
  }

  focus() {
    this.#view.focus();
  }

  destroy() {
    this.#view.destroy();
  }
}

/** Stands for a thing that is no text. */
const THING = "\ufffc";

/**
 * Other editors may put things into the text that are no text; each takes one place, in Yjs'
 * counting and in ours.
 *
 * @param {{insert?: unknown}[]} delta
 */
function plain(delta) {
  return delta.map(({ insert }) => (typeof insert === "string" ? insert : THING)).join("");
}

/**
 * The same text, whose changes are told to its observers with `THING` for what is no text.
 *
 * @param {import("yjs").Text} text
 */
function toldPlainly(text) {
  const [observe, unobserve] = [text.observe.bind(text), text.unobserve.bind(text)];
  const tellers = new Map();
  text.observe = (listener) => {
    /** @type {typeof listener} */
    const tell = (event, transaction) => {
      const delta = event.delta.map((part) => (part.insert === undefined ? part : { insert: plain([part]) }));
      listener(/** @type {any} */ ({ delta }), transaction);
    };
    tellers.set(listener, tell);
    observe(tell);
  };
  text.unobserve = (listener) => unobserve(tellers.get(listener) ?? listener);
  return text;
}

/** @param {boolean} isReader */
function rights(isReader) {
  /** @type {Record<string, string>} */
  const attributes = {
    "aria-label": "Document text",
    "aria-readonly": String(isReader),
    autocapitalize: "sentences",
    spellcheck: "true",
    tabindex: "0", // a reader scrolls and selects with the keyboard too
  };
  return [
    EditorState.readOnly.of(isReader),
    EditorView.editable.of(!isReader),
    EditorView.contentAttributes.of(attributes),
    placeholder(isReader ? "Nothing is written here yet." : "Write here."),
  ];
}
