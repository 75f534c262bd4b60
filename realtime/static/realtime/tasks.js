// @ts-check
/**
 * The tasks that the board knows, merged from the list, the live updates and the watched events.
 *
 * @typedef {import("./api.js").Task} Task
 */

import { isFinished } from "./words.js";

const MOST_KEPT = 200;

export class Tasks {
  /** @type {Map<string, Task>} */
  #byId = new Map();
  /** @type {Set<string> | null} ids heard of while the list is being read */
  #heard = null;
  #onChange;

  /** @param {() => void} onChange called after each change */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** @param {string} id */
  get(id) {
    return this.#byId.get(id);
  }

  /** All tasks, newest first. */
  all() {
    return [...this.#byId.values()].sort(
      (a, b) => (b.created_at ?? "").localeCompare(a.created_at ?? "") || b.id.localeCompare(a.id),
    );
  }

  /**
   * Take in what is newly known of a task. A finished task never changes its state again: word of
   * an earlier state only arrived late.
   *
   * @param {Task} task
   */
  apply(task) {
    const known = this.#byId.get(task.id);
    if (known && isFinished(known.status) && !isFinished(task.status)) return;
    this.#heard?.add(task.id);
    this.#byId.set(task.id, { ...known, ...task });
    this.#forgetOldest();
    this.#onChange();
  }

  /**
   * Change single fields of a known task.
   *
   * @param {string} id
   * @param {Partial<Task>} changes
   */
  patch(id, changes) {
    const known = this.#byId.get(id);
    if (known) this.apply({ ...known, ...changes });
  }

  /**
   * Read one task whole. What was heard while it was read is newer, unless the answer is its end.
   *
   * @param {string} id
   * @param {(id: string) => Promise<Task>} read
   */
  async reloadOne(id, read) {
    const before = this.#byId.get(id);
    const task = await read(id);
    const known = this.#byId.get(id);
    const isOld = known && known !== before && !isFinished(task.status);
    this.apply(isOld ? { ...task, ...known } : task);
  }

  /**
   * Read the list and let it replace all that is known, but for what was heard in the meantime.
   *
   * @param {() => Promise<Task[]>} read
   * @param {string} kept the id of a task to keep even when the list is too short for it
   */
  async reload(read, kept) {
    /** @type {Set<string>} */
    const heard = new Set();
    this.#heard = heard;
    let listed;
    try {
      listed = await read();
    } finally {
      if (this.#heard === heard) this.#heard = null;
    }
    const before = this.#byId;
    this.#byId = new Map();
    for (const task of listed) {
      const isLate = isFinished(this.#byId.get(task.id)?.status ?? "") && !isFinished(task.status);
      if (!isLate) this.#byId.set(task.id, { ...before.get(task.id), ...task });
    }
    for (const [id, task] of before) {
      const finished = isFinished(task.status) && this.#byId.has(id);
      if (heard.has(id) || finished || id === kept) this.#byId.set(id, task);
    }
    this.#onChange();
  }

  #forgetOldest() {
    if (this.#byId.size <= MOST_KEPT) return;
    const oldest = this.all().findLast((task) => isFinished(task.status));
    if (oldest) this.#byId.delete(oldest.id);
  }
}
