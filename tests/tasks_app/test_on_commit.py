"""`enqueue_on_commit`: a task that needs a row starts when the row can be seen."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction

from tasks_app import api
from tasks_app.compat import TaskResultStatus, task_enqueued
from tasks_app.errors import InvalidTask
from tests import sample_tasks

AFTER = sample_tasks.add.using(enqueue_on_commit=True)


def unfinished() -> list[str]:
    async def read() -> list[str]:
        try:
            return await api.unfinished_ids()
        finally:
            await api.shutdown()

    return asyncio.run(read())


@pytest.mark.django_db(transaction=True)
def test_it_is_enqueued_when_the_transaction_is_committed() -> None:
    told: list[str] = []

    def listen(task_result: object, **_: object) -> None:
        told.append(task_result.id)  # type: ignore[attr-defined]

    task_enqueued.connect(listen)
    try:
        with transaction.atomic():
            result = AFTER.enqueue(1, 2)
            assert (result.status, result.args) == (TaskResultStatus.READY, [1, 2])
            assert unfinished() == told == []
        assert unfinished() == told == [result.id]
    finally:
        task_enqueued.disconnect(listen)
    result.refresh()
    assert result.enqueued_at is not None


@pytest.mark.django_db(transaction=True)
def test_it_is_forgotten_with_a_rollback() -> None:
    with transaction.atomic():
        AFTER.enqueue(1, 2)
        transaction.set_rollback(True)
    assert unfinished() == []


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_kept_is_refused_at_once() -> None:
    with transaction.atomic(), pytest.raises(InvalidTask):
        AFTER.enqueue(object(), 2)


@pytest.mark.django_db(transaction=True)
def test_asynchronous_code_heeds_the_transaction_around_it() -> None:
    with transaction.atomic():
        result = async_to_sync(AFTER.aenqueue)(1, 2)
        assert unfinished() == []
    assert unfinished() == [result.id]


@pytest.mark.django_db(transaction=True)
async def test_without_a_transaction_it_is_enqueued_at_once(engine: None) -> None:
    result = await AFTER.aenqueue(1, 2)
    assert await api.unfinished_ids() == [result.id]
    other = await sync_to_async(AFTER.enqueue)(1, 2)
    assert sorted(await api.unfinished_ids()) == sorted([result.id, other.id])
