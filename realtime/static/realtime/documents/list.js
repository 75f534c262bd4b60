// @ts-check
/**
 * The page of all documents: read, shown newest first, made, deleted.
 *
 * @typedef {import("./api.js").Doc} Doc
 */

import { ApiError, SIGNED_OUT, pageData, serverNow } from "../api.js";
import { byId, icon, make, say, setText } from "../dom.js";
import { age, exact } from "../words.js";
import { createDocument, deleteDocument, listDocuments } from "./api.js";

const READ_AGAIN_MS = 3000;
const TICK_MS = 10_000;

/** @type {Record<string, string>} */
const PERMISSIONS = { owner: "owner", write: "may write", read: "may read" };

class DocumentsPage {
  /** @type {Doc[]} */
  #documents = [];
  /** @type {string | null} */
  #next = null;
  #isRead = false;
  #timer = 0;
  #list = byId("documents");
  #more = byId("documents-more");
  #trouble = byId("documents-trouble");
  #newTrouble = byId("new-trouble");
  #create = byId("create");
  #title = byId("new-title");
  #dialog = byId("delete-dialog");
  #dialogTrouble = byId("delete-trouble");
  /** @type {Doc | null} */
  #doomed = null;

  open() {
    byId("new-document").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#make();
    });
    this.#create.disabled = false;
    this.#more.addEventListener("click", () => this.#read(this.#next));
    byId("delete-no").addEventListener("click", () => this.#dialog.close());
    byId("delete-yes").addEventListener("click", () => this.#delete());
    byId("sign-in").href = `${pageData().login_url}?next=${encodeURIComponent(location.pathname)}`;
    window.addEventListener(SIGNED_OUT, () => (byId("sign-in").hidden = false));
    window.addEventListener("pageshow", (event) => event.persisted && this.#read(null));
    document.addEventListener("visibilitychange", () => !document.hidden && this.#read(null));
    window.setInterval(() => this.#tick(), TICK_MS);
    this.#read(null);
  }

  /** @param {string | null} cursor null reads the newest again */
  async #read(cursor) {
    clearTimeout(this.#timer);
    try {
      const { documents, next_cursor: next } = await listDocuments(cursor);
      const known = cursor ? this.#documents : [];
      const ids = new Set(known.map(({ id }) => id));
      this.#documents = [...known, ...documents.filter(({ id }) => !ids.has(id))];
      this.#next = next;
      this.#isRead = true;
      say(this.#trouble, "");
      this.#show();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(this.#trouble, `The documents could not be read. ${error.message}`);
      if (error.status === 0 || error.status >= 500) this.#timer = window.setTimeout(() => this.#read(null), READ_AGAIN_MS);
    } finally {
      byId("documents-loading").hidden = true;
    }
  }

  #show() {
    this.#list.replaceChildren(...this.#documents.map((document) => this.#row(document)));
    this.#more.hidden = !this.#next;
    byId("documents-empty").hidden = !this.#isRead || this.#documents.length > 0;
    this.#tick();
  }

  /** @param {Doc} document */
  #row(document) {
    const row = make("li", "document");
    const link = make("a", "document-link");
    link.href = `/documents/${encodeURIComponent(document.id)}/`;
    link.append(make("span", "document-title", document.title || "Untitled"));
    const facts = make("span", "soft small figures document-facts");
    const when = make("time");
    when.dateTime = document.updated_at;
    when.title = exact(document.updated_at);
    facts.append(PERMISSIONS[document.permission] ?? document.permission, " · ");
    facts.append(`version ${document.version} · saved `, when);
    link.append(facts);
    row.append(link);
    if (document.permission === "owner") row.append(this.#deleteButton(document));
    return row;
  }

  /** @param {Doc} document */
  #deleteButton(document) {
    const button = make("button", "quiet document-delete");
    button.type = "button";
    button.title = "Delete";
    button.setAttribute("aria-label", `Delete ${document.title || "Untitled"}`);
    button.append(icon("delete"));
    button.addEventListener("click", () => {
      this.#doomed = document;
      setText(byId("delete-title"), document.title || "Untitled");
      say(this.#dialogTrouble, "");
      this.#dialog.showModal();
    });
    return button;
  }

  /** Say how long ago each was saved, as it is now. */
  #tick() {
    for (const when of this.#list.querySelectorAll("time")) {
      setText(when, `${age(serverNow() - Date.parse(when.dateTime))} ago`);
    }
  }

  async #make() {
    if (this.#create.ariaDisabled === "true") return;
    this.#create.ariaDisabled = "true"; // not `disabled`: that loses the focus
    say(this.#newTrouble, "");
    try {
      const { id } = await createDocument(this.#title.value.trim() || "Untitled");
      this.#title.value = "";
      location.assign(`/documents/${encodeURIComponent(id)}/`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(this.#newTrouble, `Not made: ${error.message}`);
    } finally {
      this.#create.ariaDisabled = "false";
    }
  }

  async #delete() {
    const doomed = this.#doomed;
    if (!doomed) return;
    try {
      await deleteDocument(doomed.id);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 404) {
        say(this.#dialogTrouble, `Not deleted: ${error.message}`);
        return;
      }
    }
    this.#documents = this.#documents.filter(({ id }) => id !== doomed.id);
    this.#dialog.close();
    this.#show();
  }
}

new DocumentsPage().open();
