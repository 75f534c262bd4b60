"""Probes for whatever watches the program: alive, and ready to serve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from tasks_app import api
from tasks_app.errors import StoreUnavailable
from tasks_app.rest.errors import detail_response

CHECK_SECONDS = 2.8


@require_safe
async def healthz(_request: HttpRequest) -> HttpResponse:
    """Answer as long as the event loop turns; nothing else is asked."""
    return JsonResponse({"status": "alive"})


@require_safe
async def readyz(_request: HttpRequest) -> HttpResponse:
    """Answer 200 when Redis, the database and a worker are there, else 503 naming what is not."""
    checks = {"redis": api.ping, "database": _database, "worker": _worker}
    answers = await asyncio.gather(*(_holds(check) for check in checks.values()))
    missing = [name for name, holds in zip(checks, answers, strict=True) if not holds]
    if not missing:
        return JsonResponse({"status": "ready"})
    return detail_response(503, f"Not ready. Missing: {', '.join(missing)}.", {"Retry-After": "5"})


async def _holds(check: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except (StoreUnavailable, DatabaseError, TimeoutError, LookupError):
        return False
    return True


async def _worker() -> None:
    if not await api.workers_alive():
        raise LookupError


@sync_to_async
def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
