// @ts-check
/**
 * REST calls of the board: JSON in and out, the CSRF header, and errors as sentences.
 *
 * @typedef {object} Task the task resource of the REST API
 * @property {string} id
 * @property {string} name
 * @property {string} queue
 * @property {string} status
 * @property {string | null} item_id
 * @property {string | null} user_id
 * @property {number} attempts
 * @property {number | null} progress
 * @property {string} message
 * @property {string | null} created_at
 * @property {string | null} started_at
 * @property {string | null} finished_at
 * @property {any} [result]
 * @property {{type: string, message: string} | null} error
 * @property {string | null} stopped_by
 * @property {string | null} reason
 */

const DEADLINE_MS = 15_000;

/** The event that the window gets when the server no longer knows who calls. */
export const SIGNED_OUT = "signalbox:signed-out";

/** A refused or impossible call; the message says what happened and what to do. */
export class ApiError extends Error {
  /**
   * @param {number} status the HTTP status, 0 when there was no answer
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** Milliseconds that the server's clock is ahead of ours; small differences count as none. */
let clockAhead = 0;

/** Now, by the server's clock: ages and durations are counted from its times. */
export function serverNow() {
  return Date.now() + clockAhead;
}

/** @param {Response} response */
function readClock(response) {
  const ahead = Date.parse(response.headers.get("Date") ?? "") - Date.now();
  if (!Number.isNaN(ahead)) clockAhead = Math.abs(ahead) < 3000 ? 0 : ahead;
}

/** The token of the cookie as it is now: a sign-in in another tab changes it. */
function csrfToken() {
  const { csrf_cookie: name } = pageData();
  const cookie = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  if (cookie) return cookie.slice(name.length + 1);
  const field = document.querySelector("input[name=csrfmiddlewaretoken]");
  return field instanceof HTMLInputElement ? field.value : "";
}

/**
 * What the server wrote into the page.
 *
 * @returns {{user: {id: string, name: string, is_staff: boolean}, csrf_cookie: string,
 *   login_url: string}}
 */
export function pageData() {
  return JSON.parse(document.getElementById("page-data")?.textContent ?? "{}");
}

/**
 * @param {unknown} detail text, or for 422 a list that names each field
 * @param {number} status
 */
function sentence(detail, status) {
  if (typeof detail === "string" && detail) return detail;
  if (Array.isArray(detail) && detail.length) {
    return detail.map((item) => fieldSentence(item)).join(" ");
  }
  return `The server answered ${status} without saying why. Try again; if it stays, tell whoever runs it.`;
}

/** @param {any} item */
function fieldSentence(item) {
  const field = Array.isArray(item?.loc) ? item.loc.filter((part) => part !== "body").join(".") : "";
  const text = item?.msg ?? JSON.stringify(item);
  return field ? `${field}: ${text}.` : `${text}.`;
}

/**
 * @param {string} path
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>}} [options]
 * @returns {Promise<any>} rejected with an `ApiError`
 */
export async function call(path, { method = "GET", body, headers = {} } = {}) {
  /** @type {RequestInit} */
  const init = { method, headers: { Accept: "application/json", ...headers } };
  init.signal = AbortSignal.timeout(DEADLINE_MS);
  if (method !== "GET") {
    Object.assign(init.headers ?? {}, {
      "Content-Type": "application/json",
      "X-CSRFToken": csrfToken(),
    });
    init.body = JSON.stringify(body ?? {});
  }
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    const late = error instanceof DOMException && error.name === "TimeoutError";
    const what = late ? "The server did not answer in time." : "The server cannot be reached.";
    throw new ApiError(0, `${what} Check the connection, then try again.`);
  }
  readClock(response);
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  if (response.status === 401) {
    window.dispatchEvent(new Event(SIGNED_OUT));
    throw new ApiError(401, "You are signed out. Sign in again to go on.");
  }
  throw new ApiError(response.status, sentence(answer?.detail, response.status));
}

/** @returns {Promise<string[]>} */
export async function readModels() {
  const { data } = await call("/api/v1/models");
  return data.map((/** @type {{id: string}} */ model) => model.id);
}

/** @returns {Promise<Task[]>} the newest tasks, and those that run, however old they are */
export async function readTasks() {
  const paths = ["/api/v1/tasks?limit=50", "/api/v1/tasks?status=running&limit=50"];
  const answers = await Promise.all(paths.map((path) => call(path)));
  return answers.flatMap(({ tasks }) => tasks);
}

/**
 * @param {string} id
 * @returns {Promise<Task>}
 */
export function readTask(id) {
  return call(`/api/v1/tasks/${encodeURIComponent(id)}`);
}

/**
 * @param {string} id
 * @returns {Promise<Task>}
 */
export function stopTask(id) {
  return call(`/api/v1/tasks/${encodeURIComponent(id)}/stop`, { method: "POST" });
}

/**
 * Start a completion that outlives the request.
 *
 * @param {string} kind `chat`, or the name of a task kind
 * @param {Record<string, unknown>} body
 * @returns {Promise<Task>}
 */
export async function startCompletion(kind, body) {
  const path = kind === "chat" ? "/api/v1/chat/completions" : `/api/v1/tasks/${kind}/completions`;
  const task = await call(path, { method: "POST", body, headers: { Prefer: "respond-async" } });
  // A kind that is switched off answers 200 and why, and no task.
  if (!task?.id) throw new ApiError(200, sentence(task?.detail, 200));
  return task;
}
