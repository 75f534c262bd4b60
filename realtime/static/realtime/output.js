// @ts-check
/**
 * The output of the selected task: its state, its text as it arrives, its end.
 *
 * @typedef {import("./api.js").Task} Task
 * @typedef {import("./socket.js").TaskEvent} TaskEvent
 */

import { serverNow } from "./api.js";
import { byId, make, say, setAttribute, setIcon, setText } from "./dom.js";
import { StreamedText } from "./stream.js";
import { age, count, duration, exact, fields, isFinished, resultText, shortName, stateOf } from "./words.js";

const MOST_LOG_LINES = 200;
const LONG_WAIT_MS = 5000;

export class Output {
  /** @type {Task | undefined} */
  #task;
  #region = byId("output");
  #head = byId("output-head");
  #icon = byId("output-icon");
  #word = byId("output-word");
  #figures = byId("output-figures");
  #name = byId("output-name");
  #progress = byId("output-progress");
  #message = byId("output-message");
  #hint = byId("output-hint");
  #error = byId("output-error");
  #result = byId("output-result");
  #log = byId("output-log");
  #copy = byId("copy");
  #stop = byId("stop");
  #trouble = byId("output-trouble");
  #stream = new StreamedText(byId("output-text"), byId("output-scroll"), byId("follow"));
  #isStopping = false;

  /** @param {{stop: (id: string) => Promise<void>}} actions */
  constructor(actions) {
    this.#stop.addEventListener("click", async () => {
      if (!this.#task || this.#isStopping) return;
      this.#isStopping = true;
      this.#showActions();
      await actions.stop(this.#task.id);
      this.#isStopping = false;
      this.#showActions();
    });
    this.#copy.addEventListener("click", () => this.#copyText());
  }

  /** Forget the text: another task was selected, or none. */
  clear() {
    this.#task = undefined;
    this.#isStopping = false;
    this.#stream.replace();
    this.#log.replaceChildren();
    this.trouble("");
    this.show(undefined);
  }

  /** @param {Task | undefined} task the selected task as it now stands */
  show(task) {
    this.#task = task;
    this.#head.hidden = !task;
    if (task) this.#showHead(task);
    this.#showError();
    this.#showResult();
    this.#showActions();
    this.tick();
  }

  /** Show durations as they are now. */
  tick() {
    const task = this.#task;
    if (task) {
      setText(this.#figures, figures(task, this.#stream.length));
      setAttribute(this.#figures, "title", moments(task));
    }
    this.#showHint();
  }

  /**
   * Something that went wrong with the task's display or with an action on it.
   *
   * @param {string} text
   */
  trouble(text) {
    say(this.#trouble, text);
  }

  /** @param {TaskEvent} event */
  take({ type, data }) {
    if (type === "token") this.#stream.append(data.text ?? "");
    else if (type === "snapshot") this.#stream.replace(data.text ?? "");
    else if (type === "restart") this.#stream.replace();
    else if (type === "log") this.#addLog(data);
    if (type === "token" || type === "snapshot" || type === "restart") this.tick();
  }

  // --- parts --------------------------------------------------------------------------------

  /** @param {Task} task */
  #showHead(task) {
    const { signal, icon } = stateOf(task.status);
    setAttribute(this.#region, "data-signal", signal);
    setIcon(this.#icon, icon);
    setText(this.#word, task.status);
    setText(this.#name, [shortName(task.name), task.item_id].filter(Boolean).join(" · "));
    setAttribute(this.#name, "title", `${task.name} · ${task.id}`);
    const isOpen = !isFinished(task.status);
    const hasProgress = isOpen && task.progress !== null && task.progress !== undefined;
    this.#progress.hidden = !hasProgress;
    this.#progress.value = hasProgress ? Number(task.progress) : 0;
    say(this.#message, isOpen ? task.message ?? "" : "");
  }

  #showHint() {
    const task = this.#task;
    say(this.#hint, task ? hint(task, this.#stream.length) : NOTHING_CHOSEN);
  }

  #showError() {
    const task = this.#task;
    const error = task && isFinished(task.status) ? task.error : null;
    this.#error.hidden = !error;
    if (!error) return;
    setText(this.#error.querySelector(".cause"), error.message || error.type);
    setText(this.#error.querySelector(".kind"), error.type);
    setText(this.#error.querySelector(".advice"), advice(task?.status ?? ""));
  }

  /** The result, where the streamed text is not the result already. */
  #showResult() {
    const result = this.#task?.result;
    const text = result === null || result === undefined ? "" : resultText(result);
    const list = text && !this.#task?.name.includes("chat") ? fields(text) : null;
    const isNews = Boolean(list) || (text && text.trim() !== this.#stream.text.trim());
    this.#result.hidden = !isNews;
    if (!isNews || this.#result.dataset.text === text) return;
    this.#result.dataset.text = text;
    this.#result.replaceChildren(list ? fieldList(list) : make("pre", "", text));
  }

  #showActions() {
    const task = this.#task;
    const canStop = Boolean(task) && !isFinished(task?.status ?? "") && task?.status !== "canceling";
    this.#stop.disabled = !canStop || this.#isStopping;
    this.#copy.disabled = !this.#stream.length && !task?.result;
  }

  /** @param {Record<string, any>} data */
  #addLog(data) {
    const line = make("li", "", String(data.message ?? ""));
    line.dataset.level = data.level ?? "info";
    this.#log.append(line);
    if (this.#log.children.length > MOST_LOG_LINES) this.#log.firstElementChild.remove();
  }

  #textToCopy() {
    const result = this.#task?.result;
    return result === null || result === undefined ? this.#stream.text : resultText(result);
  }

  async #copyText() {
    const label = this.#copy.querySelector("span");
    try {
      await navigator.clipboard.writeText(this.#textToCopy());
      label.textContent = "Copied";
    } catch {
      label.textContent = "Not allowed: mark the text";
    }
    setTimeout(() => (label.textContent = "Copy"), 2000);
  }
}

const NOTHING_CHOSEN = "Nothing is shown yet. Start a task, or choose one from the list.";

/**
 * What there is to say while there is no text, or about an end without an error.
 *
 * @param {Task} task
 * @param {number} length of the text so far
 */
function hint(task, length) {
  const by = task.stopped_by ? ` by ${task.stopped_by}` : "";
  const why = task.reason && task.reason !== "user" ? ` (${task.reason.replaceAll("_", " ")})` : "";
  if (task.status === "canceled") return `Stopped${by}${why}. ${length ? "The text up to then is kept here." : "It had written nothing."}`;
  if (task.status === "canceling") return "Stopping; waiting for the worker to confirm.";
  if (task.status === "scheduled") return "Waiting for its time.";
  if (task.status === "queued") return queuedHint(task);
  if (task.status === "running" && !length) return "Running; it has written nothing yet.";
  return "";
}

/** @param {Task} task */
function queuedHint(task) {
  const waited = serverNow() - Date.parse(task.created_at ?? "");
  if (!(waited > LONG_WAIT_MS)) return "Waiting for a worker.";
  return "No worker has taken it yet: all are busy, or none runs. It stays in the queue; whoever runs the server can look with “manage.py doctor”.";
}

/** @param {string} status */
function advice(status) {
  if (status === "lost") return "The process that ran it died. Nothing goes on in the background; start it again if you still need it.";
  return "The task has ended and nothing goes on in the background. Mend the cause, then start it again.";
}

/**
 * @param {Task} task
 * @param {number} length of the text so far
 */
function figures(task, length) {
  const parts = [];
  const begin = Date.parse(task.started_at ?? "");
  const end = task.finished_at ? Date.parse(task.finished_at) : serverNow();
  if (begin) parts.push(duration(end - begin));
  else if (isFinished(task.status)) parts.push("never begun");
  if (task.attempts > 0) parts.push(`attempt ${task.attempts}`);
  const tokens = task.result?.usage?.completion_tokens;
  if (tokens) {
    parts.push(`${count(tokens)} tokens`);
    if (end - begin > 0) parts.push(`${count(Math.round((tokens * 1000) / (end - begin)))} per second`);
  } else if (length) parts.push(`${count(length)} characters`);
  if (task.finished_at) parts.push(`ended ${age(serverNow() - end)} ago`);
  return parts.join(" · ");
}

/** @param {Task} task */
function moments(task) {
  const { created_at, started_at, finished_at } = task;
  const parts = [`created ${exact(created_at)}`];
  if (started_at) parts.push(`begun ${exact(started_at)}`);
  if (finished_at) parts.push(`ended ${exact(finished_at)}`);
  return parts.join(", ");
}

/** @param {[string, string][]} list */
function fieldList(list) {
  const element = make("dl");
  for (const [name, value] of list) element.append(make("dt", "soft", name), make("dd", "", value));
  return element;
}
