// @ts-check
/**
 * REST calls of the documents pages.
 *
 * @typedef {"owner" | "write" | "read"} Permission
 *
 * @typedef {object} Doc a document as the REST API describes it
 * @property {string} id
 * @property {string} title
 * @property {string} [content]
 * @property {number} version the last one saved
 * @property {string} updated_at when that was
 * @property {Permission} permission
 */

import { call, pageData } from "../api.js";
import { isFinished } from "../words.js";

/** @typedef {import("../api.js").Task} Task */

const ALL = "/api/v1/documents";

/** @param {string} id */
function place(id) {
  return `${ALL}/${encodeURIComponent(id)}`;
}

/**
 * @param {string | null} cursor
 * @returns {Promise<{documents: Doc[], next_cursor: string | null}>}
 */
export function listDocuments(cursor) {
  return call(cursor ? `${ALL}?cursor=${encodeURIComponent(cursor)}` : ALL);
}

/** @param {string} title @returns {Promise<Doc>} */
export function createDocument(title) {
  return call(ALL, { method: "POST", body: { title } });
}

/** @param {string} id @returns {Promise<Doc>} */
export function readDocument(id) {
  return call(place(id));
}

/** @param {string} id @param {Record<string, unknown>} change @returns {Promise<Doc>} */
export function changeDocument(id, change) {
  return call(place(id), { method: "PATCH", body: change });
}

/** @param {string} id */
export function deleteDocument(id) {
  return call(place(id), { method: "DELETE" });
}

/**
 * @typedef {object} DocVersion
 * @property {number} version
 * @property {string} created_at
 * @property {string} [content]
 *
 * @param {string} id
 * @returns {Promise<{versions: DocVersion[]}>} those that are kept, newest first
 */
export function listVersions(id) {
  return call(`${place(id)}/versions`);
}

/** @param {string} id @param {number} version @returns {Promise<DocVersion>} */
export function readVersion(id, version) {
  return call(`${place(id)}/versions/${version}`);
}

/** @param {string} id @param {number} version @returns {Promise<Doc>} */
export function restoreVersion(id, version) {
  return call(`${place(id)}/versions/${version}/restore`, { method: "POST" });
}

/** @param {string} id @returns {Promise<{access: {username: string, permission: Permission}[]}>} the owner is not among them */
export function listAccess(id) {
  return call(`${place(id)}/access`);
}

/** @param {string} id @param {string} name @param {Permission} permission */
export function giveAccess(id, name, permission) {
  return call(`${place(id)}/access/${encodeURIComponent(name)}`, { method: "PUT", body: { permission } });
}

/** @param {string} id @param {string} name */
export function takeAccess(id, name) {
  return call(`${place(id)}/access/${encodeURIComponent(name)}`, { method: "DELETE" });
}

/**
 * Let a model write on at the document's end.
 *
 * @param {string} id
 * @returns {Promise<Task>}
 */
export function continueDocument(id) {
  return call(`${place(id)}/continue`, { method: "POST" });
}

/**
 * The unfinished task of one's own that writes on in a document, if there is one.
 *
 * @param {string} id
 * @returns {Promise<Task | undefined>}
 */
export async function readContinuing(id) {
  const { tasks } = await call(`/api/v1/tasks?item_id=${encodeURIComponent(id)}&limit=20`);
  return tasks.find((/** @type {Task} */ task) => continues(task, id));
}

/**
 * @param {Task} task
 * @param {string} id of a document
 */
export function continues(task, id) {
  const isOurs = task.item_id === id && task.name.split(".").pop() === "continue_document";
  return isOurs && task.user_id === pageData().user.id && !isFinished(task.status);
}
