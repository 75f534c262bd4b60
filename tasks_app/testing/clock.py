"""Lets time pass for the engine without waiting: its tasks are made older where they are kept.

The engine's clock is Redis' own, which no test can set. What stays as it was: the timers inside
running processes (a running attempt's time-out), and the heartbeats and leases of live workers,
which real time would not end either.
"""

from __future__ import annotations

from tasks_app.store import client, keys, scripts


def advance(seconds: float) -> int:
    """Make every task of this prefix `seconds` older; return how many there are.

    Scheduled, debounced and retried tasks come due, waiting ones expire, finished ones outlive
    their retention. Workers are told to look.
    """
    return client.run(scripts.age(keys.current().prefix, seconds=seconds))


async def aadvance(seconds: float) -> int:
    """Do as `advance`, from asynchronous code."""
    return await client.arun(scripts.age(keys.current().prefix, seconds=seconds))


def expire_leases() -> int:
    """End every lease, as if the workers that hold them had died; return how many there were.

    The next heartbeat of any worker then starts those tasks again, or gives them up. Not for tasks
    of a worker that lives: its own heartbeat may renew them first.
    """
    return client.run(scripts.expire_leases(keys.current().prefix))


async def aexpire_leases() -> int:
    """Do as `expire_leases`, from asynchronous code."""
    return await client.arun(scripts.expire_leases(keys.current().prefix))
