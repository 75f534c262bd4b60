"""Whatever happens in whatever order, the scripts do what a plain-Python model does.

Hypothesis makes up the histories, and shortens those that fail. After every step the whole
keyspace is compared with what follows from the model. More of it, at random:
`make test ARGS="tests/tasks_app/store/test_model.py --hypothesis-profile=long"`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import redis
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tasks_app.domain.records import NewTask
from tasks_app.domain.states import FINAL, LEASED, TaskState, can_move
from tasks_app.store import client, scripts
from tasks_app.store.keys import Keys
from tasks_app.store.registrations import register
from tasks_app.store.scripts import Call, Script
from tests.tasks_app.store.model import LEASE, SILENCE, Entry, Model, facts_of

BEGINNING = 1_795_000_000_000
IS_LONG = hypothesis.settings.get_current_profile_name() == "long"
CLOCK = "local clock = redis.call('TIME')"
TEST_CLOCK = (
    "local set = redis.call('GET', KEYS[1] .. 'test-clock')\n"
    "local clock = { math.floor(set / 1000), (set % 1000) * 1000 }"
)
# Everything below a prefix, in one round trip.
DUMP = """
local all = {}
for _, name in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind = redis.call('TYPE', name).ok
  local value
  if kind == 'hash' then value = redis.call('HGETALL', name)
  elseif kind == 'set' then value = redis.call('SMEMBERS', name)
  elseif kind == 'zset' then value = redis.call('ZRANGE', name, 0, -1, 'WITHSCORES')
  elseif kind == 'stream' then value = redis.call('XRANGE', name, '-', '+')
  else value = redis.call('GET', name) end
  all[#all + 1] = { string.sub(name, #ARGV[1] + 1), kind, value }
end
return all
"""


@cache
def by_test_clock(script: Script) -> Script:
    """Return the script with a clock that the test turns in place of Redis' own; no other change.

    Time is Redis' own and nobody can set it: this one line is what stands between the scripts and
    a clock that does not go by itself.
    """
    assert script.source.count(CLOCK) == 1
    source = script.source.replace(CLOCK, TEST_CLOCK)
    digest = redis.Redis().register_script(source).sha
    return Script(script.name, source, digest)


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _read(kind: str, value: Any) -> Any:
    if kind == "hash":
        return _pairs(value)
    if kind == "set":
        return set(value)
    if kind == "zset":
        return {member: float(score) for member, score in _pairs(value).items()}
    if kind == "stream":
        return [_pairs(fields) for _, fields in value]
    return value


ids = st.integers(0, 40)  # which of the tasks that are there, by position


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual] * (5 * len(others)) + list(others))


asked = st.fixed_dictionaries(
    {
        "priority": st.integers(-1, 1),
        "queue": st.sampled_from(["a", "b"]),
        "max_deliveries": st.integers(1, 3),
        "restartable": st.booleans(),
        "in_thread": st.booleans(),
        "item_id": st.sampled_from(["", "x", "y"]),
        "user_id": st.sampled_from(["", "1", "2"]),
        "delay": mostly(None, -5, 0, 1, 1001, 20_000),
        "expires_in": mostly(None, 1.0, 12.0),
        "unique_key": mostly("", "u"),
        "debounce": mostly(None, 1.0, 5.0),
        "max_wait": st.sampled_from([None, 5.0, 7.0]),
        "supersede_key": mostly("", "s"),
        "concurrency_key": st.sampled_from(["", "k", "k", "l"]),
        "concurrency": st.integers(1, 2),
        "parent": mostly(None, 0, 1, 2, 3),
    }
)
rarely = st.sampled_from([False] * 4 + [True])
twice = rarely  # the answer was lost: the same call again


class StoreMachine(RuleBasedStateMachine):
    """Does the same to Redis and to the model."""

    server: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"model-{uuid.uuid4().hex[:12]}:"
        self.names = Keys(self.prefix)
        self.model = Model(BEGINNING)
        self.made: list[str] = []  # ids of all tasks, also of those that are gone
        self.claims: dict[str, tuple[int, list[Entry], list[str], int]] = {}
        self.seen: dict[str, Any] = {}
        self.numbers = 0
        self._set_clock()

    def _set_clock(self) -> None:
        self.server.set(f"{self.prefix}test-clock", self.model.now)

    def run(self, call: Call[Any]) -> Any:
        assert call.script is not None
        return client.run(replace(call, script=by_test_clock(call.script)))

    def dump(self) -> dict[str, Any]:
        rows = self.server.eval(DUMP, 0, self.prefix)
        found = {name: _read(kind, value) for name, kind, value in rows}
        del found["test-clock"]
        return found

    def unchanged_by(self, call: Call[Any], expected: Any) -> None:
        """Make a call that must change nothing."""
        before = self.dump()
        assert self.run(call) == expected
        assert self.dump() == before

    def pick(self, which: int, stale: bool) -> tuple[Entry, str]:
        """Return an entry with its lease's token, or with one that it had or never had."""
        leased = self.model.having(*LEASED)
        if leased and not stale:
            entry = leased[which % len(leased)]
            return entry, entry.token
        entries = list(self.model.entries.values())
        entry = entries[which % len(entries)]
        return entry, ([*entry.old_tokens, "nobody"])[which % (len(entry.old_tokens) + 1)]

    def has_tasks(self) -> bool:
        return bool(self.model.entries)

    def has_leases(self) -> bool:
        return bool(self.model.having(*LEASED))

    # --- what may happen ----------------------------------------

    @initialize(
        asks=st.lists(st.tuples(asked, st.sampled_from([4, 1, 2, 6])), min_size=2, max_size=5)
    )
    def enqueue_some(self, asks: list[tuple[dict[str, Any], int]]) -> None:
        for ask, count in asks:
            for _ in range(count):
                self.enqueue(ask, again=False, needs_worker=False)

    @rule(ask=asked, again=twice, needs_worker=rarely)
    def enqueue(self, ask: dict[str, Any], again: bool, needs_worker: bool) -> None:
        new = self._new_task(dict(ask))
        within = SILENCE if needs_worker else None
        call = scripts.enqueue(self.prefix, new, worker_within=within and within / 1000)
        code, stands = self.model.enqueue(new, worker_within=within)
        for _ in range(1 + again):
            reply = self.run(call)
            assert reply.id == stands
            if code != "NO_WORKER":
                assert reply.status == self.model.entries[stands].status
        assert again or reply.code.name == code

    def _new_task(self, ask: dict[str, Any]) -> NewTask:
        self.numbers += 1
        delay, parent = ask.pop("delay"), ask.pop("parent")
        if delay is not None:
            ask["run_after"] = datetime.fromtimestamp((self.model.now + delay) / 1000, UTC)
        if ask["debounce"] is None:
            ask["max_wait"] = None
        else:
            ask["debounce_key"] = "d"
        if parent is not None and self.made:
            ask["parent_id"] = self.made[-1 - parent % len(self.made)]
        new = NewTask(id=f"t{self.numbers}", path="p", name="n", payload=f"{self.numbers}", **ask)
        self.made.append(new.id)
        return new

    @rule(item=st.sampled_from(["", "x"]), parent=mostly(None, 0, 1, 2, 3), again=twice)
    def register(self, item: str, parent: int | None, again: bool) -> None:
        """Begin a coroutine of a process, which has no worker and no keys."""
        self.numbers += 1
        over = self.made[-1 - parent % len(self.made)] if parent is not None and self.made else ""
        new = NewTask(
            id=f"t{self.numbers}", path="", name="n", payload="", item_id=item, parent_id=over
        )
        self.made.append(new.id)
        token = f"process:{new.id}"
        call = register(
            self.prefix, task_id=new.id, token=token, name="n", item_id=item, instance="process",
            lease=LEASE / 1000, parent_id=over,
        )  # fmt: skip
        code = self.model.register(new, token)
        for _ in range(1 + again):
            assert self.run(call).name == code
        self.unchanged_by(replace(call, args=(*call.args[:2], "other", *call.args[3:])), 0)

    @rule(
        instance=st.sampled_from(["v", "w"]), slots=st.integers(1, 6), threads=st.integers(0, 3),
        again=twice,
        queues=st.sampled_from([["a"], ["b"], ["a", "b"], ["b", "a"]]),
    )  # fmt: skip
    def claim(
        self, instance: str, slots: int, threads: int, again: bool, queues: list[str]
    ) -> None:
        held = {i for name, ids in self.seen.items() if name.startswith("held:") for i in ids}
        self.numbers += 1
        call = self._claim(instance, slots, queues, self.numbers, threads)
        leased = self.model.claim(instance, slots, threads, queues, held=held)
        reply = self.run(call)
        tokens = [entry.token for entry in leased]
        assert [(a.id, a.token, a.attempt) for a in reply.attempts] == [
            (entry.id, entry.token, entry.attempts) for entry in leased
        ]
        scheduled = self.model.having(TaskState.SCHEDULED)
        assert reply.next_due == min((entry.due for entry in scheduled), default=None)
        self.claims[instance] = (self.numbers, leased, tokens, self.model.now + LEASE)
        if again:
            self.claim_again(instance)

    def _claim(
        self, instance: str, slots: int, queues: list[str], number: int, threads: int = 9
    ) -> Call[Any]:
        return scripts.claim(
            self.prefix, instance=instance, slots=slots, lease=LEASE / 1000, queues=queues,
            number=number, threads=threads,
        )  # fmt: skip

    @precondition(has_leases)
    @rule(instance=st.sampled_from(["v", "w"]))
    def claim_again(self, instance: str) -> None:
        """The answer was lost, and whatever happened meanwhile: what is still ours comes again."""
        number, leased, tokens, until = self.claims.get(instance, (0, [], [], 0))
        if until <= self.model.now or not leased:
            return
        call = self._claim(instance, 9, ["a", "b"], number)
        before = self.dump()
        reply = self.run(call)
        ours = [t for e, t in zip(leased, tokens, strict=True) if e.token == t]
        assert [attempt.token for attempt in reply.attempts] == ours
        assert self.dump() == before

    @precondition(has_tasks)
    @rule(which=ids, stale=rarely, text=st.sampled_from(["", "word"]), again=twice)
    def emit(self, which: int, stale: bool, text: str, again: bool) -> None:
        entry, token = self.pick(which, stale)
        number = entry.flushes + 1
        # What is an event of its own counts as output like text; a log line does not.
        kind = "note" if text else "log"
        flush = scripts.Flush(number, text, 0.5, "half", ((kind, "1"),))
        call = scripts.emit(self.prefix, task_id=entry.id, token=token, flush=flush)
        if token != entry.token:
            self.unchanged_by(call, expected=False)
            return
        assert self.model.emit(entry, token, number, text)
        assert self.run(call)
        if again:
            self.unchanged_by(call, expected=True)

    @precondition(has_tasks)
    @rule(
        which=ids, stale=rarely, delay=st.sampled_from([0, 1, 3000]), ahead=rarely, again=twice,
        outcome=st.sampled_from(["succeeded", "failed", "canceled", "retry", "retry", "release"]),
    )  # fmt: skip
    def settle(
        self, which: int, stale: bool, delay: int, ahead: bool, outcome: str, again: bool
    ) -> None:
        entry, token = self.pick(which, stale)
        if entry.is_local and outcome in {"retry", "release"}:
            outcome = "succeeded"  # nobody can begin it again
        flushed = entry.flushes + ahead
        call = scripts.settle(
            self.prefix, task_id=entry.id, token=token, outcome=outcome, result="1", error="{}",
            delay=delay / 1000, flushed=flushed,
        )  # fmt: skip
        if token == entry.token and ahead:
            self.unchanged_by(call, scripts.SettleCode.OUTPUT_MISSING)
            return
        before = self.seen
        code = self.model.settle(entry, token, outcome, delay=delay, flushed=flushed)
        assert self.run(call).name == code
        if code == "REFUSED":
            assert self.dump() == before
        elif again:
            self.unchanged_by(call, scripts.SettleCode.REFUSED)

    @rule(which=ids, any_state=rarely, item=mostly("", "x", "y"), again=twice)
    def stop(self, which: int, any_state: bool, item: str, again: bool) -> None:
        if item:
            self._stop_item(item)
            return
        found = [*self.made, "nobody"] if any_state else [e.id for e in self.model.unfinished]
        task_id = found[which % len(found)] if found else "nobody"
        call = scripts.stop(self.prefix, task_id=task_id, by="alice", reason="user")
        assert self.run(call).name == self.model.stop(task_id, "alice", "user")
        if again:
            assert self.run(call).name == self.model.stop(task_id, "alice", "user")

    def _stop_item(self, item: str) -> None:
        for task_id in sorted(self.seen.get(f"tasks:item:{item}", ())):
            call = scripts.stop(self.prefix, task_id=task_id, by="bob", reason="user")
            assert self.run(call).name == self.model.stop(task_id, "bob", "user")

    @rule(
        what=st.sampled_from(["renew v", "renew w", "reap", "prune"]), again=twice,
        retention=st.sampled_from([0, 5000, 60_000]), limit=st.sampled_from([1, 2, 500]),
    )  # fmt: skip
    def keep_house(self, what: str, again: bool, retention: int, limit: int) -> None:
        if what == "reap":
            self.reap(again=again)
        elif what == "prune":
            self.prune(retention, limit)
        else:
            self.renew(what[-1], again=again)

    def renew(self, instance: str, *, again: bool) -> None:
        leases = [
            (entry.id, token)
            for entry in self.model.entries.values()
            for token in [entry.token, *entry.old_tokens]
            if token.startswith(instance)
        ]
        call = scripts.renew(
            self.prefix, instance=instance, lease=LEASE / 1000, leases=leases,
            facts=facts_of(instance),
        )  # fmt: skip
        codes = self.model.renew(instance, leases)
        for _ in range(1 + again):
            assert [code.name for code in self.run(call)] == codes

    @rule(ms=st.sampled_from([1, 999, 1000, 5000, LEASE - 1, LEASE, SILENCE, 4 * LEASE]))
    def pass_time(self, ms: int) -> None:
        self.model.now += ms
        self._set_clock()
        for instance, (*_, until) in self.claims.items():
            if until <= self.model.now:  # Redis' own expiry does not go by our clock
                self.server.delete(self.names.name("claims", instance))

    def reap(self, *, again: bool) -> None:
        call = scripts.reap(self.prefix, lease=LEASE / 1000)
        assert dict(self.run(call)) == self.model.reap()
        if again:
            assert self.run(call) == []

    def prune(self, retention: int, limit: int) -> None:
        call = scripts.prune(self.prefix, retention=retention / 1000, limit=limit)
        assert self.run(call) == len(self.model.prune(retention, limit))

    # --- what must hold after each step ----------------------------------------

    @invariant()
    def redis_holds_what_the_model_says(self) -> None:
        self.seen = dict(self.dump())
        left = dict(self.seen)
        for entry in self.model.entries.values():
            record = left.pop(f"task:{entry.id}")
            check_record(entry, record)
            check_output(entry, record, left.pop(f"output:{entry.id}", None))
        self._check_waiting(left)
        if self.model.seq:
            assert left.pop("sequence") == str(self.model.seq)
        for instance in list(self.claims):
            left.pop(f"claims:{instance}", None)
        assert left == self.model.expected_indexes()

    def _check_waiting(self, left: dict[str, Any]) -> None:
        """Every queued task is in its queue, or else put aside: in exactly one of them."""
        waiting: dict[str, list[str]] = {}
        for name in [
            name for name in left if name.split(":")[0] in {"queue", "threadless", "held"}
        ]:
            for task_id, score in left.pop(name).items():
                waiting.setdefault(task_id, []).append(name)
                entry = self.model.entries[task_id]
                assert name in {
                    f"queue:{entry.new.queue}",
                    f"held:{entry.new.concurrency_key}",
                    f"threadless:{entry.new.queue}" if entry.new.in_thread else "",
                }
                assert score == (100 - entry.new.priority) * 2**44 + entry.seq
        queued = self.model.having(TaskState.QUEUED)
        assert {task_id: len(places) for task_id, places in waiting.items()} == {
            entry.id: 1 for entry in queued
        }
        blocked = left.pop("blocked", set())
        for key in {name[5:] for name in self.seen if name.startswith("held:")}:
            assert key in blocked  # or reap would not look after it
            assert not self._has_room(key), "held back while slots are free"
        queues = {
            name.partition(":")[2]
            for places in waiting.values()
            for name in places
            if not name.startswith("held:")
        }
        assert queues <= left.pop("queues", set())

    def _has_room(self, key: str) -> bool:
        """Say whether the first of those who wait for a slot could have one that nobody takes."""
        held = self.seen[f"held:{key}"]
        first = self.model.entries[min(held, key=held.__getitem__)]
        waiting = [e for e in self.model.having(TaskState.QUEUED) if e.new.concurrency_key == key]
        let_in = [entry for entry in waiting if entry.id not in held]
        return len(self.model.on_slots(key)) + len(let_in) < first.new.concurrency

    # --- at the end ----------------------------------------

    def teardown(self) -> None:
        """Everything ends, its retention passes: nothing is left but the counter."""
        try:
            self._end_everything()
            assert set(self.dump()) <= {"sequence"}
        finally:
            self.server.delete(*self.server.keys(f"{self.prefix}*"))

    def _end_everything(self) -> None:
        self.redis_holds_what_the_model_says()
        while self.model.unfinished:
            self.pass_time(4 * LEASE)
            self.reap(again=False)
            self.redis_holds_what_the_model_says()
            self.claim("v", 9, 9, again=False, queues=["a", "b"])
            for entry in self.model.having(*LEASED):
                call = scripts.settle(
                    self.prefix, task_id=entry.id, token=entry.token, outcome="succeeded"
                )
                code = self.model.settle(entry, entry.token, "succeeded", delay=0, flushed=0)
                assert self.run(call).name == code
            self.redis_holds_what_the_model_says()
        self.pass_time(4 * LEASE)
        self.reap(again=False)
        self.prune(0, 500)
        self.redis_holds_what_the_model_says()


def check_record(entry: Entry, record: dict[str, str]) -> None:
    kept = {
        "status": entry.status.value,
        "payload": entry.payload,
        "attempts": str(entry.attempts),
        "deliveries": str(entry.deaths + (entry.status in LEASED)),
        "failures": str(entry.failures),
        "token": entry.token,
        "stopped_by": entry.stopped_by,
        "reason": entry.reason,
        "parent": entry.parent,
    }
    defaults = {"attempts": "0", "deliveries": "0", "failures": "0"}
    if entry.attempts and not entry.is_unfinished:
        kept.pop("deliveries")  # how many there were is not asked any more
    assert {name: record.get(name, defaults.get(name, "")) for name in kept} == kept
    if entry.error:
        assert entry.error in record["error"]


def check_output(entry: Entry, record: dict[str, str], stream: list[dict[str, str]] | None) -> None:
    """One end, at the end, of a finished task; and its states in an order that the table allows."""
    assert ("log" in record) == (
        stream is None
    )  # the events are in the record, or else in a stream
    events = stream
    if events is None:
        parts = [line.split(" ", 2) for line in record["log"].splitlines()]
        events = [{"t": kind, "d": data} for _, kind, data in parts]
    kinds = [event["t"] for event in events]
    assert kinds.count("end") == (entry.status in FINAL)
    assert "end" not in kinds[:-1]
    states = [TaskState(_status(e["d"])) for e in events if e["t"] == "update"]
    assert all(can_move(*move) for move in pairwise(states))
    if entry.is_unfinished:
        assert states[-1] is entry.status
    assert kinds.count("restart") == max(0, entry.attempts - 1)


def _status(data: str) -> str:
    return data.split('"')[3]


@pytest.fixture
def machine(settings: Any, redis_url: str) -> Iterator[type[StoreMachine]]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as server:
        yield type("Machine", (StoreMachine,), {"server": server})


@pytest.mark.timeout(6 * 3600 if IS_LONG else 120)
def test_the_store_does_what_the_model_does(machine: type[StoreMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=hypothesis.settings(
            max_examples=20_000 if IS_LONG else 80,
            stateful_step_count=80 if IS_LONG else 40,
            derandomize=not IS_LONG,
        ),
    )
