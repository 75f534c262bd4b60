// @ts-check
/**
 * “Continue this document”: starts the task that writes on at its end, tells how it stands, and
 * stops it, from every page of whoever began it. Its text arrives like anybody's, through the
 * shared document.
 *
 * @typedef {import("../api.js").Task} Task
 * @typedef {import("../socket.js").TaskEvent} TaskEvent
 * @typedef {import("../socket.js").SignalboxSocket} SignalboxSocket
 */

import { ApiError, readTask, stopTask } from "../api.js";
import { byId, say } from "../dom.js";
import { isFinished } from "../words.js";
import { continueDocument, continues, readContinuing } from "./api.js";

const SAID_MS = 8000;

export class Continuing {
  #button = byId("continue");
  #stop = byId("stop");
  #say = byId("continue-say");
  #trouble;
  #socket;
  #id;
  #task = "";
  #canWrite = false;
  #isBusy = false;
  #unwatch = () => {};
  #sayTimer = 0;

  /**
   * @param {string} id of the document
   * @param {{socket: SignalboxSocket, trouble: (text: string) => void}} page
   */
  constructor(id, { socket, trouble }) {
    this.#id = id;
    this.#socket = socket;
    this.#trouble = trouble;
    this.#button.addEventListener("click", () => this.#start());
    this.#stop.addEventListener("click", () => this.#end());
    socket.on("task:update", (task) => {
      if (continues(task, id)) this.#follow(task);
    });
  }

  /** Find what was begun before this page was opened. */
  async find() {
    try {
      const task = await readContinuing(this.#id);
      if (task) this.#follow(task);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // without it there is only no Stop
    }
  }

  /** @param {boolean} canWrite */
  allow(canWrite) {
    this.#canWrite = canWrite;
    this.#button.hidden = !canWrite;
    this.#show();
  }

  async #start() {
    if (this.#isBusy || this.#task) return;
    this.#isBusy = true;
    this.#show();
    this.#trouble("");
    this.#tell("");
    try {
      this.#follow(await continueDocument(this.#id));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#trouble(`Not begun: ${error.message}`);
    } finally {
      this.#isBusy = false;
      this.#show();
      if (this.#task) this.#stop.focus();
    }
  }

  /** @param {Task} task */
  #follow({ id, status }) {
    if (this.#task) return;
    this.#task = id;
    this.#tell(status === "running" ? "Writing at the end…" : "Waiting for a worker; then the text goes on at its end.");
    this.#unwatch = this.#socket.watch(id, {
      event: (event) => this.#take(event),
      gone: () => this.#look(),
    });
    this.#show();
  }

  /** @param {TaskEvent} event */
  #take({ type, data }) {
    if (type === "end") this.#over(data);
    else if (type === "update" && data.status === "running") this.#tell("Writing at the end…");
    else if (type === "progress" && data.message) this.#tell(data.message);
    else if (type === "snapshot" && isFinished(data.status)) this.#look();
  }

  /** Read the task itself, where its events cannot be had. */
  async #look() {
    const id = this.#task;
    if (!id) return;
    try {
      const task = await readTask(id);
      if (isFinished(task.status)) this.#over(task);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404) this.#over({ status: "lost" });
    }
  }

  /** @param {Record<string, any>} task as it ended */
  #over({ status, error, stopped_by: by }) {
    const hadFocus = document.activeElement === this.#stop;
    this.#unwatch();
    this.#task = "";
    this.#tell("", 0);
    if (status === "canceled") this.#tell(`Stopped${by ? ` by ${by}` : ""}. What was written stays.`, SAID_MS);
    else if (status === "succeeded") this.#tell("Done.", SAID_MS);
    else this.#trouble(`The model stopped writing: ${error?.message ?? status}. What was written stays; try again.`);
    this.#show();
    if (hadFocus) this.#button.focus();
  }

  async #end() {
    const id = this.#task;
    if (!id) return;
    this.#stop.ariaDisabled = "true";
    this.#tell("Stopping…");
    try {
      const task = await stopTask(id);
      if (id === this.#task && isFinished(task.status)) this.#over(task);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 409) await this.#look();
      else this.#trouble(`Not stopped: ${error.message}`);
    } finally {
      this.#stop.ariaDisabled = "false";
    }
  }

  /**
   * @param {string} text
   * @param {number} [until] milliseconds after which it is taken away
   */
  #tell(text, until = 0) {
    clearTimeout(this.#sayTimer);
    say(this.#say, text);
    if (until) this.#sayTimer = window.setTimeout(() => say(this.#say, ""), until);
  }

  #show() {
    const runs = Boolean(this.#task);
    this.#button.hidden = !this.#canWrite || runs;
    this.#button.disabled = !this.#canWrite;
    this.#button.ariaDisabled = String(this.#isBusy);
    this.#stop.hidden = !runs;
    this.#stop.disabled = !runs;
  }
}
