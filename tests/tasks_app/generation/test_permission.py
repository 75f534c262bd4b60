"""Who may generate what, and how much in a minute."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.records import Viewer
from tasks_app.domain.states import TaskState
from tasks_app.generation import permission
from tasks_app.generation.catalog import aclose_catalog
from tasks_app.generation.configuration import TaskConfig, update
from tasks_app.generation.errors import KindForbidden, LimitReached, UnknownModel
from tasks_app.generation.permission import admit, charge, limited
from tasks_app.store import client, keys
from tasks_app.store.allowance import Limits, charge_tokens, take_request
from tasks_app.tasks import chat_completion, title_generation
from tests import sample_tasks
from tests.support.eventually import eventually
from tests.support.fake_provider import FakeProvider
from tests.tasks_app.generation.test_selection import rule, user_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


@pytest.fixture(autouse=True)
async def models(settings: Any) -> Any:
    async with FakeProvider() as fake:
        fake.models = ["small", "big", "secret"]
        settings.OPENAI_API_BASE_URL = [fake.base_url]
        settings.OPENAI_API_KEY = [""]
        yield fake
        await aclose_catalog()


async def viewer(*groups: str, name: str = "ada") -> Viewer:
    user = await user_in(*groups, name=name)
    return Viewer(user_id=str(user.pk), username=name, can_view_all=False, can_change_all=False)


async def test_what_is_found_on_the_way_is_answered() -> None:
    admitted = await admit(await viewer(), "title", "small")
    assert admitted.model.id == "small"
    assert admitted.config == TaskConfig()
    assert admitted.rights.may_use_kind("title")


async def test_a_kind_that_is_left_to_others_is_forbidden() -> None:
    await rule("kind", "title", "writers")
    ada = await viewer()
    with pytest.raises(KindForbidden):
        await admit(ada, "title", "small")
    await admit(ada, "chat", "small")
    await admit(await viewer("writers", name="bob"), "title", "small")


async def test_a_hidden_model_is_as_unknown_as_one_that_is_not_there() -> None:
    await rule("model", "secret", "writers")
    ada = await viewer()
    said = []
    for name in ("secret", "absent"):
        with pytest.raises(UnknownModel) as refused:
            await admit(ada, "chat", name)
        said.append(str(refused.value).replace(name, "X"))
    assert said[0] == said[1] == "There is no model 'X'. Known models: small, big."
    assert [m.id for m in await permission.visible_models(ada.user_id)] == ["small", "big"]
    bob = await viewer("writers", name="bob")
    assert (await admit(bob, "chat", "secret")).model.id == "secret"


# --- limits ---------------------------------------------------------------------------------------


async def test_requests_are_limited_by_user() -> None:
    await update({"REQUESTS_PER_MINUTE": 3})
    ada, bob = await viewer(), await viewer(name="bob")
    for _ in range(3):
        await admit(ada, "chat", "small")
    with pytest.raises(LimitReached, match="requests of this minute") as refused:
        await admit(ada, "chat", "small")
    # One third of a minute for one request, less what has passed since the first.
    assert 0 < refused.value.retry_after <= 20
    await admit(bob, "chat", "small")


async def test_what_is_refused_for_another_reason_costs_nothing() -> None:
    await update({"REQUESTS_PER_MINUTE": 1})
    ada = await viewer()
    with pytest.raises(UnknownModel):
        await admit(ada, "chat", "absent")
    await admit(ada, "chat", "small")


async def test_many_requests_at_once_take_no_more_than_there_is() -> None:
    limits = Limits(requests=2, tokens=0)  # one more in half a minute
    waits = await asyncio.gather(*(take_request("7", limits) for _ in range(50)))
    assert waits.count(0) == 2
    assert all(0 <= wait <= 30 for wait in waits)


async def test_a_refusal_takes_nothing() -> None:
    limits = Limits(requests=3, tokens=1)
    await charge_tokens("7", limits, 2)
    for _ in range(10):
        assert await take_request("7", limits) > 0
    for _ in range(3):
        assert await take_request("7", Limits(requests=3, tokens=0)) == 0


async def test_time_gives_back_what_was_taken() -> None:
    limits = Limits(requests=60_000, tokens=600)  # ten tokens in a second
    await charge_tokens("7", limits, 601)
    assert await take_request("7", limits) > 0

    async def taken() -> bool:
        return await take_request("7", limits) == 0

    await eventually(taken)


async def test_tokens_are_charged_afterwards_and_owed() -> None:
    await update({"TOKENS_PER_MINUTE": 600})
    ada = await viewer()
    await admit(ada, "chat", "small")
    await charge(ada.user_id, 1200)
    with pytest.raises(LimitReached, match="tokens of this minute") as refused:
        await admit(ada, "chat", "small")
    assert 0 < refused.value.retry_after <= 61  # 600 are owed: a minute's worth


async def test_a_debt_is_an_hours_worth_at_most_and_its_key_expires_with_it(
    redis_prefix: str,
) -> None:
    limits = Limits(requests=5, tokens=1)
    await charge_tokens("7", limits, 10**9)
    assert 3500 < await take_request("7", limits) <= 3661
    left = await client.client().pttl(keys.current().name("allowance", "7"))
    assert 3_500_000 < left <= 3_661_000


async def test_the_key_of_an_allowance_is_gone_when_it_is_whole() -> None:
    await take_request("7", Limits(requests=60_000, tokens=0))  # one in a millisecond

    async def gone() -> bool:
        return not await client.client().exists(keys.current().name("allowance", "7"))

    await eventually(gone)


async def test_without_limits_nothing_is_written() -> None:
    ada = await viewer()
    await admit(ada, "chat", "small")
    await charge(ada.user_id, 100)
    await charge(None, 100)
    assert not await client.client().exists(keys.current().name("allowance", ada.user_id))


async def test_a_charge_that_cannot_be_written_fails_nobody(
    monkeypatch: pytest.MonkeyPatch, settings: Any, own_redis: Any, caplog: Any
) -> None:
    await update({"TOKENS_PER_MINUTE": 600})
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": own_redis.url}}
    await client.aclose()
    own_redis.kill()
    await charge("7", 100)
    assert "tokens_not_charged user_id=7 tokens=100" in caplog.text


# --- concurrency ----------------------------------------------------------------------------------


async def test_a_models_tasks_run_as_many_at_once_as_it_has_places(worker: Any) -> None:
    config = TaskConfig(MODEL_CONCURRENCY={"small": 1})
    narrow = limited(sample_tasks.wait_for_stop, "small", config)
    first, second = [await api.enqueue_task(narrow) for _ in range(2)]
    free = await api.enqueue_task(limited(sample_tasks.wait_for_stop, "big", config))

    async def states() -> list[TaskState]:
        tasks = [await api.get_task(task.id) for task in (first, second, free)]
        return [task.status for task in tasks]

    async def one_waits() -> bool:
        return await states() == [TaskState.RUNNING, TaskState.QUEUED, TaskState.RUNNING]

    await eventually(one_waits)
    await api.stop_task(first.id, by="test")

    async def it_follows() -> bool:
        return (await states())[1] is TaskState.RUNNING

    await eventually(it_follows)


def test_a_long_model_name_has_a_key_too() -> None:
    config = TaskConfig(MODEL_CONCURRENCY={"*": 2})
    names = ["m" * 500, "m" * 499 + "n"]
    keys_of = {limited(sample_tasks.add, name, config).concurrency_key for name in names}
    assert len(keys_of) == 2


async def test_a_model_that_went_meanwhile_does_not_betray_hidden_ones(
    models: FakeProvider, worker: Any
) -> None:
    await rule("model", "secret", "writers")
    ada = await viewer()
    await admit(ada, "chat", "small")
    models.models = ["big", "secret"]  # the provider knows no script of this name: 404
    body = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}
    for definition in (chat_completion, title_generation):
        task = await api.enqueue_task(
            definition, kwargs={"body": body}, ask=api.Ask(user_id=ada.user_id)
        )
        ended = await api.wait_task(task.id, 10)
        assert ended.error is not None
        assert ended.error["type"] == "model_not_found"
        assert "big" in ended.error["message"]
        assert "secret" not in ended.error["message"]
