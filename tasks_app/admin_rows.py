"""Tasks in Redis as the rows of a Django admin list: what the list asks of a QuerySet, no more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from django.core.exceptions import FieldError
from django.db.models import Q, QuerySet

from tasks_app import api
from tasks_app.models import Task
from tasks_app.services.owners import usernames

MOST_AT_ONCE = 10_000  # rows that an action on "all of them" touches


def rows(records: Iterable[api.Task]) -> list[Task]:
    """Return the tasks as the admin's objects, with their owners' names by one query."""
    known = list(records)
    names = usernames(record.user_id for record in known)
    return [_row(record, names) for record in known]


def row_with_output(task_id: str) -> Task | None:
    """Return one task with all that its page shows."""
    record = api.find_sync(task_id)
    if record is None:
        return None
    row = rows([record])[0]
    row.output = api.read_output_sync(task_id)
    row.children = api.children_sync(task_id)
    return row


def _row(record: api.Task, names: dict[str, str]) -> Task:
    row = Task(id=record.id)
    row.record = record
    user_id = record.user_id or ""
    row.owner = names.get(user_id, user_id)
    return row


class TaskRows(QuerySet[Task]):
    """Reads a page at a time, newest first; refuses what an index in Redis cannot answer."""

    match = api.Match()
    picked: tuple[str, ...] | None = None
    found: api.Found | None = None

    def _clone(self) -> Self:
        copy: Self = super()._clone()  # type: ignore[misc] # private, and how QuerySet is extended
        copy.match, copy.picked, copy.found = self.match, self.picked, self.found
        return copy

    def matching(self, match: api.Match) -> Self:
        """Return the rows that match; replaces an earlier match."""
        copy = self._clone()
        copy.match, copy.found = match, None
        return copy

    def filter(self, *args: Any, **kwargs: Any) -> Self:
        if kwargs.keys() - {"pk__in"} or any(not isinstance(q, Q) or q for q in args):
            raise FieldError("Tasks can be filtered by state and by text only.")
        copy = self._clone()
        if "pk__in" in kwargs:
            copy.picked = tuple(kwargs["pk__in"])
        return copy

    @property
    def ordered(self) -> bool:
        return True

    def order_by(self, *_field_names: Any) -> Self:
        return self._clone()  # always newest first: the only order that Redis keeps

    def distinct(self, *_field_names: Any) -> Self:
        return self._clone()

    def count(self) -> int:
        if self.picked is None and self.match.is_everything:
            return api.count_tasks_sync()
        return len(self._known())

    def ids(self, start: int = 0, stop: int = MOST_AT_ONCE) -> list[str]:
        """Return the ids of the rows from `start` to before `stop`."""
        if self.picked is None and self.match.is_everything:
            return api.task_ids_sync(start, stop - start)
        return list(self._known()[start:stop])

    @property
    def is_complete(self) -> bool:
        """Whether every task was looked at, as far as the rows were counted or read."""
        return self.found is None or self.found.is_complete

    def _known(self) -> tuple[str, ...] | list[str]:
        if self.picked is not None:
            return self.picked
        if self.found is None:
            self.found = api.search_tasks_sync(self.match)
        return self.found.ids

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, slice) or key.stop is None or key.step is not None:
            raise FieldError("Tasks are read by pages.")
        return rows(api.summaries_sync(self.ids(key.start or 0, key.stop)))

    def _fetch_all(self) -> None:
        if self._result_cache is None:
            self._result_cache = self[0:MOST_AT_ONCE]
