// @ts-check
/** Two texts as one, read-only: what only the older one has is struck, what is new is marked. */

import { unifiedMergeView } from "@codemirror/merge";
import { EditorState } from "@codemirror/state";
import { EditorView } from "@codemirror/view";

import { look } from "./look.js";

const DIFF_MS = 500;

/**
 * Show the difference in `host`, in place of what it showed before.
 *
 * @param {HTMLElement} host
 * @param {{older: string, newer: string, label: string}} texts
 * @returns {() => void} takes it away
 */
export function compare(host, { older, newer, label }) {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  const view = new EditorView({
    root,
    parent: /** @type {any} */ (root),
    state: EditorState.create({
      doc: newer,
      extensions: [
        EditorState.lineSeparator.of("\n"),
        EditorState.readOnly.of(true),
        EditorView.editable.of(false),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0", "aria-readonly": "true" }),
        unifiedMergeView({
          original: older,
          mergeControls: false,
          gutter: true,
          highlightChanges: true,
          collapseUnchanged: { margin: 2, minSize: 6 },
          diffConfig: { scanLimit: 2000, timeout: DIFF_MS },
        }),
        look,
      ],
    }),
  });
  return () => view.destroy();
}
