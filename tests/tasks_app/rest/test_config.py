"""The task configuration, the caller's preference, permissions and limits over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group

from tasks_app import api
from tasks_app.generation.configuration import TaskConfig, current, update
from tests.support.eventually import eventually
from tests.support.fake_provider import FakeProvider
from tests.tasks_app.generation.test_selection import rule
from tests.tasks_app.rest.conftest import Person

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = "/api/v1/tasks/config"
UPDATE = f"{CONFIG}/update"
ME = "/api/v1/me"
CHAT = "/api/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": HELLO, **fields}


# --- the configuration ----------------------------------------------------------------------------


async def test_anyone_signed_in_reads_it(ada: Person, nobody: Any) -> None:
    response = await ada.http.get(CONFIG)
    assert response.status_code == 200
    assert response.json() == TaskConfig().resource()
    assert (await nobody.get(CONFIG)).status_code == 401


async def test_staff_change_any_subset(chief: Person, ada: Person) -> None:
    changes = {"TASK_MODEL": "small", "ENABLE_TAGS_GENERATION": False}
    response = await chief.http.post(UPDATE, json=changes)
    assert response.status_code == 200
    assert response.json() == TaskConfig().resource() | changes
    assert (await ada.http.get(CONFIG)).json() == response.json()
    assert (await current()).TASK_MODEL == "small"
    assert (await chief.http.post(UPDATE, json={})).json() == response.json()


async def test_what_it_answers_may_be_sent_back(chief: Person) -> None:
    shown = (await chief.http.get(CONFIG)).json()
    response = await chief.http.post(UPDATE, json=shown)
    assert (response.status_code, response.json()) == (200, shown)


async def test_nobody_else_changes_it(ada: Person, warden: Person, nobody: Any) -> None:
    for person in (ada, warden):
        response = await person.http.post(UPDATE, json={"TASK_MODEL": "mine"})
        assert response.status_code == 403
        assert "tasks_app.change_task" in response.json()["detail"]
    assert (await nobody.post(UPDATE, json={"TASK_MODEL": "mine"})).status_code == 401
    assert await current() == TaskConfig()


async def test_every_wrong_field_is_named_and_nothing_changed(chief: Person) -> None:
    wrong = {
        "TASK_MODEL": "kept out",
        "TASK_MODELS": "x",
        "ENABLE_TAGS_GENERATION": "no",
        "TITLE_GENERATION_PROMPT_TEMPLATE": "{{NOTHING}}",
        "model_config": {},
        "model_dump": 1,
    }
    response = await chief.http.post(UPDATE, json=wrong)
    assert response.status_code == 422
    named = {tuple(one["loc"]): one["msg"] for one in response.json()["detail"]}
    assert named.keys() == {("body", name) for name in wrong if name != "TASK_MODEL"}
    assert "no variable {{NOTHING}}" in named["body", "TITLE_GENERATION_PROMPT_TEMPLATE"]
    assert await current() == TaskConfig()


@pytest.mark.parametrize(("content", "status"), [("[]", 422), ("nonsense", 400), ('"x"', 422)])
async def test_what_is_no_object_is_refused(chief: Person, content: str, status: int) -> None:
    response = await chief.http.post(
        UPDATE, content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == status


async def test_models_that_the_caller_may_not_use_are_left_out(ada: Person, chief: Person) -> None:
    await rule("model", "secret")
    changes = {
        "TASK_MODEL": "secret",
        "TASK_MODEL_EXTERNAL": "open",
        "TASK_KIND_OVERRIDES": {"title": {"model": "secret", "reasoning_effort": "low"}},
        "MODEL_CONCURRENCY": {"secret": 1, "*": 5},
    }
    assert (await chief.http.post(UPDATE, json=changes)).status_code == 200
    shown = (await ada.http.get(CONFIG)).json()
    assert "secret" not in str(shown)
    assert shown["TASK_MODEL_EXTERNAL"] == "open"
    assert shown["TASK_KIND_OVERRIDES"] == {"title": {"reasoning_effort": "low"}}
    assert (await chief.http.get(CONFIG)).json()["TASK_MODEL"] == "secret"


# --- the caller's preference ----------------------------------------------------------------------


async def test_a_preference_is_kept_shown_and_taken_back(
    ada: Person, bob: Person, provider: FakeProvider
) -> None:
    response = await ada.http.patch(ME, json={"task_model": "fake-echo"})
    assert (response.status_code, response.json()["task_model"]) == (200, "fake-echo")
    assert (await ada.http.get(ME)).json() == response.json()
    assert (await bob.http.get(ME)).json()["task_model"] is None
    assert (await ada.http.patch(ME, json={})).json()["task_model"] == "fake-echo"
    assert (await ada.http.patch(ME, json={"task_model": None})).json()["task_model"] is None


async def test_only_a_model_that_one_may_use_is_preferred(
    ada: Person, provider: FakeProvider
) -> None:
    provider.models = ["open", "secret"]
    await ada.http.patch(ME, json={"task_model": "open"})
    await rule("model", "secret", "writers")
    for name in ("secret", "absent"):
        response = await ada.http.patch(ME, json={"task_model": name})
        assert response.status_code == 404
        assert response.json()["detail"].endswith("Known models: open.")
    assert (await ada.http.get(ME)).json()["task_model"] == "open"
    await rule("model", "open", "writers")
    assert (await ada.http.get(ME)).json()["task_model"] is None
    await ada.user.groups.aadd(await Group.objects.aget(name="writers"))
    assert (await ada.http.get(ME)).json()["task_model"] == "open"


@pytest.mark.parametrize(
    "wrong", [{"task_model": 7}, {"task_model": ""}, {"is_staff": True}, {"task_model": "m" * 501}]
)
async def test_nothing_else_may_be_changed(ada: Person, wrong: dict[str, Any]) -> None:
    response = await ada.http.patch(ME, json=wrong)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", next(iter(wrong))]


# --- permissions and limits -----------------------------------------------------------------------


async def test_hidden_models_are_neither_listed_nor_served(
    ada: Person, chief: Person, worker: Any, provider: FakeProvider
) -> None:
    provider.models = ["fake-echo", "fake-10-tokens"]
    await rule("model", "fake-10-tokens", "writers")

    async def listed(person: Person) -> list[str]:
        return [model["id"] for model in (await person.http.get("/api/v1/models")).json()["data"]]

    assert await listed(ada) == ["fake-echo"]
    assert await listed(chief) == ["fake-echo", "fake-10-tokens"]
    refused = await ada.http.post(CHAT, json=body("fake-10-tokens"))
    assert refused.status_code == 404
    assert refused.json()["detail"].endswith("Known models: fake-echo.")
    assert (await chief.http.post(CHAT, json=body("fake-10-tokens"))).status_code == 200
    assert (await ada.http.post(CHAT, json=body("fake-echo"))).status_code == 200


async def test_a_forbidden_chat_is_403(ada: Person, provider: FakeProvider) -> None:
    await rule("kind", "chat", "writers")
    for fields in ({}, {"stream": True}):
        response = await ada.http.post(CHAT, json=body("fake-echo", **fields))
        assert response.status_code == 403
        assert set(response.json()) == {"detail"}
    asynchronous = await ada.http.post(
        CHAT, json=body("fake-echo"), headers={"Prefer": "respond-async"}
    )
    assert asynchronous.status_code == 403
    assert await api.unfinished_ids() == []


async def test_who_asks_too_often_is_told_when_to_come_back(
    ada: Person, bob: Person, provider: FakeProvider
) -> None:
    await update({"REQUESTS_PER_MINUTE": 1})
    later = {"Prefer": "respond-async"}
    assert (await ada.http.post(CHAT, json=body("fake-echo"), headers=later)).status_code == 202
    refused = await ada.http.post(CHAT, json=body("fake-echo"), headers=later)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "Try again" in refused.json()["detail"]
    assert (await bob.http.post(CHAT, json=body("fake-echo"), headers=later)).status_code == 202


async def test_a_models_places_limit_who_runs(
    ada: Person, worker: Any, provider: FakeProvider
) -> None:
    slow = "fake-4000-tokens-2-ms"
    await update({"MODEL_CONCURRENCY": {slow: 1}})
    first, second = [
        (await ada.http.post(CHAT, json=body(slow), headers={"Prefer": "respond-async"})).json()[
            "id"
        ]
        for _ in range(2)
    ]

    async def states() -> tuple[str, str]:
        return (await api.get_task(first)).status.value, (await api.get_task(second)).status.value

    async def one_runs() -> bool:
        return await states() == ("running", "queued")

    await eventually(one_runs)
    await ada.http.post(f"/api/v1/tasks/{first}/stop")

    async def the_other_runs() -> bool:
        return await states() == ("canceled", "running")

    await eventually(the_other_runs)
    await ada.http.post(f"/api/v1/tasks/{second}/stop")
