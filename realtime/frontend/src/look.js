// @ts-check
/** How the editor looks: the page's own custom properties, which reach into the shadow root. */

import { EditorView } from "@codemirror/view";

const COLOURS = 8;

/** @type {Record<string, any>} */
const colours = {};
for (let number = 0; number < COLOURS; number++) {
  colours[`.colour-${number}`] = { "--hand": `var(--hand-${number})` };
}

export const look = EditorView.theme({
  "&": { height: "100%", color: "var(--ink)", backgroundColor: "var(--panel)", fontSize: "15px" },
  "&.cm-focused": { outline: "none" }, // the frame around the host shows the focus
  ".cm-scroller": { fontFamily: "var(--sans)", lineHeight: "1.6", overflowX: "hidden" },
  ".cm-content": {
    flex: "1 1 0",
    minWidth: "0",
    maxWidth: "calc(70ch + 32px)",
    margin: "0 auto",
    padding: "24px 16px 40vh",
    caretColor: "var(--ink)",
    overflowWrap: "anywhere",
  },
  ".cm-line": { padding: "0" },
  ".cm-placeholder": { color: "var(--soft)" },
  ".cm-specialChar": { color: "var(--failed)" },

  ...colours,
  ".selected": { backgroundColor: "color-mix(in srgb, var(--hand) 24%, transparent)" },
  ".caret": {
    position: "relative",
    marginInline: "-1px",
    borderLeft: "2px solid var(--hand)",
    pointerEvents: "auto",
  },
  ".caret-name": {
    position: "absolute",
    bottom: "100%",
    left: "-2px",
    padding: "0 4px",
    borderRadius: "4px 4px 4px 0",
    backgroundColor: "var(--hand)",
    color: "var(--on-hand)",
    font: "600 13px/1.4 var(--sans)",
    whiteSpace: "nowrap",
    pointerEvents: "none",
    visibility: "hidden",
    zIndex: "2",
  },
  ".caret.is-named .caret-name, .caret:hover .caret-name": { visibility: "visible" },

  ".cm-panels": { color: "var(--ink)", backgroundColor: "var(--paper)", fontFamily: "var(--sans)" },
  ".cm-panels.cm-panels-top": { borderBottom: "1px solid var(--line)" },
  ".cm-panel.cm-search": { padding: "8px 40px 8px 12px", fontSize: "13px" },
  ".cm-panel.cm-search label": { fontSize: "13px", color: "var(--ink)" },
  ".cm-panel.cm-search [name=close]": { fontSize: "18px", width: "32px", height: "32px", color: "var(--ink)" },
  ".cm-textfield": {
    minHeight: "32px",
    border: "1px solid var(--edge)",
    borderRadius: "6px",
    backgroundColor: "var(--panel)",
    color: "var(--ink)",
    fontSize: "15px",
  },
  ".cm-textfield::placeholder": { color: "var(--soft)", opacity: "1" },
  ".cm-button": {
    minHeight: "32px",
    border: "1px solid var(--edge)",
    borderRadius: "6px",
    backgroundImage: "none",
    backgroundColor: "var(--panel)",
    color: "var(--ink)",
    fontSize: "13px",
  },
  ".cm-searchMatch": { backgroundColor: "color-mix(in srgb, var(--waiting) 24%, transparent)" },
  ".cm-searchMatch.cm-searchMatch-selected": { backgroundColor: "color-mix(in srgb, var(--accent) 32%, transparent)" },

  // A comparison: never by colour alone. What went is struck through, what came is underlined.
  ".cm-gutters": { backgroundColor: "transparent", border: "none" },
  ".cm-gutter.cm-changeGutter": { width: "4px", paddingLeft: "0" },
  "&.cm-editor.cm-merge-b .cm-changedLineGutter": { background: "var(--running)" },
  "&.cm-editor.cm-merge-b .cm-deletedLineGutter": { background: "var(--failed)" },
  "&.cm-merge-b .cm-changedLine": { backgroundColor: "color-mix(in srgb, var(--running) 10%, transparent)" },
  "&.cm-merge-b .cm-changedText, .cm-insertedLine .cm-changedText": {
    background: "color-mix(in srgb, var(--running) 18%, transparent)",
    textDecoration: "underline",
  },
  ".cm-deletedChunk": { backgroundColor: "color-mix(in srgb, var(--failed) 8%, transparent)", paddingLeft: "0" },
  ".cm-deletedChunk .cm-deletedText, .cm-deletedChunk .cm-deletedLine, .cm-deletedLine del": {
    background: "none",
    textDecoration: "line-through",
  },
  ".cm-collapsedLines": { color: "var(--soft)", background: "var(--paper)", padding: "4px 8px" },
});
