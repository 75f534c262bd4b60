"""The register script: a record under a lease, once per id, harmless when repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.store import client, keys, registrations, scripts
from tasks_app.store.registrations import RegisterCode
from tasks_app.store.scripts import Call, LeaseCode, SettleCode

LEASE = 30.0
OURS = "t-1"


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


def register(task_id: str = "one", token: str = OURS, item_id: str = "") -> Call[RegisterCode]:
    return registrations.register(
        keys.current().prefix, task_id=task_id, token=token, name="work", item_id=item_id,
        instance="web", lease=LEASE, parent_id="",
    )  # fmt: skip


def settle(outcome: str = "succeeded", token: str = OURS) -> Call[SettleCode]:
    prefix = keys.current().prefix
    return scripts.settle(prefix, task_id="one", token=token, outcome=outcome)


async def test_a_registration_whose_answer_was_lost_is_answered_again() -> None:
    for _ in range(2):
        assert await client.arun(register(item_id="chat-1")) is RegisterCode.REGISTERED
    await api.stop_task("one", by="alice")
    assert await client.arun(register()) is RegisterCode.STOP_REQUESTED
    assert len((await api.list_tasks()).tasks) == 1
    events = await client.arun(scripts.read(keys.current().prefix, task_id="one", last=""))
    assert events is not None
    assert [kind for _, kind, _ in events.entries] == ["update", "update"]


async def test_another_token_or_an_ended_task_is_refused_and_changes_nothing() -> None:
    await client.arun(register())
    assert await client.arun(register(token="t-2")) is RegisterCode.TAKEN
    assert await client.arun(settle()) is SettleCode.SETTLED
    for token in (OURS, "t-2"):
        assert await client.arun(register(token=token)) is RegisterCode.TAKEN
    assert (await api.get_task("one")).status is TaskState.SUCCEEDED
    assert await api.unfinished_ids() == []


async def test_a_damaged_record_counts_as_taken() -> None:
    await client.client().set(keys.current().task("one"), "no hash")
    assert await client.arun(register()) is RegisterCode.TAKEN


@pytest.mark.parametrize("is_canceling", [False, True])
async def test_what_is_reaped_is_lost_or_canceled(is_canceling: bool) -> None:
    await client.arun(register(item_id="chat-1"))
    if is_canceling:
        await api.stop_task("one", by="alice")
    await client.client().zadd(keys.current().name("running"), {"one": 1})
    status = "canceled" if is_canceling else "lost"
    prefix = keys.current().prefix
    assert await client.arun(scripts.reap(prefix, lease=LEASE)) == [("one", status)]
    assert await client.arun(settle()) is SettleCode.REFUSED
    renew = scripts.renew(prefix, instance="", lease=LEASE, leases=[("one", OURS)])
    assert await client.arun(renew) == [LeaseCode.LOST]
    assert await api.unfinished_ids(item_id="chat-1") == []


async def test_who_renews_without_a_name_is_no_worker() -> None:
    await client.arun(register())
    prefix = keys.current().prefix
    renew = scripts.renew(prefix, instance="", lease=LEASE, leases=[("one", OURS)])
    assert await client.arun(renew) == [LeaseCode.RENEWED]
    assert await api.workers_alive() == 0
