// @ts-check
/**
 * What the bundle offers the documents page: the shared document, its editor, and a comparison.
 * Only these sources touch the npm packages; the page itself is plain modules like the board.
 */

export { compare } from "./compare.js";
export { SharedDocument } from "./shared.js";
export { Editor } from "./writing.js";
