"""Looks into the pools, and cleans them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from realtime import conf
from realtime.domain.pools import Card, ModelReport, SessionReport
from realtime.store import client, sessions, usage

Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class InUse:
    """The models in use, sorted, and for how many seconds at least that holds (None: any)."""

    model_ids: list[str]
    valid_for: float | None


async def models_in_use() -> InUse:
    """Read which models were pinged within USAGE_TIMEOUT_SECONDS by a session that is still there.

    At most 1,000, the ones pinged last. Raises StoreUnavailable.
    """
    call = usage.models(timeout=conf.usage_timeout_seconds())
    valid_for, model_ids = await client.arun(call)
    return InUse(sorted(model_ids), valid_for)


def sessions_sync(offset: int, limit: int) -> tuple[int, list[SessionReport]]:
    """Read how many sessions are alive and one page of them, those heard of last first.

    Raises StoreUnavailable.
    """
    call = sessions.page(timeout=conf.session_timeout_seconds(), offset=offset, limit=limit)
    count, rows = client.run(call)
    return count, [_session(Card.decode(text), last_seen) for text, last_seen in rows]


def _session(card: Card, last_seen: int) -> SessionReport:
    return SessionReport(card=card, last_seen=_moment(last_seen), since=_moment(card.since))


def models_sync(limit: int) -> tuple[int, list[ModelReport]]:
    """Read how many models are in use and those pinged last, at most `limit` of them.

    Raises StoreUnavailable.
    """
    count, rows = client.run(usage.page(timeout=conf.usage_timeout_seconds(), limit=limit))
    return count, [
        ModelReport(model_id=model, sessions=users, last_ping=_moment(last_ping))
        for model, users, last_ping in rows
    ]


async def clean_sessions(check: Check, batch: int = sessions.BATCH) -> int:
    """Remove the sessions that were not heard of for the time-out; return how many.

    In steps that each hold Redis for a moment only. `check` is awaited before each: what it raises
    ends the work.
    """
    removed, last = 0, batch
    while last >= batch:
        await check()
        timeout = conf.session_timeout_seconds()
        last = await client.arun(sessions.expire(timeout=timeout, limit=batch))
        removed += last
    return removed


async def clean_usage(check: Check, batch: int = usage.BATCH) -> int:
    """Remove models and their sessions that were not pinged for the time-out; as above."""
    removed = 0
    at: int | None = 0
    while at is not None:
        await check()
        timeout = conf.usage_timeout_seconds()
        last, at = await client.arun(usage.expire(timeout=timeout, offset=at, limit=batch))
        removed += last
    return removed


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
