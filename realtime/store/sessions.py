"""The session pool's calls: one sorted set, a session's card by when it was last heard of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from realtime.store import keys
from realtime.store.scripts import Call, script

BATCH = 1000  # of one call, so that none holds Redis for long; Lua's unpack takes some 8,000


def ping(cards: Sequence[str], *, timeout: float) -> Iterator[Call[int]]:
    """Build the calls that register sessions or keep them alive for `timeout` seconds."""
    for at in range(0, len(cards), BATCH):
        some = cards[at : at + BATCH]
        yield Call(int, (keys.session_pool(), _ms(timeout), *some), script("session_ping"))


def leave(cards: Sequence[str]) -> Iterator[Call[int]]:
    """Build the calls that take sessions out."""
    for at in range(0, len(cards), BATCH):
        yield Call(int, ("ZREM", keys.session_pool(), *cards[at : at + BATCH]))


def expire(*, timeout: float, limit: int = BATCH) -> Call[int]:
    """Build the call that removes sessions not heard of for `timeout` seconds; answers how many."""
    return Call(int, (keys.session_pool(), _ms(timeout), limit), script("session_expire"))


def page(*, timeout: float, offset: int, limit: int) -> Call[tuple[int, list[tuple[str, int]]]]:
    """Build the call that reads living sessions: how many, and a page of (card, last seen)."""
    return Call(
        lambda r: (int(r[0]), [(r[i], int(float(r[i + 1]))) for i in range(1, len(r), 2)]),
        (keys.session_pool(), _ms(timeout), offset, limit),
        script("session_page"),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
