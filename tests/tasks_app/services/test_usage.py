"""The usage of models: sums per user and day, exact with several writers and through outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from tasks_app.models import ModelUsage
from tasks_app.services import metrics, usage
from tasks_app.services.usage import CallOutcome, Used
from tests.support.eventually import eventually

pytestmark = pytest.mark.django_db(transaction=True)

USED = Used(
    user_id="7", kind="title", model="m", outcome=CallOutcome.SUCCEEDED, seconds=2.0,
    first_token_seconds=0.5, prompt_tokens=10, completion_tokens=3,
)  # fmt: skip


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    await usage.aclose()


async def rows() -> list[dict[str, Any]]:
    def read() -> list[dict[str, Any]]:
        return list(ModelUsage.objects.order_by("user_id", "kind").values())

    return await sync_to_async(read)()


async def test_calls_of_one_use_add_up_in_one_row(engine: None) -> None:
    usage.record(USED)
    usage.record(replace(USED, outcome=CallOutcome.FAILED, first_token_seconds=None,
                         prompt_tokens=0, completion_tokens=0))  # fmt: skip
    await usage.aclose()
    usage.record(replace(USED, outcome=CallOutcome.CANCELED))
    usage.record(replace(USED, user_id="", kind="chat"))
    await usage.aclose()
    chat, title = await rows()
    assert (chat["kind"], chat["user_id"], chat["calls"]) == ("chat", "", 1)
    assert title["day"] == datetime.now(UTC).date()
    assert (title["calls"], title["failures"], title["first_tokens"]) == (3, 1, 2)
    assert (title["prompt_tokens"], title["completion_tokens"]) == (20, 6)
    assert (title["seconds"], title["first_token_seconds"]) == (6.0, 1.0)


async def test_the_figures_have_each_call(engine: None) -> None:
    await metrics.hand_on()
    before = {(r.figure.name, r.labels): r.value for r in await metrics.read_metrics()}
    usage.record(USED)
    await metrics.hand_on()
    after = {(r.figure.name, r.labels): r.value for r in await metrics.read_metrics()}
    added = {at: value - before.get(at, 0) for at, value in after.items()}
    assert added["signalbox_generation_calls", ("title", "m", "succeeded")] == 1
    assert added["signalbox_generation_tokens", ("title", "m", "prompt")] == 10
    assert added["signalbox_generation_tokens", ("title", "m", "completion")] == 3
    assert added["signalbox_generation_call_seconds", ("title", "m")] == pytest.approx(2.0)
    assert added["signalbox_generation_first_token_seconds", ("title", "m")] == pytest.approx(0.5)


async def test_an_outage_of_the_database_loses_nothing(
    engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failures = usage._write, 2

    def failing(sums: Any) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OperationalError("database is locked")
        write(sums)

    monkeypatch.setattr(usage, "_write", failing)
    monkeypatch.setattr(usage, "AGAIN_SECONDS", 0.05)
    usage.record(USED)

    async def failures_left_are(number: int) -> bool:
        return failures == number

    await eventually(lambda: failures_left_are(1))
    usage.record(USED)  # meanwhile
    await eventually(lambda: failures_left_are(-1))
    await usage.aclose()
    (row,) = await rows()
    assert (row["calls"], row["prompt_tokens"]) == (2, 20)


async def test_two_writers_of_one_row_lose_nothing(engine: None) -> None:
    key = (datetime.now(UTC).date(), "7", "title", "m")
    ledgers = [usage.Ledger() for _ in range(4)]
    for ledger in ledgers:
        for _ in range(5):
            ledger.add(key, usage.Sums(calls=1))
            await asyncio.sleep(0)
    for ledger in ledgers:
        await ledger.aclose()
    (row,) = await rows()
    assert row["calls"] == 20


def test_old_sums_are_deleted() -> None:
    today = datetime.now(UTC).date()
    for days in (0, 10, 11):
        ModelUsage.objects.create(day=today - timedelta(days=days), kind="title", model="m")
    assert usage.delete_before(today - timedelta(days=10)) == 1
    assert ModelUsage.objects.count() == 2
