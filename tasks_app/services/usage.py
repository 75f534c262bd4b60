"""Records what models were used for: figures for `/metrics`, sums per user and day for the admin.

The sums go to the database from a task of the running loop, as soon as there is something to write
and the last write is done: many ends at once make one transaction. While the database is away they
are kept and tried again; a process that is killed loses what it has not written yet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from enum import StrEnum

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F

from tasks_app.database import query
from tasks_app.domain.metrics import CALL_DURATION, CALLS, FIRST_TOKEN, TOKENS
from tasks_app.domain.owned import end_owned
from tasks_app.models import ModelUsage
from tasks_app.services import metrics

logger = logging.getLogger("signalbox.usage")

AGAIN_SECONDS = 5.0
LAST_WRITE_SECONDS = 3.0
MOST_SUMS = 10_000  # kept while the database is away


class CallOutcome(StrEnum):
    """How a call of a model ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """One call of a model, its repetitions included; times in seconds.

    Tokens are the provider's count, 0 where it gave none. `first_token_seconds` is None when
    nothing came.
    """

    user_id: str
    kind: str
    model: str
    outcome: CallOutcome
    seconds: float
    first_token_seconds: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Sums:
    """The columns of ModelUsage that add up."""

    calls: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    first_tokens: int = 0
    first_token_seconds: float = 0.0

    def add(self, other: Sums) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


Key = tuple[date, str, str, str]  # day, user, kind, model


class Ledger:
    """The sums that one event loop has not written yet, and the task that writes them."""

    def __init__(self) -> None:
        self._sums: dict[Key, Sums] = {}
        self._writing: asyncio.Task[None] | None = None
        self._left_out = 0

    def add(self, key: Key, sums: Sums) -> None:
        """Add to what is to be written, and see to it that it is."""
        self._merge(key, sums)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="signalbox-usage")

    async def aclose(self) -> None:
        """Wait until all is written, LAST_WRITE_SECONDS at most; what is left then is lost."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=LAST_WRITE_SECONDS)
            await end_owned(self._writing)
        if self._sums:
            logger.error("usage_lost rows=%s", len(self._sums))

    def _merge(self, key: Key, sums: Sums) -> None:
        known = self._sums.get(key)
        if known is not None:
            known.add(sums)
        elif len(self._sums) < MOST_SUMS:
            self._sums[key] = sums
        else:
            self._left_out += 1

    async def _write(self) -> None:
        while self._sums:
            taken, self._sums = self._sums, {}
            try:
                await query(_write, taken)
                continue
            except DatabaseError as error:
                logger.warning("usage_kept rows=%s error=%s", len(taken), type(error).__name__)
            except Exception:  # a defect of ours: it must not stop the rows that come later
                logger.exception("usage_lost rows=%s", len(taken))
                continue
            for key, sums in taken.items():
                self._merge(key, sums)
            if self._left_out:
                logger.error("usage_left_out calls=%s", self._left_out)
                self._left_out = 0
            await asyncio.sleep(AGAIN_SECONDS)


_ledgers: dict[asyncio.AbstractEventLoop, Ledger] = {}


def record(used: Used) -> None:
    """Count a call of a model; never waits and never fails. Needs a running event loop."""
    at = (used.kind, used.model)
    metrics.count(CALLS, (*at, used.outcome.value))
    metrics.observe(CALL_DURATION, at, used.seconds)
    if used.first_token_seconds is not None:
        metrics.observe(FIRST_TOKEN, at, used.first_token_seconds)
    for kind, tokens in (("prompt", used.prompt_tokens), ("completion", used.completion_tokens)):
        if tokens:
            metrics.count(TOKENS, (*at, kind), tokens)
    _ledger().add(_key(used), _sums(used))


def _key(used: Used) -> Key:
    today = datetime.now(UTC).date()
    return today, used.user_id[:200], used.kind[:64], used.model[:200]


def _sums(used: Used) -> Sums:
    return Sums(
        calls=1,
        failures=int(used.outcome is CallOutcome.FAILED),
        prompt_tokens=used.prompt_tokens,
        completion_tokens=used.completion_tokens,
        seconds=used.seconds,
        first_tokens=int(used.first_token_seconds is not None),
        first_token_seconds=used.first_token_seconds or 0.0,
    )


def _ledger() -> Ledger:
    loop = asyncio.get_running_loop()
    for other in list(_ledgers):  # a copy: loops of other threads may come and go meanwhile
        if other.is_closed():
            _ledgers.pop(other, None)
    return _ledgers.setdefault(loop, Ledger())


async def aclose() -> None:
    """Write what the running loop has recorded."""
    ledger = _ledgers.pop(asyncio.get_running_loop(), None)
    if ledger is not None:
        await ledger.aclose()


def _write(sums: Mapping[Key, Sums]) -> None:
    with transaction.atomic():
        for (day, user_id, kind, model), added in sorted(sums.items()):
            _add_row({"day": day, "user_id": user_id, "kind": kind, "model": model}, added)


def _add_row(where: dict[str, date | str], added: Sums) -> None:
    numbers = {field.name: getattr(added, field.name) for field in fields(added)}
    more = {name: F(name) + number for name, number in numbers.items()}
    rows = ModelUsage.objects.filter(**where)
    if rows.update(**more):
        return
    try:
        with transaction.atomic():
            ModelUsage.objects.create(**where, **numbers)
    except IntegrityError:  # another process was faster
        rows.update(**more)


def delete_before(day: date) -> int:
    """Delete the sums of days before that one; return how many rows there were."""
    deleted, _ = ModelUsage.objects.filter(day__lt=day).delete()
    return deleted
