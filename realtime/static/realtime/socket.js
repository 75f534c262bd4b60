// @ts-check
/**
 * The client of the WebSocket `/ws/`: joins, stays connected, resumes the tasks it watches, is in
 * rooms, and answers the server's questions.
 *
 * It knows nothing of pages. Text of tasks arrives once and in order: after every reconnect each
 * watched task is subscribed again from the last event that was seen, and each room joined again.
 *
 * @typedef {{id: string, type: string, data: Record<string, any>}} TaskEvent
 * @typedef {{event: (event: TaskEvent) => void, gone: (error: SocketError) => void}} TaskHandler
 * @typedef {{taskId: string, lastEventId: string, handler: TaskHandler, armed: boolean}} Watch
 * @typedef {{room: string, count: number, users: {id: string, name: string}[]}} Presence
 * @typedef {{room: string, from: {id: string, name: string}, event: string, data: any}} RoomEvent
 * @typedef {{presence?: (presence: Presence) => void, event?: (event: RoomEvent) => void,
 *   gone?: (error: SocketError) => void}} RoomHandler
 * @typedef {{name: string, handler: RoomHandler, armed: boolean}} Seat
 * @typedef {{send: (event: string, data?: any) => boolean, leave: () => void}} Room
 * @typedef {{kind: "idle"} | {kind: "connecting"} | {kind: "live"}
 *   | {kind: "waiting", until: number, offline: boolean}
 *   | {kind: "final", code: number}} ConnectionState
 * @typedef {{resolve: (data: any) => void, reject: (error: SocketError) => void,
 *   timer: number}} Pending
 */

const CONNECT_MS = 10_000;
const REQUEST_MS = 5_000;
const HEARTBEAT_MS = 15_000;
const HEARTBEAT_DEADLINE_MS = 8_000;
const PROBE_DEADLINE_MS = 3_000;
const STABLE_MS = 5_000;
const BACK_OFF_FIRST_MS = 500;
const BACK_OFF_LAST_MS = 15_000;

/** Codes that say "never": asking again on a new connection would not help. */
const HOPELESS = new Set(["not_found", "forbidden", "invalid", "not_signed_in"]);

/** The same for a room, where too many are too many on any connection. */
const ROOM_HOPELESS = new Set([...HOPELESS, "rate_limited"]);

/** A refusal by the server, or `offline` and `deadline` when it did not get that far. */
export class SocketError extends Error {
  /**
   * @param {string} code
   * @param {string} detail
   */
  constructor(code, detail) {
    super(detail);
    this.name = "SocketError";
    this.code = code;
  }
}

/**
 * Milliseconds until attempt `failures` + 1: doubling up to a limit, the upper half at random, so
 * that the clients of a restarted server do not come back all at once.
 *
 * @param {number} failures
 * @param {number} [chance] a number from 0 to 1
 */
export function backOff(failures, chance = Math.random()) {
  const full = Math.min(BACK_OFF_LAST_MS, BACK_OFF_FIRST_MS * 2 ** Math.min(failures, 10));
  return full * (0.5 + 0.5 * chance);
}

export class SignalboxSocket {
  /** @type {ConnectionState} */
  state = { kind: "idle" };
  /** @type {WebSocket | null} */
  #ws = null;
  /** @type {Map<string, (data: any) => void>} */
  #handlers = new Map();
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** @type {Map<string, Watch>} */
  #watches = new Map();
  /** @type {Map<string, Promise<void>>} task id → its unsubscription, while that is under way */
  #leaving = new Map();
  /** @type {Map<string, Seat>} */
  #seats = new Map();
  /** @type {Map<string, (data: any) => any>} question's kind → who answers it */
  #answerers = new Map();
  #nextAck = 1;
  #failures = 0;
  #retryTimer = 0;
  #connectTimer = 0;
  #stableTimer = 0;
  #heartbeatTimer = 0;
  #probing = false;
  #onState;
  #url;

  /**
   * @param {string | URL} url an address of its own, or one on the page's server such as "/ws/"
   * @param {(state: ConnectionState) => void} onState called at every change of `state`; a state
   *   of kind `final` is a close code 44xx: the server does not want this client again
   */
  constructor(url, onState = () => {}) {
    this.#url = new URL(url, location.href);
    this.#url.protocol = this.#url.protocol.replace(/^http/, "ws");
    this.#onState = onState;
  }

  /**
   * Call `handler` with the data of each frame of this type.
   *
   * @param {string} type
   * @param {(data: any) => void} handler
   */
  on(type, handler) {
    this.#handlers.set(type, handler);
  }

  /**
   * Answer the server's questions of a kind with what `handler` returns or its promise brings. One
   * that fails leaves the question unanswered, and whoever asked waits until its time is over.
   *
   * @param {string} kind
   * @param {(data: any) => any} handler
   */
  answer(kind, handler) {
    this.#answerers.set(kind, handler);
  }

  /** Connect, and stay connected until `close` or a final close code. */
  open() {
    window.addEventListener("online", this.probe);
    window.addEventListener("offline", this.probe);
    window.addEventListener("pageshow", this.probe);
    document.addEventListener("visibilitychange", this.probe);
    this.#connect();
  }

  close() {
    this.#end({ kind: "idle" });
  }

  /**
   * End as if the server had closed with this final code, for what was learned another way.
   *
   * @param {number} code
   */
  refuse(code) {
    this.#end({ kind: "final", code });
  }

  /** Find out now whether the connection lives, or connect now instead of after the pause. */
  probe = () => {
    if (document.visibilityState === "hidden") return;
    if (this.state.kind === "waiting" && navigator.onLine) this.#connect();
    else if (this.state.kind === "live") this.#beat(PROBE_DEADLINE_MS);
  };

  /**
   * Send a frame and wait for the server's acknowledgement.
   *
   * @param {string} type
   * @param {Record<string, any>} data
   * @param {number} [deadline] milliseconds
   * @returns {Promise<any>} rejected with a `SocketError`
   */
  request(type, data = {}, deadline = REQUEST_MS) {
    const ws = this.#ws;
    if (!ws || ws.readyState !== WebSocket.OPEN) {
      return Promise.reject(new SocketError("offline", "There is no connection to the server."));
    }
    return new Promise((resolve, reject) => {
      const ack = this.#nextAck++;
      const timer = window.setTimeout(() => {
        this.#pending.delete(ack);
        reject(new SocketError("deadline", "The server did not answer in time."));
      }, deadline);
      this.#pending.set(ack, { resolve, reject, timer });
      ws.send(JSON.stringify({ type, data, ack }));
    });
  }

  /**
   * Watch the events of one task, from its beginning, across reconnects; the watch ends by itself
   * after the event `end`. A task is watched once at a time.
   *
   * @param {string} taskId
   * @param {TaskHandler} handler
   * @returns {() => void} stops watching
   */
  watch(taskId, handler) {
    const watch = { taskId, lastEventId: "", handler, armed: false };
    this.#watches.set(taskId, watch);
    if (this.state.kind === "live") this.#subscribe(watch);
    return () => this.#unwatch(watch);
  }

  /**
   * Be in a room, across reconnects, until `leave`. A room is joined once at a time; `gone` is
   * called when the server does not let us in, or not any more.
   *
   * @param {string} name
   * @param {RoomHandler} [handler]
   * @returns {Room} `send` answers whether the event could be sent: without a connection it is lost
   */
  join(name, handler = {}) {
    const seat = { name, handler, armed: false };
    this.#seats.set(name, seat);
    if (this.state.kind === "live") this.#enter(seat);
    return {
      send: (event, data = null) => seat.armed && this.#say("room:send", { room: name, event, data }),
      leave: () => this.#leave(seat),
    };
  }

  // --- one connection -----------------------------------------------------------------------

  #connect() {
    this.#detach();
    this.#change({ kind: "connecting" });
    const ws = new WebSocket(this.#url);
    this.#ws = ws;
    this.#connectTimer = window.setTimeout(() => this.#lost(), CONNECT_MS);
    ws.onopen = () => this.#join();
    ws.onmessage = (message) => this.#receive(message.data);
    ws.onclose = (event) => this.#lost(event.code);
  }

  async #join() {
    try {
      await this.request("user-join", {}, CONNECT_MS);
    } catch {
      return; // the server closes with the reason; if it does not, the connect timer ends this
    }
    clearTimeout(this.#connectTimer);
    this.#stableTimer = window.setTimeout(() => (this.#failures = 0), STABLE_MS);
    this.#heartbeatTimer = window.setInterval(() => this.#beat(), HEARTBEAT_MS);
    for (const watch of this.#watches.values()) this.#subscribe(watch);
    for (const seat of this.#seats.values()) this.#enter(seat);
    this.#change({ kind: "live" });
  }

  /** Ask for a sign of life; without one the connection is dead, whatever the browser thinks. */
  async #beat(deadline = HEARTBEAT_DEADLINE_MS) {
    if (this.#probing) return;
    const ws = this.#ws;
    this.#probing = true;
    try {
      await this.request("heartbeat", {}, deadline);
    } catch (error) {
      const dead = error instanceof SocketError && ["deadline", "offline"].includes(error.code);
      if (dead && ws === this.#ws && this.state.kind === "live") this.#lost();
    } finally {
      this.#probing = false;
    }
  }

  /** @param {number} [code] */
  #lost(code) {
    if (code && code >= 4400 && code < 4500) {
      this.#end({ kind: "final", code });
      return;
    }
    this.#detach();
    const pause = backOff(this.#failures++);
    this.#retryTimer = window.setTimeout(() => this.#connect(), pause);
    this.#change({ kind: "waiting", until: Date.now() + pause, offline: !navigator.onLine });
  }

  /** @param {ConnectionState} state */
  #end(state) {
    window.removeEventListener("online", this.probe);
    window.removeEventListener("offline", this.probe);
    window.removeEventListener("pageshow", this.probe);
    document.removeEventListener("visibilitychange", this.probe);
    this.#detach();
    this.#change(state);
  }

  /** Let go of the present connection and of all that waits for it. */
  #detach() {
    for (const timer of [this.#retryTimer, this.#connectTimer, this.#stableTimer]) {
      clearTimeout(timer);
    }
    clearInterval(this.#heartbeatTimer);
    const ws = this.#ws;
    this.#ws = null;
    if (ws) {
      ws.onopen = ws.onmessage = ws.onclose = null;
      ws.close();
    }
    for (const watch of this.#watches.values()) watch.armed = false;
    for (const seat of this.#seats.values()) seat.armed = false;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of pending) {
      clearTimeout(timer);
      reject(new SocketError("offline", "The connection to the server was lost."));
    }
  }

  /** @param {ConnectionState} state */
  #change(state) {
    this.state = state;
    this.#onState(state);
  }

  // --- frames -------------------------------------------------------------------------------

  /** @param {string} text */
  #receive(text) {
    const { type, data = {}, ack } = JSON.parse(text);
    if (type === "ack" || type === "error") this.#settle(ack, type, data);
    else if (type === "task:event") this.#deliver(data);
    else if (type === "call") this.#asked(data);
    else if (type === "room:event" || type === "room:presence") this.#toRoom(type, data);
    else this.#handlers.get(type)?.(data);
  }

  /**
   * @param {number | undefined} ack
   * @param {string} type
   * @param {any} data
   */
  #settle(ack, type, data) {
    const pending = ack === undefined ? undefined : this.#pending.get(ack);
    if (ack === undefined || !pending) {
      if (type === "error") this.#ended(data);
      return;
    }
    this.#pending.delete(ack);
    clearTimeout(pending.timer);
    if (type === "ack") pending.resolve(data);
    else pending.reject(new SocketError(data.code, data.detail));
  }

  /**
   * A subscription that ended before its task, or a room that we may not be in any more.
   *
   * @param {{code: string, detail: string, task_id?: string, room?: string}} data
   */
  #ended({ code, detail, task_id = "", room = "" }) {
    const watch = this.#watches.get(task_id);
    if (watch) this.#refused(watch, new SocketError(code, detail));
    const seat = this.#seats.get(room);
    if (seat) this.#unseat(seat, new SocketError(code, detail));
  }

  /**
   * Send a frame that needs no answer.
   *
   * @param {string} type
   * @param {Record<string, any>} data
   */
  #say(type, data) {
    if (this.#ws?.readyState !== WebSocket.OPEN) return false;
    this.#ws.send(JSON.stringify({ type, data }));
    return true;
  }

  /** @param {{call_id: string, kind: string, data: any}} call */
  async #asked({ call_id, kind, data }) {
    const ws = this.#ws;
    const answerer = this.#answerers.get(kind);
    if (!answerer) return;
    const answer = await answerer(data);
    // Only the session that was asked may answer, and a new connection is another one.
    if (ws === this.#ws) this.#say("call:reply", { call_id, data: answer ?? null });
  }

  /** @param {TaskEvent & {task_id: string}} event */
  #deliver(event) {
    const watch = this.#watches.get(event.task_id);
    if (!watch?.armed || event.id === watch.lastEventId) return;
    watch.lastEventId = event.id;
    if (event.type === "end") this.#watches.delete(event.task_id);
    watch.handler.event(event);
  }

  // --- watched tasks ------------------------------------------------------------------------

  /** @param {Watch} watch */
  async #subscribe(watch) {
    const ws = this.#ws;
    // Events of an earlier subscription may still be under way; they must not reach this one.
    await this.#leaving.get(watch.taskId);
    if (ws !== this.#ws || this.#watches.get(watch.taskId) !== watch || watch.armed) return;
    watch.armed = true;
    const data = { task_id: watch.taskId, last_event_id: watch.lastEventId || undefined };
    try {
      await this.request("task:subscribe", data);
    } catch (error) {
      if (error instanceof SocketError && ws === this.#ws) this.#refused(watch, error);
    }
  }

  /**
   * @param {Watch} watch
   * @param {SocketError} error
   */
  #refused(watch, error) {
    if (!HOPELESS.has(error.code)) {
      this.#lost(); // what the server has or has not subscribed is unknown: begin afresh
    } else if (this.#watches.get(watch.taskId) === watch) {
      this.#watches.delete(watch.taskId);
      watch.handler.gone(error);
    }
  }

  /** @param {Watch} watch */
  #unwatch(watch) {
    const { taskId } = watch;
    if (this.#watches.get(taskId) !== watch) return;
    this.#watches.delete(taskId);
    if (!watch.armed) return;
    const left = this.request("task:unsubscribe", { task_id: taskId })
      .catch(() => {}) // a lost connection has left as well
      .then(() => {
        if (this.#leaving.get(taskId) === left) this.#leaving.delete(taskId);
      });
    this.#leaving.set(taskId, left);
  }

  // --- rooms --------------------------------------------------------------------------------

  /** @param {Seat} seat */
  async #enter(seat) {
    const ws = this.#ws;
    seat.armed = true;
    try {
      await this.request("room:join", { room: seat.name });
    } catch (error) {
      if (!(error instanceof SocketError) || ws !== this.#ws) return;
      if (ROOM_HOPELESS.has(error.code)) this.#unseat(seat, error);
      else this.#lost(); // Redis or the database is away: begin afresh
    }
  }

  /**
   * @param {string} type
   * @param {any} data
   */
  #toRoom(type, data) {
    const seat = this.#seats.get(data.room);
    if (!seat?.armed) return;
    if (type === "room:event") seat.handler.event?.(data);
    else seat.handler.presence?.(data);
  }

  /**
   * @param {Seat} seat
   * @param {SocketError} error
   */
  #unseat(seat, error) {
    if (this.#seats.get(seat.name) !== seat) return;
    this.#seats.delete(seat.name);
    seat.armed = false;
    seat.handler.gone?.(error);
  }

  /** @param {Seat} seat */
  #leave(seat) {
    if (this.#seats.get(seat.name) !== seat) return;
    this.#seats.delete(seat.name);
    if (seat.armed) this.#say("room:leave", { room: seat.name });
    seat.armed = false;
  }
}
