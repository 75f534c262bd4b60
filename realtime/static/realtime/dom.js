// @ts-check
/** Small helpers for the page's elements. Text is only ever set as text, never as HTML. */

/**
 * The element with this id, which the template promises.
 *
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no element #${id}.`);
  return element;
}

/**
 * @param {string} tag
 * @param {string} [className]
 * @param {string} [text]
 * @returns {any}
 */
export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/**
 * Set the text where it differs, so that nothing is announced or selected anew without need.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string | null} value null removes the attribute
 */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Show the sentence, or hide the element when there is none.
 *
 * @param {HTMLElement} element
 * @param {string} text
 */
export function say(element, text) {
  setText(element, text);
  element.hidden = !text;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * An icon of the page's sprite; the word beside it carries the meaning for screen readers.
 *
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "use"));
  setIcon(svg, name);
  return svg;
}

/**
 * @param {Element} svg
 * @param {string} name
 */
export function setIcon(svg, name) {
  if (svg.firstElementChild) setAttribute(svg.firstElementChild, "href", `#icon-${name}`);
}
