"""Runs database work away from the event loop, on a connection that is known to be alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections

P = ParamSpec("P")
T = TypeVar("T")


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a synchronous function on the thread for the database; raises what it raises.

    Sockets and tasks are no requests: nobody else drops connections that the database has closed.
    """
    return await sync_to_async(_call)(function, *args, **kwargs)


def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    close_old_connections()
    try:
        return function(*args, **kwargs)
    finally:
        close_old_connections()
