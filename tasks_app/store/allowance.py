"""What is left of a user's limits per minute: buckets in Redis, by its clock."""

from __future__ import annotations

from dataclasses import dataclass

from tasks_app.store import client, keys
from tasks_app.store.scripts import Call, script


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one user may use in a minute; 0: any number."""

    requests: int
    tokens: int

    def __bool__(self) -> bool:
        return bool(self.requests or self.tokens)


async def take_request(user_id: str, limits: Limits) -> float:
    """Take one request; answer 0, or the seconds to wait, and then nothing was taken.

    One round trip. Of tokens at least one must be left; none is taken.
    """
    waiting = await client.arun(_call(user_id, limits, requests=1, tokens=0, is_charge=False))
    return waiting / 1000


async def charge_tokens(user_id: str, limits: Limits, tokens: int) -> None:
    """Take tokens that were used; what is more than there was is owed, for an hour at most."""
    await client.arun(_call(user_id, limits, requests=0, tokens=tokens, is_charge=True))


def _call(
    user_id: str, limits: Limits, *, requests: int, tokens: int, is_charge: bool
) -> Call[int]:
    args: list[str | int] = [keys.current().prefix, user_id, int(is_charge)]
    for name, size, taken in (
        ("requests", limits.requests, requests),
        ("tokens", limits.tokens, tokens),
    ):
        if size:
            args += [name, size, 1, taken]
    return Call(int, tuple(args), script("allowance"))
