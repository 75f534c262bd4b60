// @ts-check
/** The form that starts a task: kind, model, prompt and a few options. */

import { ApiError, readModels, startCompletion } from "./api.js";
import { byId, make, say } from "./dom.js";

/** @typedef {import("./api.js").Task} Task */

export class StartForm {
  #form = byId("start-form");
  #model = byId("model");
  #prompt = byId("prompt");
  #button = byId("start");
  #trouble = byId("start-trouble");
  #isBusy = false;
  #onStarted;

  /** @param {(task: Task) => void} onStarted */
  constructor(onStarted) {
    this.#onStarted = onStarted;
    this.#form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#start();
    });
    this.#button.removeAttribute("disabled");
    this.#prompt.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.#start();
    });
  }

  /** Fill the list of models, keeping the choice. */
  async loadModels() {
    try {
      const models = await readModels();
      const chosen = this.#model.value;
      this.#model.replaceChildren(...models.map((model) => make("option", "", model)));
      if (models.includes(chosen)) this.#model.value = chosen;
      this.#model.disabled = !models.length;
      if (!models.length) say(this.#trouble, "No model can be used. Whoever runs the server can name one with OPENAI_API_BASE_URL.");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!this.#model.value) say(this.#trouble, `The models could not be read. ${error.message}`);
    }
  }

  async #start() {
    if (this.#isBusy) return;
    const prompt = this.#prompt.value.trim();
    if (!prompt) {
      say(this.#trouble, "Write a prompt first.");
      this.#prompt.focus();
      return;
    }
    this.#setBusy(true);
    say(this.#trouble, "");
    try {
      if (!this.#model.value) await this.loadModels();
      const data = new FormData(this.#form);
      this.#onStarted(await startCompletion(String(data.get("kind")), this.#body(data, prompt)));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(this.#trouble, `Not begun: ${error.message}`);
    } finally {
      this.#setBusy(false);
    }
  }

  /**
   * @param {FormData} data
   * @param {string} prompt
   */
  #body(data, prompt) {
    /** @type {Record<string, unknown>} */
    const body = { model: this.#model.value, messages: [{ role: "user", content: prompt }] };
    const item = String(data.get("chat_id") ?? "").trim();
    if (item) body.chat_id = item;
    for (const name of ["temperature", "max_tokens"]) {
      const value = String(data.get(name) ?? "").trim();
      if (value && data.get("kind") === "chat") body[name] = Number(value);
    }
    return body;
  }

  /** @param {boolean} isBusy */
  #setBusy(isBusy) {
    this.#isBusy = isBusy;
    this.#button.setAttribute("aria-disabled", String(isBusy)); // not `disabled`: that loses the focus
  }
}
