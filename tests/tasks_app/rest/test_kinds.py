"""The kinds over HTTP: plain, streamed, in the background, refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tasks_app import api
from tasks_app.generation.configuration import update
from tasks_app.generation.kinds import KINDS
from tasks_app.models import AccessRule
from tests.support.fake_provider import FakeProvider
from tests.tasks_app.generation.test_kinds import BODIES, FALLBACKS, GOOD, MESSAGES
from tests.tasks_app.generation.test_selection import rule
from tests.tasks_app.rest.conftest import Person
from tests.tasks_app.rest.test_completions import chunks_of, text_of

pytestmark = pytest.mark.django_db(transaction=True)

PREVIEW = "/api/v1/tasks/config/preview"


def path(kind: str) -> str:
    return f"/api/v1/tasks/{kind}/completions"


def body(kind: str, model: str, /, **fields: Any) -> dict[str, Any]:
    return {"model": model, **BODIES.get(kind, {"messages": MESSAGES}), **fields}


def answer_in(kind: str, content: str) -> Any:
    field = KINDS[kind].field
    return json.loads(content)[field] if field else content


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_plain_streamed_and_in_the_background(
    ada: Person, worker: Any, provider: FakeProvider, kind: str
) -> None:
    said, expected = GOOD[kind]
    model = f"fake-say:{said}"
    provider.models.append(model)
    plain = await ada.http.post(path(kind), json=body(kind, model, chat_id="chat-7"))
    assert plain.status_code == 200
    assert answer_in(kind, plain.json()["choices"][0]["message"]["content"]) == expected
    assert "fallback" not in plain.json()
    task = await api.get_task(plain.headers["x-task-id"])
    assert (task.name, task.item_id) == (KINDS[kind].task, "chat-7")
    assert task.result == plain.json()

    streamed = await ada.http.post(path(kind), json=body(kind, model, stream=True))
    *pieces, done = chunks_of(streamed.text)
    assert done == "[DONE]"
    assert answer_in(kind, text_of(pieces)) == expected
    assert {piece["object"] for piece in pieces} == {"chat.completion.chunk"}
    assert pieces[-1]["choices"][0]["finish_reason"] == "stop"

    accepted = await ada.http.post(
        path(kind), json=body(kind, model), headers={"Prefer": "respond-async"}
    )
    assert accepted.status_code == 202
    ended = await ada.http.get(accepted.headers["location"], params={"wait": 10})
    content = ended.json()["result"]["choices"][0]["message"]["content"]
    assert answer_in(kind, content) == expected


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "moa"])
async def test_a_fallback_is_marked(
    ada: Person, worker: Any, provider: FakeProvider, kind: str
) -> None:
    plain = await ada.http.post(path(kind), json=body(kind, "fake-useless"))
    assert (plain.status_code, plain.json()["fallback"]) == (200, True)
    content = plain.json()["choices"][0]["message"]["content"]
    assert answer_in(kind, content) == FALLBACKS[kind]
    streamed = await ada.http.post(path(kind), json=body(kind, "fake-useless", stream=True))
    assert chunks_of(streamed.text)[-2]["fallback"] is True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["plain", "stream", "async"])
async def test_a_kind_that_is_turned_off_says_so(
    ada: Person, provider: FakeProvider, kind: str, how: str
) -> None:
    names = {"queries": "SEARCH_QUERY", "auto": "AUTOCOMPLETE"}
    await update({f"ENABLE_{names.get(kind, kind.upper())}_GENERATION": False})
    headers = {"Prefer": "respond-async"} if how == "async" else {}
    asked = body(kind, "no-such-model", stream=how == "stream")
    response = await ada.http.post(path(kind), json=asked, headers=headers)
    assert response.status_code == (200 if kind in {"title", "follow_up", "tags"} else 400)
    assert list(response.json()) == ["detail"]
    assert "turned off" in response.json()["detail"]
    assert (await api.list_tasks()).tasks == []


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unknown_model_is_404(ada: Person, provider: FakeProvider, kind: str) -> None:
    response = await ada.http.post(path(kind), json=body(kind, "no-such-model"))
    assert response.status_code == 404
    assert "no-such-model" in response.json()["detail"]


async def test_an_unknown_kind_is_404_and_names_them(ada: Person, provider: FakeProvider) -> None:
    response = await ada.http.post(path("poem"), json=body("title", "fake-title"))
    assert response.status_code == 404
    assert all(kind in response.json()["detail"] for kind in KINDS)


async def test_a_task_model_that_is_gone_gives_way_to_the_chats(
    ada: Person, worker: Any, provider: FakeProvider
) -> None:
    await update({"TASK_MODEL_EXTERNAL": "fake-removed"})
    response = await ada.http.post(path("title"), json=body("title", "fake-title"))
    assert response.json()["model"] == "fake-title"


async def test_a_long_input_is_400(ada: Person, provider: FakeProvider) -> None:
    await update({"AUTOCOMPLETE_GENERATION_INPUT_MAX_LENGTH": 5})
    response = await ada.http.post(path("auto"), json=body("auto", "fake-title"))
    assert response.status_code == 400
    assert "at most 5" in response.json()["detail"]


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        ("title", {"messages": []}, "messages"),
        ("title", {"messages": [{"role": "user", "content": {"a": 1}}]}, "messages"),
        ("title", {"messages": [{"role": "", "content": "x"}]}, "messages"),
        ("title", {"messages": "Hello"}, "messages"),
        ("queries", {"type": "guess"}, "type"),
        ("auto", {"prompt": ["x"]}, "prompt"),
        ("auto", {"prompt": " ", "messages": []}, "prompt"),
        ("moa", {"responses": "one"}, "responses"),
        ("moa", {"responses": []}, "responses"),
        ("title", {"model": ""}, "model"),
        ("title", {"stream": "yes"}, "stream"),
    ],
)
async def test_a_body_of_the_wrong_shape_is_422_and_names_the_field(
    ada: Person, provider: FakeProvider, kind: str, fields: dict[str, Any], field: str
) -> None:
    response = await ada.http.post(path(kind), json={**body(kind, "fake-title"), **fields})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][:2] == ["body", field]


async def test_an_unknown_role_is_passed_on(
    ada: Person, worker: Any, provider: FakeProvider
) -> None:
    messages = [{"role": "oracle", "content": "Tomatoes need water."}]
    response = await ada.http.post(
        path("title"), json=body("title", "fake-title", messages=messages)
    )
    assert response.status_code == 200
    assert "ORACLE: Tomatoes need water." in provider.last.body["messages"][0]["content"]


async def test_a_conversation_beyond_the_limit_is_413(
    ada: Person, provider: FakeProvider, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000
    messages = [{"role": "user", "content": "x" * 20_000}]
    response = await ada.http.post(path("tags"), json=body("tags", "fake-title", messages=messages))
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("no_secrets", 400, "Secrets are not sent to a model."),
        ("refuse_answers", 400, "This answer is kept back."),
        ("broken", 500, "A filter of this installation failed"),
    ],
)
@pytest.mark.parametrize("where", [path("title"), "/api/v1/chat/completions"])
async def test_a_filters_refusal_and_its_failure(
    ada: Person,
    worker: Any,
    provider: FakeProvider,
    settings: Any,
    name: str,
    status: int,
    words: str,
    where: str,
) -> None:
    settings.SIGNALBOX_FILTERS = [f"tests.generation_filters.{name}"]
    asked = {"model": "fake-title", "messages": [{"role": "user", "content": "My secret"}]}
    response = await ada.http.post(where, json=asked)
    assert response.status_code == status
    assert words in response.json()["detail"]
    assert "operator's business" not in response.text


# --- the preview --------------------------------------------------------------------------------


async def test_staff_see_what_a_template_becomes(warden: Person) -> None:
    asked = {
        "template": "{{TYPE}} for {{USER_NAME}}: {{prompt:start:6}} | {{MESSAGES:END:1}} {{nope}}",
        "messages": [{"role": "user", "content": "{{prompt}} and more"}],
    }
    response = await warden.http.post(PREVIEW, json=asked)
    assert response.status_code == 200
    assert response.json() == {
        "text": "web_search for warden: {{prom | USER: {{prompt}} and more {{nope}}",
        "errors": ["There is no variable {{nope}}. docs/generation.md lists them."],
    }


@pytest.mark.parametrize("kind", KINDS)
async def test_a_kinds_template_in_force_is_shown_on_a_sample(warden: Person, kind: str) -> None:
    shown = (await warden.http.post(PREVIEW, json={"kind": kind})).json()
    assert shown["errors"] == []
    assert "{{" not in shown["text"]
    assert "tomatoes" in shown["text"]
    await update({f"{_template_name(kind)}_GENERATION_PROMPT_TEMPLATE": "Mine: {{prompt:start:3}}"})
    shown = (await warden.http.post(PREVIEW, json={"kind": kind, "prompt": "abcdef"})).json()
    assert shown["text"] == "Mine: abc"


def _template_name(kind: str) -> str:
    return {"queries": "QUERY", "auto": "AUTOCOMPLETE"}.get(kind, kind.upper())


async def test_the_preview_is_for_staff(ada: Person, nobody: Any) -> None:
    assert (await ada.http.post(PREVIEW, json={"template": "x"})).status_code == 403
    assert (await nobody.post(PREVIEW, json={"template": "x"})).status_code == 401


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "template"),
        ({"kind": "poem"}, "kind"),
        ({"template": 7}, "template"),
        ({"template": "x" * 20_001}, "template"),
        ({"template": "x", "messages": "Hello"}, "messages"),
        ({"template": "x", "responses": [1]}, "responses"),
    ],
)
async def test_a_preview_of_the_wrong_shape_is_422(
    warden: Person, asked: dict[str, Any], field: str
) -> None:
    response = await warden.http.post(PREVIEW, json=asked)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][:2] == ["body", field]


@pytest.mark.parametrize("address", ["/api/v1/chat/completions", path("title")])
async def test_a_retry_is_a_request_like_any_other(
    ada: Person, chief: Person, worker: Any, provider: FakeProvider, address: str
) -> None:
    failed = await ada.http.post(address, json=body("title", "fake-401"))
    assert failed.status_code == 502
    retry = f"/api/v1/tasks/{failed.headers['x-task-id']}/retry"
    await update({"REQUESTS_PER_MINUTE": 1})
    assert [(await ada.http.post(retry)).status_code for _ in range(2)] == [201, 429]
    await update({"REQUESTS_PER_MINUTE": 0})
    kind = "title" if "title" in address else "chat"
    await rule("kind", kind, "writers")
    assert (await ada.http.post(retry)).status_code == 403
    await sync_to_async(AccessRule.objects.all().delete)()
    await rule("model", "fake-401", "writers")
    hidden = await ada.http.post(retry)
    assert (hidden.status_code, "'fake-401'" in hidden.json()["detail"]) == (404, True)
    assert (await chief.http.post(retry)).status_code == 201
