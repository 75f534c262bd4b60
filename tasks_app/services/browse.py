"""Reads tasks synchronously for the admin: by position, by what they match, and their output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks_app.domain.records import Task
from tasks_app.domain.states import FINAL, TaskState
from tasks_app.services.inspect import VALID_ID, find_sync
from tasks_app.store import client, keys
from tasks_app.store import tasks as store
from tasks_app.store.scripts import Call
from tasks_app.store.tasks import Traits

SEARCHED = 10_000  # the newest tasks that a filter or a search looks at
OUTPUT_BYTES = 64 * 1024
CHILDREN = 50  # as many of a task's children are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What the wanted tasks have: one of some states (none: any), and a text.

    The text is the beginning of their id, or their name, queue, item or user; `user_id` lets a
    caller search for the user whose name the text is.
    """

    states: frozenset[TaskState] = frozenset()
    text: str = ""
    user_id: str = ""

    @property
    def is_everything(self) -> bool:
        return not self.states and not self.text

    @property
    def is_unfinished(self) -> bool:
        return bool(self.states) and not self.states & FINAL

    @property
    def is_failed(self) -> bool:
        return self.states == {TaskState.FAILED}

    def fits(self, task_id: str, traits: Traits) -> bool:
        if self.states and traits.status not in self.states:
            return False
        if not self.text:
            return True
        exact = {traits.name, traits.queue, traits.item, traits.user}
        by_user = bool(self.user_id) and self.user_id == traits.user
        return self.text in exact or by_user or task_id.startswith(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Ids that match, newest first; not complete when older tasks were not looked at."""

    ids: list[str]
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """The first children of a task, without payloads and results, and how many it has."""

    tasks: list[Task]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The end of a task's text, and how many bytes the whole has."""

    text: str
    size: int

    @property
    def is_whole(self) -> bool:
        return self.size <= OUTPUT_BYTES


def count_tasks_sync() -> int:
    """Return how many tasks are kept, finished ones included."""
    return client.run(store.count_all(keys.current()))


def task_ids_sync(offset: int, limit: int) -> list[str]:
    """Return ids by position, newest first."""
    return client.run(store.slice_all(keys.current(), offset, limit))


def summaries_sync(task_ids: Sequence[str]) -> list[Task]:
    """Return the tasks without payloads and results, in order; those that are gone are left out."""
    if not task_ids:
        return []
    names = keys.current()
    found = client.run_all([store.get_summary(names, task_id) for task_id in task_ids])
    return [task for task in found if task is not None]


def search_tasks_sync(match: Match) -> Found:
    """Return the ids that match, among all unfinished or the newest SEARCHED (failed) tasks.

    A whole id is found however old it is.
    """
    if match.text and VALID_ID.match(match.text) and (task := find_sync(match.text)):
        fits = not match.states or task.status in match.states
        return Found(ids=[task.id] if fits else [], is_complete=True)
    names = keys.current()
    ids, is_complete = _candidates(match)
    if match.is_failed and not match.text:  # what its index holds has failed
        return Found(ids=ids, is_complete=is_complete)
    traits = client.run_all([store.traits(names, task_id) for task_id in ids]) if ids else []
    fitting = [
        (one.seq, task_id)
        for task_id, one in zip(ids, traits, strict=True)
        if one is not None and match.fits(task_id, one)
    ]
    return Found(ids=[i for _, i in sorted(fitting, reverse=True)], is_complete=is_complete)


def _candidates(match: Match) -> tuple[list[str], bool]:
    names = keys.current()
    kept, unfinished = client.run_all([store.count_all(names), store.count_unfinished(names)])
    if match.is_unfinished and unfinished <= SEARCHED:
        return client.run(store.unfinished(names)), True
    if match.is_failed:
        ids, failed = client.run_all(
            [store.slice_failed(names, SEARCHED), store.count_failed(names)]
        )
        return ids, failed <= SEARCHED
    return client.run(store.slice_all(names, 0, SEARCHED)), kept <= SEARCHED


def children_sync(task_id: str) -> Children:
    """Return the first children of a task, the unfinished ones before the others."""
    names = keys.current()
    ids, count = client.run_all(
        [store.slice_children(names, task_id, CHILDREN), store.count_children(names, task_id)]
    )
    return Children(tasks=summaries_sync(ids), count=count)


def read_output_sync(task_id: str) -> Output:
    """Return the text that the task's current attempt has put out so far, or the end of it."""
    return _output(client.run_all(_output_calls(task_id)))


async def read_output(task_id: str) -> Output:
    """Do as `read_output_sync` on the running loop."""
    return _output(await client.arun_all(_output_calls(task_id)))


def _output_calls(task_id: str) -> list[Call[Any]]:
    names = keys.current()
    return [store.text_size(names, task_id), store.text_end(names, task_id, OUTPUT_BYTES)]


def _output(replies: Sequence[int | str]) -> Output:
    size, text = int(replies[0]), str(replies[1])
    # The cut may have gone through a character.
    return Output(text=text.lstrip("\ufffd") if size > OUTPUT_BYTES else text, size=size)
