// @ts-check
/** How states, times and names are written on the board. */

/** @typedef {"running" | "waiting" | "failed" | "ended" | "canceled"} Signal */

/** @type {Record<string, {signal: Signal, icon: string, group: number}>} */
const STATES = {
  running: { signal: "running", icon: "running", group: 0 },
  canceling: { signal: "waiting", icon: "canceled", group: 0 },
  queued: { signal: "waiting", icon: "waiting", group: 1 },
  scheduled: { signal: "waiting", icon: "scheduled", group: 1 },
  succeeded: { signal: "ended", icon: "succeeded", group: 2 },
  failed: { signal: "failed", icon: "failed", group: 2 },
  canceled: { signal: "canceled", icon: "canceled", group: 2 },
  lost: { signal: "failed", icon: "lost", group: 2 },
};

export const GROUPS = ["Running", "Waiting", "Recent"];

/** @param {string} status */
export function stateOf(status) {
  return STATES[status] ?? { signal: "waiting", icon: "waiting", group: 1 };
}

/** @param {string} status */
export function isFinished(status) {
  return stateOf(status).group === 2;
}

/**
 * The task's name without the path of its module.
 *
 * @param {string} name
 */
export function shortName(name) {
  return name.split(".").pop()?.replaceAll("_", " ") ?? name;
}

/**
 * A duration, short: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min.
 *
 * @param {number} ms
 */
export function duration(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  const two = (/** @type {number} */ value) => String(Math.floor(value)).padStart(2, "0");
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/**
 * How long ago, in its largest unit.
 *
 * @param {number} ms
 */
export function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/**
 * The exact moment, in the reader's own time zone.
 *
 * @param {string | null} iso
 */
export function exact(iso) {
  return iso ? new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }) : "";
}

/** @param {number} value */
export function count(value) {
  return value.toLocaleString();
}

/**
 * The text of a result: the answer of a completion, or the value itself.
 *
 * @param {any} result
 * @returns {string}
 */
export function resultText(result) {
  const content = result?.choices?.[0]?.message?.content;
  if (typeof content === "string") return content;
  return typeof result === "string" ? result : JSON.stringify(result, null, 2);
}

/**
 * A text that holds a JSON object, as its fields; otherwise null.
 *
 * @param {string} text
 * @returns {[string, string][] | null}
 */
export function fields(text) {
  try {
    const value = JSON.parse(text);
    if (!value || typeof value !== "object" || Array.isArray(value)) return null;
    return Object.entries(value).map(([name, field]) => [
      name.replaceAll("_", " "),
      Array.isArray(field) ? field.join("\n") : String(field),
    ]);
  } catch {
    return null;
  }
}
