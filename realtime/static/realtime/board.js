// @ts-check
/**
 * The live board: wires the start form, the output and the list to the socket and the REST API.
 *
 * @typedef {import("./api.js").Task} Task
 * @typedef {import("./socket.js").TaskEvent} TaskEvent
 */

import { ApiError, SIGNED_OUT, pageData, readTask, readTasks, stopTask } from "./api.js";
import { Connection } from "./connection.js";
import { byId, say } from "./dom.js";
import { Output } from "./output.js";
import { Presence } from "./presence.js";
import { SignalboxSocket, SocketError } from "./socket.js";
import { StartForm } from "./startform.js";
import { Tabs } from "./tabs.js";
import { TaskList } from "./tasklist.js";
import { Tasks } from "./tasks.js";
import { isFinished } from "./words.js";

const TICK_MS = 500;
const STOP_MS = 3000;
const READ_AGAIN_MS = 3000;
const READ_SOON_MS = 150;
const HASH = "#task=";
const NOT_SIGNED_IN = 4401;
const ROOM = "public:board";

/** @param {string} hash @returns {string} the task named in the address; "" when none can be read */
function idIn(hash) {
  if (!hash.startsWith(HASH)) return "";
  try {
    return decodeURIComponent(hash.slice(HASH.length));
  } catch {
    return ""; // a "%" without its two digits
  }
}

class Board {
  #selected = "";
  /** Whether the page chose the selected task by itself, and so may choose another. */
  #isOwnChoice = true;
  #isRead = false;
  #readTimer = 0;
  #readSoonTimer = 0;
  #frame = 0;
  #unwatch = () => {};
  #me = pageData().user;
  #trouble = byId("tasks-trouble");
  #tabs = new Tabs();
  #tasks = new Tasks(() => this.#paintSoon());
  #output = new Output({ stop: (id) => this.#stop(id) });
  #list = new TaskList({
    select: (id) => this.#choose(id),
    stop: (id) => void this.#stop(id),
  });
  #form = new StartForm((task) => {
    this.#tasks.apply(task);
    this.#choose(task.id);
  });
  #socket = new SignalboxSocket("/ws/", (state) => this.#connectionChanged(state));
  #connection = new Connection(() => this.#socket.probe());
  #presence = new Presence(this.#me);

  open() {
    this.#socket.on("task:update", (task) => {
      this.#tasks.apply(task);
      this.#chooseByItself();
    });
    this.#socket.on("usage", ({ model_ids }) => this.#presence.showModels(model_ids));
    this.#socket.join(ROOM, {
      presence: (presence) => this.#presence.show(presence),
      gone: () => this.#presence.hide(),
    });
    this.#output.clear();
    this.#selectFromAddress();
    window.addEventListener("popstate", () => this.#selectFromAddress());
    window.addEventListener(SIGNED_OUT, () => this.#socket.refuse(NOT_SIGNED_IN));
    window.setInterval(() => this.#tick(), TICK_MS);
    this.#form.loadModels();
    this.#readList();
    this.#socket.open();
  }

  // --- connection and list ------------------------------------------------------------------

  /** @param {import("./socket.js").ConnectionState} state */
  #connectionChanged(state) {
    this.#connection.show(state);
    // What changed while there was no connection is only in the list.
    if (state.kind === "live") this.#readList();
    // Models in use are told when they change, and to a new connection if there are any.
    if (state.kind === "connecting") this.#presence.showModels([]);
    // Where sockets are blocked but requests pass, the selected task still comes to its end.
    if (state.kind === "waiting" && this.#selected) this.#readSelected(this.#selected);
  }

  async #readList() {
    clearTimeout(this.#readTimer);
    try {
      await this.#tasks.reload(readTasks, this.#selected);
      this.#isRead = true;
      say(this.#trouble, "");
      byId("tasks-loading").hidden = true;
      this.#chooseByItself();
      this.#paintSoon();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      byId("tasks-loading").hidden = true;
      say(this.#trouble, `The tasks could not be read. ${error.message}`);
      if (error.status !== 401) this.#readTimer = window.setTimeout(() => this.#readList(), READ_AGAIN_MS);
    }
  }

  #tick() {
    this.#connection.tick();
    this.#output.tick();
    this.#list.tick();
  }

  /** Paint all changes of one moment together. */
  #paintSoon() {
    if (document.hidden) this.#paint();
    else this.#frame ||= requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#list.show(this.#tasks.all(), this.#selected, this.#isRead);
    this.#output.show(this.#tasks.get(this.#selected));
  }

  // --- the selected task --------------------------------------------------------------------

  /**
   * The reader's choice: it stays, also across a reload of the page.
   *
   * @param {string} id
   */
  #choose(id) {
    if (location.hash !== HASH + id) history.pushState(null, "", HASH + id);
    this.#isOwnChoice = false;
    this.#tabs.open("output");
    this.#select(id);
  }

  #selectFromAddress() {
    const id = idIn(location.hash);
    if (!id) return;
    this.#isOwnChoice = false;
    this.#tabs.open("output");
    this.#select(id);
  }

  /** Show one's own newest unfinished task, as long as the reader has chosen none. */
  #chooseByItself() {
    const shown = this.#tasks.get(this.#selected);
    if (!this.#isRead || !this.#isOwnChoice || (shown && !isFinished(shown.status))) return;
    const mine = this.#tasks.all().filter((task) => task.user_id === this.#me.id);
    const next = mine.find((task) => !isFinished(task.status)) ?? (shown ? undefined : mine[0]);
    if (next) this.#select(next.id);
  }

  /** @param {string} id */
  #select(id) {
    if (id === this.#selected) return;
    this.#unwatch();
    this.#selected = id;
    this.#output.clear();
    this.#unwatch = this.#socket.watch(id, {
      event: (event) => this.#take(id, event),
      gone: (error) => this.#gone(error),
    });
    this.#readSelected(id);
    this.#paintSoon();
  }

  /**
   * @param {string} id
   * @param {TaskEvent} event
   */
  #take(id, event) {
    this.#output.take(event);
    const { type, data } = event;
    if (type === "update" || type === "snapshot" || type === "restart") {
      // It may tell of a moment long past: the task itself knows how it stands.
      clearTimeout(this.#readSoonTimer);
      this.#readSoonTimer = window.setTimeout(() => this.#readSelected(id), READ_SOON_MS);
    } else if (type === "progress") {
      this.#tasks.patch(id, { progress: data.progress, message: data.message });
    } else if (type === "end") {
      const { status, result, error, stopped_by, reason } = data;
      this.#tasks.patch(id, { status, result, error, stopped_by, reason });
      this.#readSelected(id);
    }
  }

  /** @param {SocketError} error */
  #gone(error) {
    if (!this.#tasks.get(this.#selected)) this.#output.trouble(`This task cannot be shown: ${error.message}`);
  }

  /**
   * Read the whole task: its result and times are not in the live updates.
   *
   * @param {string} id
   */
  async #readSelected(id) {
    try {
      await this.#tasks.reloadOne(id, readTask);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (id === this.#selected && error.status === 404) {
        this.#output.trouble("This task is not there: it was removed after its time, or it is not yours. Choose another one.");
      }
    }
  }

  // --- stopping -----------------------------------------------------------------------------

  /** @param {string} id */
  async #stop(id) {
    this.#output.trouble("");
    try {
      try {
        await this.#socket.request("task:stop", { task_id: id }, STOP_MS);
      } catch (error) {
        if (!(error instanceof SocketError)) throw error;
        if (error.code !== "conflict") this.#tasks.apply(await stopTask(id));
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 409) this.#output.trouble(`Not stopped: ${error.message}`);
    }
    await this.#readSelected(id);
  }
}

new Board().open();
