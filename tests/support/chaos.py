"""Faults that strike a running system at random, the work it does meanwhile, and what must hold.

A Redis of its own and three worker processes with a short lease; this process enqueues and stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks_app.domain.states import FINAL, TaskState, can_move
from tasks_app.errors import AlreadyFinished, StoreUnavailable
from tasks_app.services import enqueue, stop
from tasks_app.store import client, keys, scripts
from tasks_app.store import tasks as store
from tests import chaos_tasks
from tests.support.eventually import eventually
from tests.support.stack import Stack

PREFIX = "stack"
WORKERS = 3
LEASE_SECONDS = 2.0
DRAIN_SECONDS = 90.0
FORGET_SECONDS = 30.0  # a dead worker is forgotten after four leases
LIMITED = ("model-0", "model-1")


def calm_stack(folder: Path) -> Stack:
    """Return a stack of which `Chaos` starts Redis and the workers only."""
    stack = Stack(folder, webs=0, workers=WORKERS)
    stack.environment |= {
        "TASK_LEASE_SECONDS": str(LEASE_SECONDS),
        "TASK_RETENTION_SECONDS": "86400",  # what ended is looked at, then pruned, at the end
        "THREAD_POOL_SIZE": "4",
    }
    return stack


@dataclass
class Report:
    """What happened."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    tasks: int = 0
    attempts: int = 0
    most_attempts: int = 0
    stops: int = 0
    repeated_calls: int = 0


class Chaos:
    """One run: strikes, works, comes to rest and checks."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack = stack
        self.report = Report(seed)
        # The faults do not depend on how fast the work goes.
        self.rng, self.work_rng = random.Random(seed), random.Random(seed + 1)  # noqa: S311
        self._paused: set[str] = set()
        self._absent: set[str] = set()  # being restarted
        self._aside: set[asyncio.Task[None]] = set()  # what goes on while the next fault strikes
        self._acknowledged: dict[str, str] = {}
        self._stopped: set[str] = set()
        self._working = True

    async def run(self, faults: int, *, every: float) -> Report:
        """Strike so many faults, `every` so many seconds on average, and prove that all is well."""
        for number in range(1, WORKERS + 1):
            self.stack.start_worker(number)
        await eventually(self._all_workers_are_there, within=60)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._enqueue_for_ever())
            group.create_task(self._stop_for_ever())
            try:
                for _ in range(faults):
                    await asyncio.sleep(self.rng.uniform(0.5, 1.5) * every)
                    await self._strike()
            finally:
                self._working = False
                await asyncio.gather(*self._aside)
        await eventually(self._nothing_is_unfinished, within=DRAIN_SECONDS, every=0.2)
        self._nobody_ended_by_itself()
        for number in range(1, WORKERS + 1):
            await asyncio.to_thread(self.stack.end, f"worker-{number}")
        await self._check_every_task()
        await self._check_that_nothing_is_left()
        return self.report

    # --- work ------------------------------------------------------------------------------------

    async def _enqueue_for_ever(self) -> None:
        while self._working:
            definition, args = chaos_tasks.any_task(self.work_rng)
            new = enqueue.prepare(definition, args, {})
            # The same request again until it is answered: that must never make two.
            task = await self._insist(lambda new=new: enqueue.send(new))  # type: ignore[misc]
            if task is not None and task.id == new.id:
                self._acknowledged[task.id] = definition.func.__name__
                self.report.kinds[definition.func.__name__] += 1
            await asyncio.sleep(self.work_rng.uniform(0, 0.12))

    async def _stop_for_ever(self) -> None:
        while self._working:
            await asyncio.sleep(self.work_rng.uniform(0.1, 0.6))
            recent = list(self._acknowledged)[-20:]
            if not recent:
                continue
            task_id = self.work_rng.choice(recent)
            self._stopped.add(task_id)
            with contextlib.suppress(AlreadyFinished):
                await self._insist(lambda i=task_id: stop.stop_task(i, by="chaos"))  # type: ignore[misc]
            self.report.stops += 1

    async def _insist(self, call: Callable[[], Awaitable[Any]]) -> Any:
        for _ in range(200):
            try:
                return await call()
            except StoreUnavailable:
                self.report.repeated_calls += 1
                await asyncio.sleep(0.05)
        raise AssertionError("Redis did not come back.")

    # --- faults ----------------------------------------------------------------------------------

    async def _strike(self) -> None:
        self._nobody_ended_by_itself()
        fault = self.rng.choice([
            self.kill, self.kill, self.pause, self.pause, self.restart, self.cut_connections,
            self.cut_connections, self.cut_listeners, self.pause_redis, self.forget_scripts,
        ])  # fmt: skip
        self.report.faults[fault.__name__] += 1
        await fault()

    def _victim(self) -> str | None:
        there = sorted(set(self.stack.processes) - self._paused - self._absent)
        return self.rng.choice(there) if there else None

    async def kill(self) -> None:
        """Let a worker die without a word, and start another in its place."""
        if (name := self._victim()) is not None:
            self.stack.kill(name)
            self.stack.start_worker(int(name[-1]))

    async def pause(self) -> None:
        """Let a worker stand still for longer than its leases, then go on as if nothing was."""
        if (name := self._victim()) is not None:
            process, seconds = self.stack.processes[name], self.rng.uniform(0.5, 2.5)
            self._paused.add(name)
            self._go_on_aside(self._paused_for(name, process, seconds * LEASE_SECONDS))

    async def _paused_for(
        self, name: str, process: subprocess.Popen[bytes], seconds: float
    ) -> None:
        with stopped(process):
            await asyncio.sleep(seconds)
        self._paused.discard(name)

    async def restart(self) -> None:
        """End a worker as an operator would, and start it again."""
        if (name := self._victim()) is not None:
            self._absent.add(name)
            self._go_on_aside(self._restarted(name))

    async def _restarted(self, name: str) -> None:
        process = self.stack.processes[name]
        process.terminate()
        status = await asyncio.to_thread(process.wait, 60)
        log = self.stack.log_of(name)
        # One that was still starting had no handler yet, and nothing to hand back.
        had_begun = f"-{process.pid}-" in log
        assert status == 0 or (status == -signal.SIGTERM and not had_begun), (
            f"{name} ended with {status}\n{log[-4000:]}"
        )
        self.stack.start_worker(int(name[-1]))
        self._absent.discard(name)

    async def cut_connections(self) -> None:
        """Close some connections of Redis, whoever's they are, also ours."""
        with contextlib.suppress(Exception):  # our own may be the first to go
            redis = client.client()
            for one in await redis.client_list(_type="normal"):
                if self.rng.random() < 0.5:
                    await redis.client_kill_filter(_id=one["id"])

    async def cut_listeners(self) -> None:
        """Close every connection that listens for commands."""
        with contextlib.suppress(Exception):  # as above
            await client.client().client_kill_filter(_type="pubsub")

    async def pause_redis(self) -> None:
        """Let Redis stand still: for a moment, or for longer than anybody waits for an answer."""
        assert self.stack.redis.process is not None
        with stopped(self.stack.redis.process):
            await asyncio.sleep(self.rng.choice([0.2, 0.8, 1.5, 4.0]))

    async def forget_scripts(self) -> None:
        with contextlib.suppress(Exception):  # as above
            await client.client().script_flush()

    def _go_on_aside(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._aside.add(task)

    def _nobody_ended_by_itself(self) -> None:
        for name, process in self.stack.processes.items():
            if name not in self._absent and process.poll() is not None:
                raise AssertionError(f"{name} ended by itself:\n{self.stack.log_of(name)[-4000:]}")

    # --- rest ------------------------------------------------------------------------------------

    async def _all_workers_are_there(self) -> bool:
        self._nobody_ended_by_itself()
        return len(await client.arun(store.workers(keys.current()))) >= WORKERS

    async def _nothing_is_unfinished(self) -> bool:
        self._nobody_ended_by_itself()
        try:
            left = await client.arun(store.unfinished(keys.current()))
        except StoreUnavailable:
            return False
        assert not left, [await client.arun(store.get_summary(keys.current(), i)) for i in left[:5]]
        return True

    async def _check_every_task(self) -> None:
        """Every task ended once, whole, and what must succeed did."""
        ids = await client.client().zrange(keys.current().name("all"), 0, -1)
        lost = set(self._acknowledged) - set(ids)
        assert not lost, f"acknowledged, but gone: {sorted(lost)}"
        for task_id in ids:
            task = await client.arun(store.get(keys.current(), task_id))
            assert task is not None
            self._count(task)
            assert_ended_once(task, await kept_events(task_id))
            kind = task.path.rpartition(".")[2]
            if kind in chaos_tasks.RELIABLE and task.stopped_by is None:
                assert task.status is TaskState.SUCCEEDED, task
            if kind == "stream" and task.status is TaskState.SUCCEEDED:
                text = await client.client().get(keys.current().name("text", task_id))
                assert text == "".join(f"{number} " for number in range(task.result)), task

    def _count(self, task: Any) -> None:
        self.report.tasks += 1
        self.report.states[task.status.value] += 1
        self.report.attempts += task.attempts
        self.report.most_attempts = max(self.report.most_attempts, task.attempts)

    async def _check_that_nothing_is_left(self) -> None:
        names = keys.current()
        unfinished_only = {
            names.name(kind)
            for kind in ("tasks", "item", "scheduled", "running", "queue", "slots", "held",
                         "blocked", "unique", "debounce", "supersede", "stopping", "threadless",
                         "expiring")
        }  # fmt: skip
        await client.arun(scripts.reap(names.prefix, lease=LEASE_SECONDS))  # `blocked`
        found = await client.client().keys(f"{names.prefix}*")
        assert not [name for name in found if name.startswith(tuple(unfinished_only))]
        while await client.arun(scripts.prune(names.prefix, retention=-1)):
            pass
        await eventually(self._only_lasting_keys_are_left, within=FORGET_SECONDS, every=0.2)

    async def _only_lasting_keys_are_left(self) -> bool:
        names = keys.current()
        await client.arun(scripts.reap(names.prefix, lease=LEASE_SECONDS))
        found = set(await client.client().keys("*"))
        lasting = {names.name(kind) for kind in ("sequence", "fences", "periodic", "metrics")}
        assert found <= lasting, sorted(found)[:20]
        return True


async def kept_events(task_id: str) -> list[tuple[str, str]]:
    """Return every event that is kept of a task, as it stands in Redis: its type and its JSON."""
    redis, names = client.client(), keys.current()
    # The first ones stand in the record, until a stream begins that takes them over.
    log = await redis.hget(names.task(task_id), "log")
    if log is not None:
        parts = [line.split(" ", 2) for line in log.splitlines()]
        return [(kind, data) for _, kind, data in parts]
    return [(e["t"], e["d"]) for _, e in await redis.xrange(names.name("output", task_id))]


def assert_ended_once(task: Any, events: list[tuple[str, str]]) -> None:
    kinds = [kind for kind, _ in events]
    assert task.status in FINAL, task
    assert kinds.count("end") == 1, (task, kinds)
    assert kinds[-1] == "end", (task, kinds)
    assert kinds.count("restart") == max(0, task.attempts - 1), (task, kinds)
    states = [TaskState(data.split('"')[3]) for kind, data in events if kind == "update"]
    for move in zip(states, [*states[1:], task.status], strict=True):
        assert can_move(*move), (task, states)


@contextlib.contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Any:
    """Let one of our processes stand still while the block runs."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def chaos(stack: Stack, seed: int) -> AsyncIterator[Chaos]:
    """Start Redis, give the run, and end every process of it."""
    stack.redis.folder.mkdir()
    stack.redis.start()
    try:
        yield Chaos(stack, seed)
    finally:
        await asyncio.to_thread(stack.stop)
