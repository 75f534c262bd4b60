"""The store as plain Python: what every script promises, without Redis.

The model is written from the documents, not from the scripts: no indexes, only tasks and their
states. Which indexes Redis must then have, `expected_indexes` derives from the states alone.
All times are milliseconds of the clock that the test turns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from tasks_app.domain.records import NewTask
from tasks_app.domain.states import FINAL, LEASED, WAITING, TaskState

LEASE = 10_000
# Which queues a worker serves; one that never beats is not heard of.
SERVES = {"v": ("a",), "w": ("a", "b")}
SILENCE = 15_000  # a worker not heard of for so long counts as dead
KEY_KINDS = ("unique", "debounce", "supersede")
S = TaskState


def facts_of(instance: str) -> str:
    return json.dumps({"queues": SERVES[instance]})


@dataclass(eq=False)
class Entry:
    """One task of the model."""

    id: str
    seq: int
    new: NewTask
    payload: str
    status: TaskState
    due: int | None = None
    latest: int | None = None  # a debounced task is due no later
    expires: int | None = None
    parent: str = ""  # with whom it is stopped
    is_local: bool = False  # a coroutine of one process, which nobody else can run
    attempts: int = 0
    deaths: int = 0  # deliveries whose worker was not heard of again
    failures: int = 0
    claims: int = 0
    token: str = ""
    old_tokens: list[str] = field(default_factory=list)
    lease: int = 0
    flushes: int = 0
    text: str = ""
    stopped_by: str = ""
    reason: str = ""
    ended: int = 0
    error: str = ""

    @property
    def order(self) -> tuple[int, int]:
        return (-self.new.priority, self.seq)

    @property
    def is_unfinished(self) -> bool:
        return self.status not in FINAL

    @property
    def keys(self) -> dict[str, str]:
        named = {"unique": self.new.unique_key, "debounce": self.new.debounce_key,
                 "supersede": self.new.supersede_key}  # fmt: skip
        return {kind: name for kind, name in named.items() if name}


class Model:
    """All tasks, who holds which key, which workers are heard of."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.seq = 0
        self.entries: dict[str, Entry] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self.workers: dict[str, int] = {}

    # --- looking ----------------------------------------

    def having(self, *states: TaskState) -> list[Entry]:
        return [e for e in self.entries.values() if e.status in states]

    @property
    def unfinished(self) -> list[Entry]:
        return [e for e in self.entries.values() if e.is_unfinished]

    def children(self, parent_id: str) -> list[Entry]:
        return [e for e in self.entries.values() if e.parent == parent_id]

    def line(self, task_id: str) -> list[Entry]:
        """Return a task and its ancestors, nearest first, as far as they are kept."""
        found: list[Entry] = []
        while task_id in self.entries:
            found.append(self.entries[task_id])
            task_id = found[-1].parent
        return found

    def on_slots(self, key: str) -> list[Entry]:
        return [e for e in self.having(*LEASED) if e.new.concurrency_key == key]

    def serving(self, queue: str) -> dict[str, int]:
        return {name: at for name, at in self.workers.items() if queue in SERVES[name]}

    # --- moves ----------------------------------------

    def enqueue(self, new: NewTask, *, worker_within: int | None) -> tuple[str, str]:
        """Answer what becomes of it and the id of the task that stands for it."""
        if new.id in self.entries:
            return "EXISTS", new.id
        heard = [
            at for at in self.serving(new.queue).values() if at >= self.now - (worker_within or 0)
        ]
        if worker_within is not None and not heard:
            return "NO_WORKER", new.id
        line = self.line(new.parent_id)
        # What is being stopped, or was, finds nothing and changes nothing any more.
        stopped = self._stopped(line)
        if not stopped and (other := self.keys.get(("unique", new.unique_key))):
            self._share(self.entries[other], line)
            return "EXISTS", other
        asked = 0 if new.run_after is None else round(new.run_after.timestamp() * 1000)
        due = asked or None
        if new.debounce is not None:
            due = max(due or 0, self.now + round(new.debounce * 1000))
        if not stopped and (other := self.keys.get(("debounce", new.debounce_key))):
            self._share(self.entries[other], line)
            self._debounce(self.entries[other], new, due or 0, asked)
            return "MERGED", other
        self.seq += 1
        entry = Entry(new.id, self.seq, new, new.payload, S.QUEUED, due)
        if due is not None and due > self.now:
            entry.status = S.SCHEDULED
        if new.expires_in is not None:
            entry.expires = max(self.now, due or 0) + round(new.expires_in * 1000)
        if new.max_wait is not None:
            entry.latest = max(asked, self.now + round(new.max_wait * 1000))
        self.entries[new.id] = entry
        self._adopt(entry, line)
        if stopped:
            self._stop_one(entry, stopped.stopped_by, "parent")
        else:
            self._take_keys(entry, line)
        return "ENQUEUED", new.id

    def register(self, new: NewTask, token: str) -> str:
        """Answer what becomes of a coroutine that a process is about to begin."""
        line = self.line(new.parent_id)
        self.seq += 1
        entry = Entry(new.id, self.seq, new, "", S.RUNNING, is_local=True)
        entry.attempts, entry.token, entry.lease = 1, token, self.now + LEASE
        self.entries[new.id] = entry
        self._adopt(entry, line)
        if stopped := self._stopped(line):
            self._stop_one(entry, stopped.stopped_by, "parent")
            return "STOP_REQUESTED"
        return "REGISTERED"

    def _stopped(self, line: list[Entry]) -> Entry | None:
        return next((e for e in line if e.status in {S.CANCELING, S.CANCELED}), None)

    def _debounce(self, waiting: Entry, new: NewTask, due: int, asked: int) -> None:
        waiting.payload = new.payload
        if waiting.status is S.SCHEDULED:
            latest = due if waiting.latest is None else waiting.latest
            waiting.due = min(due, max(asked, latest))
            if new.expires_in is not None:
                waiting.expires = waiting.due + round(new.expires_in * 1000)

    def _adopt(self, entry: Entry, line: list[Entry]) -> None:
        """Link it to the nearest ancestor who has not ended by itself, where there is one."""
        heir = self._heir(line)
        entry.parent = heir.id if heir else entry.new.parent_id

    def _heir(self, line: list[Entry]) -> Entry | None:
        return next((e for e in line if e.status not in FINAL - {S.CANCELED}), None)

    def _take_keys(self, entry: Entry, line: list[Entry]) -> None:
        superseded = self.keys.get(("supersede", entry.new.supersede_key))
        for kind, name in entry.keys.items():
            self.keys[kind, name] = entry.id
        if not superseded:
            return
        old = self.entries[superseded]
        if old in line:  # its successor stands beside it
            above = self.entries.get(old.parent)
            entry.parent = above.id if above and above.is_unfinished else ""
        self.stop(superseded, "system", "superseded")

    def _share(self, entry: Entry, line: list[Entry]) -> None:
        """Another line asks for it too: it is stopped with whom both lines have in common."""
        living = [e for e in self.line(entry.parent) if e.is_unfinished]
        if living:
            entry.parent = next((e.id for e in living if e in line), "")

    def _hand_over(self, entry: Entry) -> None:
        heir = self._heir(self.line(entry.parent))
        if heir:
            for child in self.children(entry.id):
                if child.is_unfinished:
                    child.parent = heir.id

    @property
    def _expired(self) -> list[Entry]:
        """What has waited for too long, in that order."""
        late = [e for e in self.having(*WAITING) if not e.attempts and e.expires]
        return sorted(
            (e for e in late if (e.expires or 0) <= self.now), key=lambda e: (e.expires, e.id)
        )

    def promote(self) -> None:
        for entry in self.having(S.SCHEDULED):
            if (entry.due or 0) <= self.now:
                entry.status = S.QUEUED

    def claim(
        self, instance: str, slots: int, threads: int, queues: Iterable[str], *, held: set[str]
    ) -> list[Entry]:
        """Answer the attempts that are leased; `held` says who waits aside, and then who does."""
        self.promote()
        leased: list[Entry] = []
        for queue in queues:
            while len(leased) < slots and (best := self._best(queue, held, threads)):
                if best in self._expired:
                    self.finish(best, S.FAILED, "TaskExpired")
                    self._let_in(best.new.concurrency_key, held)
                elif self._has_slot(best):
                    self._start(best, instance)
                    leased.append(best)
                    threads -= best.new.in_thread
                else:
                    held.add(best.id)
        return leased

    def _best(self, queue: str, held: set[str], threads: int) -> Entry | None:
        waiting = [e for e in self.having(S.QUEUED) if e.new.queue == queue and e.id not in held]
        waiting = [e for e in waiting if threads or not e.new.in_thread]
        return min(waiting, key=lambda e: e.order, default=None)

    def _let_in(self, key: str, held: set[str]) -> None:
        taken = len(self.on_slots(key))
        for entry in sorted((self.entries[i] for i in held), key=lambda e: e.order):
            if entry.new.concurrency_key == key:
                if taken >= entry.new.concurrency:
                    return
                taken += 1
                held.discard(entry.id)

    def _has_slot(self, entry: Entry) -> bool:
        key = entry.new.concurrency_key
        return not key or len(self.on_slots(key)) < entry.new.concurrency

    def _start(self, entry: Entry, instance: str) -> None:
        entry.status = S.RUNNING
        entry.attempts += 1
        entry.claims += 1
        entry.token = f"{instance}:{entry.id}:{entry.claims}"
        entry.lease = self.now + LEASE
        entry.flushes, entry.text = 0, ""
        self._drop(entry, "debounce")

    def emit(self, entry: Entry, token: str, number: int, text: str) -> bool:
        if not entry.token or entry.token != token:
            return False
        if number > entry.flushes:
            entry.flushes = number
            entry.text += text
        return True

    def settle(self, entry: Entry, token: str, outcome: str, *, delay: int, flushed: int) -> str:
        if not entry.token or entry.token != token:
            return "REFUSED"
        if entry.flushes < flushed:
            return "OUTPUT_MISSING"
        if entry.status is S.CANCELING or outcome == "canceled":
            self._cancel(entry)
        elif outcome == "retry":
            entry.failures += 1
            self._put_back(entry, self.now + delay)
        elif outcome == "release":
            self._put_back(entry, None)
        else:
            self.finish(entry, S(outcome))
        return "SETTLED"

    def renew(self, instance: str, leases: Iterable[tuple[str, str]]) -> list[str]:
        self.workers[instance] = self.now
        codes = []
        for task_id, token in leases:
            entry = self.entries.get(task_id)
            if entry is None or not entry.token or entry.token != token:
                codes.append("LOST")
                continue
            entry.lease = self.now + LEASE
            codes.append("STOP_REQUESTED" if entry.status is S.CANCELING else "RENEWED")
        return codes

    def reap(self) -> dict[str, str]:
        for instance, at in list(self.workers.items()):
            if at <= self.now - 4 * LEASE:
                del self.workers[instance]
        reaped = {}
        for entry in sorted(self.having(*LEASED), key=lambda e: (e.lease, e.id)):
            # An earlier one of this reap may have stopped it meanwhile: a canceled parent's child.
            if entry.lease > self.now:
                continue
            entry.deaths += 1
            if entry.status is S.CANCELING:
                self._cancel(entry)
            elif entry.is_local:
                self.finish(entry, S.LOST, "InstanceDied")
            elif entry.deaths >= entry.new.max_deliveries:
                self.finish(entry, S.FAILED, "TooManyDeliveries")
            else:
                self._put_back(entry, None)
            reaped[entry.id] = entry.status.value
        for entry in self._expired:
            self.finish(entry, S.FAILED, "TaskExpired")
        return reaped

    def stop(self, task_id: str, by: str, reason: str) -> str:
        entry = self.entries.get(task_id)
        if entry is None:
            return "MISSING"
        code = self._stop_one(entry, by, reason)
        if code != "FINISHED":
            self._stop_children(entry, by)
        return code

    def _stop_one(self, entry: Entry, by: str, reason: str) -> str:
        if entry.status in WAITING:
            entry.stopped_by, entry.reason = by, reason
            self.finish(entry, S.CANCELED)
            return "CANCELED"
        if entry.status is S.RUNNING:
            entry.status, entry.stopped_by, entry.reason = S.CANCELING, by, reason
        return "CANCELING" if entry.status is S.CANCELING else "FINISHED"

    def _stop_children(self, entry: Entry, by: str) -> None:
        for child in self.children(entry.id):
            if child.is_unfinished and child.status is not S.CANCELING:
                self._stop_one(child, by, "parent")
                self._stop_children(child, by)

    def _cancel(self, entry: Entry) -> None:
        self.finish(entry, S.CANCELED)
        self._stop_children(entry, "system")

    def _put_back(self, entry: Entry, due: int | None) -> None:
        if entry.text and not entry.new.restartable:
            self.finish(entry, S.FAILED)
            return
        self._end_lease(entry)
        entry.status = S.QUEUED if due is None else S.SCHEDULED
        entry.due = due

    def _end_lease(self, entry: Entry) -> None:
        if entry.token:
            entry.old_tokens.append(entry.token)
        entry.token = ""

    def finish(self, entry: Entry, status: TaskState, error: str = "") -> None:
        assert entry.is_unfinished
        self._end_lease(entry)
        entry.status, entry.ended, entry.error = status, self.now, error
        for kind in entry.keys:
            self._drop(entry, kind)
        if status is not S.CANCELED:
            self._hand_over(entry)

    def _drop(self, entry: Entry, kind: str) -> None:
        name = entry.keys.get(kind)
        if name and self.keys.get((kind, name)) == entry.id:
            del self.keys[kind, name]

    def prune(self, retention: int, limit: int) -> list[Entry]:
        old = [e for e in self.having(*FINAL) if e.ended <= self.now - retention]
        removed = sorted(old, key=lambda e: (e.ended, e.id))[:limit]
        for entry in removed:
            del self.entries[entry.id]
        return removed

    # --- what Redis must hold ----------------------------------------

    def expected_indexes(self) -> dict[str, object]:
        """Return every index that follows from the states alone; empty ones do not exist.

        The queues and those who wait for slots are not among them: who is put aside is the
        store's choice, within the limits that the test checks.
        """
        kept = self.entries.values()
        expected: dict[str, object] = {
            "tasks": {e.id: e.new.item_id for e in self.unfinished},
            "scheduled": {e.id: float(e.due or 0) for e in self.having(S.SCHEDULED)},
            "running": {e.id: float(e.lease) for e in self.having(*LEASED)},
            "finished": {e.id: float(e.ended) for e in self.having(*FINAL)},
            "expiring": {
                e.id: float(e.expires)
                for e in self.having(*WAITING)
                if e.expires and not e.attempts
            },
            "failed": {e.id: float(e.seq) for e in self.having(S.FAILED)},
            "all": {e.id: float(e.seq) for e in kept},
            "workers": {name: float(at) for name, at in self.workers.items()},
            "worker_facts": {name: facts_of(name) for name in self.workers},
        }
        for queue in ("a", "b"):
            expected[f"serving:{queue}"] = {
                name: float(at) for name, at in self.serving(queue).items()
            }
        expected |= {f"{kind}:{name}": task_id for (kind, name), task_id in self.keys.items()}
        for entry in kept:
            if entry.text:
                expected[f"text:{entry.id}"] = entry.text
            if children := self.children(entry.id):
                scores = {c.id: 0.0 if c.is_unfinished else 1.0 for c in children}
                expected[f"children:{entry.id}"] = scores
            if entry.new.user_id:
                owned = {e.id: float(e.seq) for e in kept if e.new.user_id == entry.new.user_id}
                expected[f"user:{entry.new.user_id}"] = owned
            if entry.new.item_id and entry.is_unfinished:
                about = {e.id for e in self.unfinished if e.new.item_id == entry.new.item_id}
                expected[f"tasks:item:{entry.new.item_id}"] = about
            if (key := entry.new.concurrency_key) and (running := self.on_slots(key)):
                expected[f"slots:{key}"] = {e.id for e in running}
        return {name: value for name, value in expected.items() if value}
