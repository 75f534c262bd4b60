// @ts-check
/**
 * The list of tasks: rows are kept and changed in place, and none moves while the pointer is on
 * the list.
 *
 * @typedef {import("./api.js").Task} Task
 * @typedef {{row: HTMLElement, select: HTMLButtonElement, stop: HTMLButtonElement, icon: Element,
 *   word: Element, name: Element, item: Element, age: HTMLTimeElement, progress: HTMLProgressElement,
 *   share: Element}} Row
 */

import { pageData, serverNow } from "./api.js";
import { byId, icon, make, say, setAttribute, setIcon, setText } from "./dom.js";
import { GROUPS, age, exact, isFinished, shortName, stateOf } from "./words.js";

const HOLD_MS = 2500;

export class TaskList {
  /** @type {Map<string, Row>} */
  #rows = new Map();
  /** @type {Task[]} */
  #tasks = [];
  #selected = "";
  #isHeld = false;
  #holdTimer = 0;
  #list = byId("tasks");
  #filter = byId("filter");
  #heading = byId("tasks-count");
  #empty = byId("tasks-empty");
  #held = byId("tasks-held");
  #me = pageData().user;
  #actions;

  /** @param {{select: (id: string) => void, stop: (id: string) => void}} actions */
  constructor(actions) {
    this.#actions = actions;
    this.#filter.addEventListener("input", () => this.#arrange());
    this.#list.addEventListener("click", (/** @type {MouseEvent} */ event) => this.#clicked(event));
    this.#list.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    this.#list.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      if (event.pointerType === "mouse") this.#hold();
    });
    this.#list.addEventListener("pointerleave", () => this.#release());
  }

  /** Show ages as they are now. */
  tick() {
    for (const task of this.#tasks) {
      const row = this.#rows.get(task.id);
      if (row) showAge(row, task);
    }
  }

  /**
   * @param {Task[]} tasks newest first
   * @param {string} selected the id of the task whose output is shown
   * @param {boolean} isRead whether the list was read at least once
   */
  show(tasks, selected, isRead) {
    this.#tasks = tasks;
    this.#selected = selected;
    for (const task of tasks) {
      const row = this.#rows.get(task.id);
      if (row) this.#fill(row, task);
    }
    const running = tasks.filter((task) => task.status === "running").length;
    setText(this.#heading, tasks.length ? `${running} running, ${tasks.length} in all` : "");
    if (isRead) this.#arrange();
  }

  // --- order --------------------------------------------------------------------------------

  /** @returns {Task[]} what the filter lets through, running first, then waiting, then recent */
  #wanted() {
    const words = this.#filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (/** @type {Task} */ task) => {
      const text = `${task.status} ${task.name} ${shortName(task.name)} ${task.item_id ?? ""} ${task.id} ${this.#owner(task)}`;
      return words.every((word) => text.toLowerCase().includes(word));
    };
    const group = (/** @type {Task} */ task) => stateOf(task.status).group;
    return this.#tasks.filter(fits).sort((a, b) => group(a) - group(b));
  }

  #arrange() {
    const wanted = this.#wanted();
    const shown = [...this.#list.children].map((row) => row.dataset.id);
    const isSame = shown.length === wanted.length && wanted.every((task, i) => task.id === shown[i]);
    const isHeld = this.#isHeld && !isSame && shown.length > 0;
    this.#held.hidden = !isHeld;
    this.#heading.hidden = isHeld; // one sentence in the other's place: a second line would move all
    if (!isSame && !isHeld) this.#place(wanted);
    if (!isHeld) this.#label(wanted);
    this.#sayEmpty(wanted.length);
  }

  /** Keep the order as it is while somebody aims at a row; a resting pointer does not aim. */
  #hold() {
    this.#isHeld = true;
    clearTimeout(this.#holdTimer);
    this.#holdTimer = window.setTimeout(() => this.#release(), HOLD_MS);
  }

  #release() {
    clearTimeout(this.#holdTimer);
    this.#isHeld = false;
    this.#arrange();
  }

  /** @param {Task[]} wanted */
  #place(wanted) {
    const focused = document.activeElement;
    const ids = new Set(wanted.map((task) => task.id));
    for (const [id, { row }] of this.#rows) {
      if (ids.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    wanted.forEach((task, index) => {
      const { row } = this.#rowOf(task);
      if (this.#list.children[index] !== row) this.#list.insertBefore(row, this.#list.children[index] ?? null);
    });
    // A moved element loses the focus: give it back, without scrolling to it.
    if (focused instanceof HTMLElement && this.#list.contains(focused)) focused.focus({ preventScroll: true });
  }

  /**
   * Write the group's name on the first row of each group, and make one row the list's tab stop.
   *
   * @param {Task[]} wanted
   */
  #label(wanted) {
    let before = -1;
    const stop = wanted.find((task) => task.id === this.#selected) ?? wanted[0];
    for (const task of wanted) {
      const { group } = stateOf(task.status);
      const { row, select } = this.#rowOf(task);
      setAttribute(row, "data-group", group === before ? null : GROUPS[group]);
      select.tabIndex = task === stop || select === document.activeElement ? 0 : -1;
      before = group;
    }
  }

  /** @param {number} shown */
  #sayEmpty(shown) {
    if (shown) return say(this.#empty, "");
    if (this.#tasks.length) return say(this.#empty, "No task fits the filter. Clear it to see all.");
    return say(this.#empty, "No tasks yet. Write a prompt and start one; it appears here, also when it was started elsewhere.");
  }

  // --- one row ------------------------------------------------------------------------------

  /** @param {Task} task */
  #rowOf(task) {
    let row = this.#rows.get(task.id);
    if (!row) {
      row = makeRow(task.id);
      this.#rows.set(task.id, row);
      this.#fill(row, task);
    }
    return row;
  }

  /**
   * @param {Row} row
   * @param {Task} task
   */
  #fill(row, task) {
    const { signal, icon: iconName } = stateOf(task.status);
    setAttribute(row.row, "data-signal", signal);
    setIcon(row.icon, iconName);
    setText(row.word, task.status);
    setText(row.name, shortName(task.name));
    setAttribute(row.name, "title", `${task.name} · ${task.id}`);
    setText(row.item, [task.item_id, this.#owner(task)].filter(Boolean).join(" · "));
    const isOpen = !isFinished(task.status);
    const hasProgress = isOpen && task.progress !== null && task.progress !== undefined;
    row.progress.hidden = !hasProgress;
    row.progress.value = hasProgress ? Number(task.progress) : 0;
    setText(row.share, hasProgress ? `${Math.round(Number(task.progress) * 100)} %` : "");
    row.stop.hidden = !isOpen;
    row.stop.disabled = task.status === "canceling";
    setAttribute(row.stop, "aria-label", `Cancel ${shortName(task.name)} ${task.item_id ?? task.id}`);
    setAttribute(row.select, "aria-current", task.id === this.#selected ? "true" : null);
    showAge(row, task);
  }

  /** @param {Task} task */
  #owner(task) {
    if (task.user_id === this.#me.id) return "";
    return task.user_id ? `user ${task.user_id}` : "no owner";
  }

  // --- pointer and keys ---------------------------------------------------------------------

  /** @param {MouseEvent} event */
  #clicked(event) {
    const target = /** @type {Element} */ (event.target);
    const row = /** @type {HTMLElement | null} */ (target.closest("li"));
    if (!row?.dataset.id) return;
    if (target.closest(".task-stop")) this.#actions.stop(row.dataset.id);
    else if (target.closest(".task-select")) this.#actions.select(row.dataset.id);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const rows = [...this.#list.querySelectorAll(".task-select")];
    const here = rows.findIndex((select) => select.closest("li").contains(document.activeElement));
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined || !rows[to]) return;
    event.preventDefault();
    for (const select of rows) select.tabIndex = -1;
    rows[to].tabIndex = 0;
    rows[to].focus();
  }
}

/**
 * @param {string} id
 * @returns {Row}
 */
function makeRow(id) {
  const row = make("li", "task");
  row.dataset.id = id;
  const select = make("button", "task-select");
  select.type = "button";
  const sign = icon("waiting");
  const [word, name, item] = [make("span", "word"), make("span", "task-name"), make("span", "task-item soft")];
  const [time, share, progress] = [make("time", "task-age soft"), make("span", "task-share soft"), make("progress")];
  progress.max = 1;
  progress.setAttribute("aria-hidden", "true"); // the share beside it says the same in words
  select.append(sign, name, word, time, item, share, progress);
  const stop = make("button", "task-stop");
  stop.type = "button";
  stop.title = "Stop this task";
  stop.append(icon("stop"));
  row.append(select, stop);
  return { row, select, stop, icon: sign, word, name, item, age: time, progress, share };
}

/**
 * @param {Row} row
 * @param {Task} task
 */
function showAge(row, task) {
  if (!task.created_at) return;
  setText(row.age, age(serverNow() - Date.parse(task.created_at)));
  setAttribute(row.age, "datetime", task.created_at);
  setAttribute(row.age, "title", `Created ${exact(task.created_at)}`);
}
