"""The background service of a process's coroutines: one per event loop, made on first use.

It owns the listener for commands, the writer and the heartbeat, and every coroutine until its end
is written. It has no connection of its own and asks nothing of Redis while no coroutine runs.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

from tasks_app import conf
from tasks_app.domain.context import current_task_id
from tasks_app.domain.owned import end_owned
from tasks_app.errors import ShuttingDown, StoreUnavailable, TaskExists
from tasks_app.local.coroutine import NEVER_STARTED, Coroutine, failed
from tasks_app.local.writer import Writer
from tasks_app.store import keys
from tasks_app.store.registrations import RegisterCode
from tasks_app.store.subscriptions import subscriptions
from tasks_app.worker.attempt import Purpose
from tasks_app.worker.commands import task_to_stop
from tasks_app.worker.heartbeat import Heartbeat
from tasks_app.worker.worker import (
    GIVE_UP_SECONDS,
    HAND_BACK_SECONDS,
    IGNORED_CANCEL_SECONDS,
    LISTEN_AGAIN_SECONDS,
    instance_name,
)

log = logging.getLogger(__name__)

REGISTER_SECONDS = 3.0
CLEANUP_SECONDS = 3.0


class LocalTasks:
    """Registers, runs, stops and settles the coroutines of one event loop."""

    def __init__(self) -> None:
        self.instance = instance_name()
        self._loop = asyncio.get_running_loop()
        self._arriving: dict[str, Coroutine] = {}  # by task id: being registered
        self._started: dict[str, Coroutine] = {}  # by task id: until it is done and settled
        self._changed = asyncio.Event()
        self._closing = False
        self._writer = Writer(self.instance, self._settled)
        self._heartbeat = Heartbeat("", self._started, self._cancel)
        self._owned: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Start what runs in the background, unless it runs; needs no Redis for that."""
        for name, work in (
            ("listen", self._listen),
            ("write", self._writer.run),
            ("heartbeat", self._heartbeat.run),
        ):
            running = self._owned.get(name)
            if running is None or running.cancelled():  # somebody cancels all that a loop runs
                self._owned[name] = asyncio.create_task(
                    self._stay_alive(name, work), name=f"signalbox-coroutines-{name}"
                )

    async def create(self, coroutine: Any, *, task_id: str, item_id: str) -> asyncio.Task[Any]:
        """Register the coroutine and start it; otherwise it never starts, and is not closed here.

        Raises StoreUnavailable, TaskExists and ShuttingDown.
        """
        if self._closing:
            raise ShuttingDown
        if task_id in self._arriving or task_id in self._started:
            raise TaskExists
        self.start()
        one = Coroutine(
            task_id=task_id,
            token=f"{self.instance}:{task_id}:{os.urandom(8).hex()}",
            name=coroutine.__qualname__[:200],
            item_id=item_id,
            parent_id=current_task_id.get(),
            registered=self._loop.create_future(),
        )
        self._arriving[task_id] = one
        try:
            code = await self._registered(one)
        except BaseException:
            self._never_started(one)
            raise
        finally:
            del self._arriving[task_id]
            self._changed.set()
        if code is RegisterCode.TAKEN:
            raise TaskExists
        return self._run(one, coroutine, stop=code is RegisterCode.STOP_REQUESTED)

    async def _registered(self, one: Coroutine) -> RegisterCode:
        self._writer.register(one)
        try:
            async with asyncio.timeout(REGISTER_SECONDS):
                code = await one.registered
        except TimeoutError:
            raise StoreUnavailable from None
        if self._closing:
            raise ShuttingDown
        return code

    def _never_started(self, one: Coroutine) -> None:
        """End what Redis may have of it; beyond its lease a reaper does."""
        if self._writer.withdraw(one):
            return
        one.outcome = failed(NEVER_STARTED)
        one.expires_at = time.monotonic() + conf.lease_seconds()
        self._writer.settle(one)

    def _run(self, one: Coroutine, coroutine: Any, *, stop: bool) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(current_task_id.set, one.task_id)
        name = f"signalbox-task-{one.task_id}"
        one.task = self._loop.create_task(coroutine, name=name, context=context)
        self._started[one.task_id] = one
        one.task.add_done_callback(lambda _: self._ended(one))
        if stop or one.purpose is not None:  # asked to stop while it was being registered
            one.purpose = None
            self._cancel(one, Purpose.STOP)
        return one.task

    async def clean_up(self, task_id: str) -> None:
        """Write the end of a coroutine that is done, if it is one of ours and that is not written.

        Waits for it a little. Redis or not, the outbox has it, and goes on.
        """
        one = self._started.get(task_id)
        if one is not None and one.task is not None and one.task.done():
            self._ended(one)
            await self._until(lambda: one.settled, CLEANUP_SECONDS)

    # --- ends ----------------------------------------------------------------------------------

    def _ended(self, one: Coroutine) -> None:
        """Take the end of its asyncio task: here first, then in Redis. Repeating it is harmless."""
        if one.give_up is not None:
            one.give_up.cancel()
        if one.outcome is None and one.task is not None:  # else it was given up before
            one.end(one.task)
            self._close(one)
        if one.settled:
            self._forget(one)

    def _close(self, one: Coroutine) -> None:
        if one.purpose is Purpose.LOST:
            one.settled = True  # the end is another's to write, and was written
        else:
            self._writer.settle(one)
        self._changed.set()

    def _settled(self, one: Coroutine) -> None:
        if one.task is not None and one.task.done():
            self._forget(one)
        self._changed.set()

    def _forget(self, one: Coroutine) -> None:
        if self._started.get(one.task_id) is one:
            del self._started[one.task_id]
        self._changed.set()

    def _cancel(self, one: Coroutine, purpose: Purpose) -> None:
        one.cancel(purpose)
        if one.purpose is not Purpose.LOST and one.give_up is None and one.outcome is None:
            one.give_up = self._loop.call_later(IGNORED_CANCEL_SECONDS, self._give_up, one)

    def _give_up(self, one: Coroutine) -> None:
        """Settle a coroutine that ignores its cancellation; it is kept until it returns."""
        if one.outcome is not None or one.purpose is Purpose.LOST or one.task is None:
            return
        log.warning("cancellation_ignored task_id=%s name=%s", one.task_id, one.name)
        one.cancel_outcome()
        one.task.cancel()  # again: a library may have lost the first one
        self._close(one)

    # --- the background ------------------------------------------------------------------------

    async def _stay_alive(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception:  # whatever it was, coroutines must stay stoppable and be settled
                log.exception("coroutines_%s_failed", name)
            else:
                return
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    async def _listen(self) -> None:
        while True:
            try:
                await subscriptions().add(keys.current().name("commands"), self._command)
            except StoreUnavailable:
                await asyncio.sleep(LISTEN_AGAIN_SECONDS)
            else:
                self._heartbeat.kick()  # a command may have come before we listened
                return

    def _command(self, message: str | None) -> None:
        if message is None:  # commands may have been missed: the heartbeat reads the state
            self._heartbeat.kick()
            return
        task_id = task_to_stop(message)
        if task_id in self._started:
            self._cancel(self._started[task_id], Purpose.STOP)
        elif task_id in self._arriving:
            self._arriving[task_id].purpose = Purpose.STOP

    # --- shutdown ------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Start nothing new, cancel what runs, write all ends; the heartbeat goes last.

        Waits a bounded time for coroutines that do not end and for Redis; what is not written
        then is reaped when its lease has expired.
        """
        self._closing = True
        try:
            for one in list(self._started.values()):
                self._cancel(one, Purpose.RELEASE)
            await self._until(self._is_done, HAND_BACK_SECONDS)
            for one in list(self._started.values()):
                self._give_up(one)
            await self._until(self._is_written, GIVE_UP_SECONDS)
            await subscriptions().remove(keys.current().name("commands"), self._command)
        finally:
            heartbeat = self._owned.pop("heartbeat", None)
            await end_owned(*self._owned.values())
            if heartbeat is not None:
                await end_owned(heartbeat)
            self._owned.clear()

    def _is_done(self) -> bool:
        return not self._arriving and all(one.outcome for one in self._started.values())

    def _is_written(self) -> bool:
        return not self._arriving and not self._writer.has_unwritten

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Wait until it holds or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, LocalTasks] = WeakKeyDictionary()


def local_tasks() -> LocalTasks:
    """Return the running loop's service, made on first use."""
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        for closed in [other for other in _by_loop if other.is_closed()]:
            del _by_loop[closed]  # its asyncio tasks would hold it for ever
        _by_loop[loop] = LocalTasks()
    return _by_loop[loop]


def held_local_tasks() -> LocalTasks | None:
    """Return the running loop's service if it has one."""
    return _by_loop.get(asyncio.get_running_loop())


async def aclose() -> None:
    """End the running loop's coroutines and its service, if there is one."""
    held = held_local_tasks()
    if held is not None:
        try:
            await held.aclose()
        finally:
            _by_loop.pop(asyncio.get_running_loop(), None)
