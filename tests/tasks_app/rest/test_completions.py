"""Completions over HTTP in the test's own loop: every answer and every refusal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import Any

import pytest
import redis

from tasks_app import api
from tasks_app.rest import attend, chunks
from tasks_app.rest.errors import ApiError
from tasks_app.store import client, keys
from tasks_app.tasks import OF_KIND, chat_completion
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import point_at, running
from tests.support.eventually import eventually
from tests.support.fake_provider import FakeProvider
from tests.support.redis_server import RedisServer
from tests.tasks_app.rest.conftest import Person

pytestmark = pytest.mark.django_db(transaction=True)

CHAT = "/api/v1/chat/completions"
TITLE = "/api/v1/tasks/title/completions"
HELLO = [{"role": "user", "content": "Hello"}]


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": HELLO, **fields}


def chunks_of(text: str) -> list[Any]:
    """Take a streamed completion apart; the last is "[DONE]" when it ended well."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(chunks: list[Any]) -> str:
    pieces = [c["choices"][0]["delta"] for c in chunks if c != "[DONE]" and c.get("choices")]
    return "".join(piece.get("content") or "" for piece in pieces)


async def nothing_runs() -> bool:
    return await api.unfinished_ids() == []


async def test_a_plain_answer(ada: Person, worker: Any, provider: FakeProvider) -> None:
    response = await ada.http.post(CHAT, json=body("fake-10-tokens", chat_id="chat-1", seed=7))
    assert response.status_code == 200
    answer = response.json()
    task_id = response.headers["x-task-id"]
    assert answer["id"] == f"chatcmpl-{task_id}"
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"].split() == [f"w{n}" for n in range(10)]
    task = await api.get_task(task_id)
    assert (task.item_id, task.user_id, task.result) == ("chat-1", str(ada.user.pk), answer)
    sent = provider.last.body
    assert (sent["seed"], sent["messages"], "chat_id" in sent) == (7, HELLO, False)


async def test_chat_id_is_also_found_in_metadata(
    ada: Person, worker: Any, provider: FakeProvider
) -> None:
    response = await ada.http.post(
        CHAT, json=body("fake-echo", metadata={"chat_id": "chat-2", "x": "y"})
    )
    assert (await api.get_task(response.headers["x-task-id"])).item_id == "chat-2"


async def test_tokens_that_nobody_counted_are_no_usage(
    ada: Person, worker: Any, provider: FakeProvider
) -> None:
    asked = body("fake-echo", stream=True, stream_options={"include_usage": True})
    *_, usage, _ = chunks_of((await ada.http.post(CHAT, json=asked)).text)
    assert (usage["choices"], usage["usage"]) == ([], None)  # {} reads as counts of None


async def test_a_streamed_answer(ada: Person, worker: Any, provider: FakeProvider) -> None:
    asked = body("fake-usage", stream=True, stream_options={"include_usage": True})
    response = await ada.http.post(CHAT, json=asked)
    assert response.headers["content-type"] == "text/event-stream"
    *chunks, usage, done = chunks_of(response.text)
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] > 0
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    task = await api.get_task(response.headers["x-task-id"])
    assert text_of(chunks) == task.result["choices"][0]["message"]["content"]
    assert {chunk["id"] for chunk in chunks} == {f"chatcmpl-{task.id}"}


async def test_a_stream_without_usage_when_nobody_asks(
    ada: Person, worker: Any, provider: FakeProvider
) -> None:
    chunks = chunks_of((await ada.http.post(CHAT, json=body("fake-usage", stream=True))).text)
    assert chunks[-1] == "[DONE]"
    assert all(chunk["choices"] for chunk in chunks[:-1])


async def test_a_streamed_tool_call(ada: Person, worker: Any, provider: FakeProvider) -> None:
    chunks = chunks_of((await ada.http.post(CHAT, json=body("fake-tools", stream=True))).text)
    calls = [
        call for chunk in chunks[:-1] for call in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert calls[0]["function"]["name"]
    assert json.loads("".join(call["function"].get("arguments") or "" for call in calls))
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("again", "reason"),
    [("restart", "restart"), ("snapshot", "output_lost")],
)
async def test_a_stream_that_we_break_off_says_so_and_not_that_the_client_went(
    ada: Person, again: str, reason: str
) -> None:
    task = await api.enqueue_task(chat_completion, kwargs={"body": body("fake-echo")})
    translator = chunks.Translator(task, "fake-echo", with_usage=False)
    list(translator.frames(api.Event(id="1-1", type="token", data={"text": "Hel"})))
    begun_again = api.Event(id="1-2", type=again, data={"attempt": 2, "text": ""})
    with pytest.raises(ApiError) as broken:
        list(translator.frames(begun_again))
    await attend.leave(task.id, attend.reason_of(broken.value))
    stopped = await api.get_task(task.id)
    assert (stopped.stopped_by, stopped.reason) == ("system", reason)


async def test_respond_async_needs_no_worker_and_outlives_the_request(
    ada: Person, provider: FakeProvider, redis_prefix: str, engine: None
) -> None:
    for path, model in ((CHAT, "fake-10-tokens"), (TITLE, "fake-title")):
        response = await ada.http.post(
            path, json=body(model, stream=True), headers={"Prefer": "wait=5, Respond-Async;x"}
        )
        assert response.status_code == 202
        shown = response.json()
        assert (shown["status"], shown["user_id"]) == ("queued", str(ada.user.pk))
        assert response.headers["location"] == f"/api/v1/tasks/{shown['id']}"
        assert response.headers["x-task-id"] == shown["id"]
        assert (await ada.http.get(response.headers["location"])).json() == shown


async def test_respond_async_is_more_patient_with_a_provider_than_a_waiting_client(
    ada: Person, worker: Any, provider: FakeProvider, settings: Any
) -> None:
    settings.PROVIDER_RETRY_SECONDS = 0.0
    for path, model in ((CHAT, "fake-503-times-1"), (TITLE, "fake-503-times-2")):
        payload = body(model)
        accepted = await ada.http.post(path, json=payload, headers={"Prefer": "respond-async"})
        ended = await api.wait_task(accepted.json()["id"], 20)
        assert ended.status is api.TaskState.SUCCEEDED, ended.error
    assert (await ada.http.post(CHAT, json=body("fake-503"))).status_code == 502


@pytest.mark.parametrize("stream", [False, True])
async def test_a_worker_of_another_queue_serves_nobody_else(
    ada: Person, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    async with running(Worker(name="other", queues=["other"], grace=0.2)):
        await eventually(api.workers_alive)
        refused = await ada.http.post(CHAT, json=body("fake-echo", stream=stream))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert (await api.list_tasks()).tasks == []
        # Its queue's worker went at the wrong moment: the call ends all the same.
        monkeypatch.setattr("tasks_app.rest.answering._ask", _ask_for_no_worker)
        monkeypatch.setattr("tasks_app.rest.attend.CHECK_SECONDS", 0.1)
        left = await ada.http.post(CHAT, json=body("fake-echo", stream=stream))
        assert left.status_code == 503
        assert [task.reason for task in (await api.list_tasks()).tasks] == ["no_worker"]
    assert await api.workers_alive() == 0
    assert await client.client().keys(keys.current().name("serving", "*")) == []


def _ask_for_no_worker(*_: Any, **__: Any) -> api.Ask:
    return api.Ask()


async def test_a_title(ada: Person, worker: Any, provider: FakeProvider) -> None:
    response = await ada.http.post(TITLE, json=body("fake-title", chat_id="chat-1"))
    content = json.loads(response.json()["choices"][0]["message"]["content"])
    assert set(content) == {"title"}
    assert "fallback" not in response.json()
    useless = (await ada.http.post(TITLE, json=body("fake-useless"))).json()
    assert useless["fallback"] is True
    assert json.loads(useless["choices"][0]["message"]["content"])["title"]


async def test_an_unknown_kind(ada: Person) -> None:
    response = await ada.http.post("/api/v1/tasks/poem/completions", json=body("x"))
    assert response.status_code == 404
    assert "title" in response.json()["detail"]


async def test_the_models_and_the_built_in_one(ada: Person, worker: Any) -> None:
    listed = (await ada.http.get("/api/v1/models")).json()
    assert listed["object"] == "list"
    (model,) = [entry["id"] for entry in listed["data"]]
    response = await ada.http.post(TITLE, json=body(model))
    assert response.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("path", [CHAT, TITLE])
async def test_an_unknown_model_is_404_and_names_the_known(
    ada: Person, worker: Any, provider: FakeProvider, path: str
) -> None:
    response = await ada.http.post(path, json=body("gpt-99"))
    assert response.status_code == 404
    assert "'gpt-99'" in response.json()["detail"]
    assert "fake-echo" in response.json()["detail"]
    assert (await api.list_tasks()).tasks == []


async def test_what_is_not_json_is_400(ada: Person) -> None:
    for content in (
        b"",
        b"{",
        b"[1,",
        b"model=x",
        b'{"model": NaN}',
        b'{"model": "\xff"}',
        b"\x00\x01",
        b"[" * 100_000,
        b'{"model": "x", "messages": [], "deep": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"seed": ' + b"1" * 5000 + b"}",
    ):
        response = await ada.http.post(CHAT, content=content)
        assert response.status_code == 400, content[:20]
        assert "JSON" in response.json()["detail"]


WRONG: list[tuple[Any, list[Any]]] = [
    ({"messages": HELLO}, ["body", "model"]),
    ({"model": "x"}, ["body", "messages"]),
    ({"model": "", "messages": HELLO}, ["body", "model"]),
    ({"model": 1, "messages": HELLO}, ["body", "model"]),
    ({"model": "x", "messages": []}, ["body", "messages"]),
    ({"model": "x", "messages": "hello"}, ["body", "messages"]),
    ({"model": "x", "messages": ["hello"]}, ["body", "messages", 0]),
    ({"model": "x", "messages": [{"content": "x"}]}, ["body", "messages", 0, "role"]),
    (body("x", stream="yes"), ["body", "stream"]),
    (body("x", stream_options=[]), ["body", "stream_options"]),
    (body("x", chat_id="x" * 201), ["body", "chat_id"]),
    (body("x", chat_id="\ud800"), ["body", "chat_id"]),
    (body("x", chat_id=7), ["body", "chat_id"]),
    (body("x", metadata={"chat_id": "x" * 201}), ["body", "metadata", "chat_id"]),
    (body("\udfff"), ["body", "model"]),
    ([], ["body"]),
    ("text", ["body"]),
    (None, ["body"]),
]


async def test_json_of_the_wrong_shape_is_422_and_names_the_field(ada: Person) -> None:
    for wrong, place in WRONG:
        response = await ada.http.post(CHAT, content=json.dumps(wrong).encode())
        assert response.status_code == 422, wrong
        (problem,) = response.json()["detail"]
        assert problem["loc"] == place
        assert set(problem) == {"loc", "msg", "type"}


async def test_half_a_surrogate_pair_in_a_message_is_no_failure(
    ada: Person, worker: Any, provider: FakeProvider
) -> None:
    said = {"role": "user", "content": "a \ud83d b"}
    asked = {"model": "fake-10-tokens", "messages": [said]}
    response = await ada.http.post(CHAT, content=json.dumps(asked).encode())
    assert response.status_code == 200


@pytest.mark.parametrize("is_announced", [True, False])
async def test_too_large_a_body_is_413(
    ada: Person, provider: FakeProvider, worker: Any, settings: Any, is_announced: bool
) -> None:
    settings.TASK_MAX_PAYLOAD_BYTES = 10_000
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 20_000

    async def piecewise(content: bytes) -> Any:
        yield content

    for size in (11_000, 21_000):
        content = json.dumps(body("fake-echo", user="x" * size)).encode()
        sent: Any = content if is_announced else piecewise(content)
        response = await ada.http.post(CHAT, content=sent)
        assert response.status_code == 413, size
        assert "TASK_MAX_PAYLOAD_BYTES" in response.json()["detail"]
    assert (await api.list_tasks()).tasks == []


@pytest.mark.parametrize("stream", [False, True])
async def test_without_a_worker_the_call_is_503_at_once(
    ada: Person, provider: FakeProvider, stream: bool
) -> None:
    response = await ada.http.post(CHAT, json=body("fake-echo", stream=stream))
    assert response.status_code == 503
    assert "manage.py taskworker" in response.json()["detail"]
    assert response.headers["retry-after"] == "5"
    assert (await api.list_tasks()).tasks == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_task_that_nobody_claims_is_stopped_and_503(
    ada: Person, provider: FakeProvider, redis_url: str, stream: bool
) -> None:
    _leave_a_heartbeat_behind(redis_url)
    response = await ada.http.post(CHAT, json=body("fake-echo", stream=stream))
    assert response.status_code == 503
    (task,) = (await api.list_tasks()).tasks
    assert (task.status, task.stopped_by, task.reason) == ("canceled", "system", "no_worker")
    assert provider.calls == []


def _leave_a_heartbeat_behind(redis_url: str) -> None:
    """Do as a worker that was heard of a moment ago and was killed since."""
    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        seconds, microseconds = client.time()
        now = seconds * 1000 + microseconds // 1000
        client.zadd(keys.current().name("serving", "default"), {"killed": now - 500})


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        ("fake-500", 502, "answered 500"),
        ("fake-401", 502, "answered 401"),
        ("fake-429-after-3600", 502, "3600"),
        ("fake-reset-0", 502, "closed the connection"),
        ("fake-empty", 502, "empty answer"),
        ("fake-html", 502, "HTML"),
        ("fake-error-200", 502, "reported an error"),
        ("fake-filtered", 502, "withheld"),
        ("fake-half-3", 502, "middle"),
    ],
)
async def test_a_providers_failure_is_502_and_not_retried(
    ada: Person, worker: Any, provider: FakeProvider, model: str, status: int, words: str
) -> None:
    streamed = [False] if model == "fake-half-3" else [False, True]
    for stream in streamed:
        response = await ada.http.post(CHAT, json=body(model, stream=stream))
        assert response.status_code == status, response.text
        assert words in response.json()["detail"]
        assert response.headers["x-should-retry"] == "false"
        assert response.headers["content-type"] == "application/json"
        assert (await api.get_task(response.headers["x-task-id"])).status == "failed"
    assert await nothing_runs()


@pytest.mark.parametrize("model", ["fake-half-3", "fake-reset-3", "fake-error-mid-3"])
async def test_a_failure_after_the_first_token_ends_the_stream_with_an_error(
    ada: Person, worker: Any, provider: FakeProvider, model: str
) -> None:
    response = await ada.http.post(CHAT, json=body(model, stream=True))
    assert response.status_code == 200
    *chunks, last = chunks_of(response.text)
    assert text_of(chunks).split() == ["w0", "w1", "w2"]
    assert set(last) == {"error"}
    assert set(last["error"]) == {"message", "type"}
    task = await api.get_task(response.headers["x-task-id"])
    assert (task.status, task.error) == ("failed", last["error"])


async def test_a_provider_that_is_down_or_has_another_key_is_502(
    ada: Person, worker: Any, provider: FakeProvider, settings: Any
) -> None:
    provider.key = "sk-right"
    settings.OPENAI_API_KEY = ["sk-wrong"]
    refused = await ada.http.post(CHAT, json=body("fake-echo"))
    listed = await ada.http.get("/api/v1/models")
    assert refused.status_code == listed.status_code == 502
    assert listed.json() == refused.json()
    assert "sk-wrong" not in refused.text
    settings.OPENAI_API_BASE_URL = ["http://127.0.0.1:9/v1"]
    unreachable = await ada.http.post(CHAT, json=body("fake-echo"))
    assert unreachable.status_code == 502
    assert "cannot be reached" in unreachable.json()["detail"]
    assert unreachable.headers["x-should-retry"] == "false"
    assert (await api.list_tasks()).tasks == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_by_somebody_ends_the_call(
    ada: Person, worker: Any, provider: FakeProvider, stream: bool
) -> None:
    calling = asyncio.create_task(
        ada.http.post(CHAT, json=body("fake-500-tokens-10-ms", chat_id="c", stream=stream))
    )

    async def has_tokens() -> bool:
        return bool(provider.calls) and provider.last.tokens > 3

    await eventually(has_tokens)
    await ada.http.post("/api/tasks/chat/c/stop")
    response = await calling
    if stream:
        assert chunks_of(response.text)[-1] == {
            "error": {"message": "The task was stopped by ada.", "type": "canceled"}
        }
    else:
        assert response.status_code == 409
        assert response.json() == {"detail": "The task was stopped by ada."}
        assert response.headers["x-should-retry"] == "false"


async def test_a_failed_function_is_500_with_its_message_and_no_traceback(
    ada: Person, worker: Any, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OF_KIND, "title", sample_tasks.not_json)
    response = await ada.http.post(TITLE, json=body("fake-echo"))
    assert response.status_code == 500
    assert "Traceback" not in response.text


async def test_what_nobody_foresaw_is_500_without_a_traceback(
    ada: Person, monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: Any
) -> None:
    def explode() -> None:
        raise RuntimeError("secret words")

    settings.DEBUG = True
    monkeypatch.setattr("tasks_app.generation.permission.get_catalog", explode)
    response = await ada.http.get("/api/v1/models")
    assert response.status_code == 500
    assert set(response.json()) == {"detail"}
    assert "secret words" not in response.text
    assert "secret words" in caplog.text


async def test_a_slow_beginning_is_kept_alive_with_comments(
    ada: Person, worker: Any, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks_app.rest.chunks.KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr("tasks_app.rest.attend.CHECK_SECONDS", 0.05)
    calling = asyncio.create_task(ada.http.post(CHAT, json=body("fake-hang", stream=True)))

    async def is_asked() -> bool:
        return bool(provider.calls)

    await eventually(is_asked)
    await asyncio.wait({calling}, timeout=0.3)
    for task_id in await api.unfinished_ids():
        await api.stop_task(task_id, by="system", reason="shutdown")
    response = await calling
    assert response.status_code == 200
    assert response.text.startswith(": waiting\n\n")
    (last,) = chunks_of(response.text)
    assert last["error"]["message"] == "The task was stopped by system (shutdown)."


@pytest.mark.parametrize("stream", [False, True])
async def test_redis_down_is_503(
    ada: Person,
    provider: FakeProvider,
    own_redis: Any,
    settings: Any,
    redis_prefix: str,
    stream: bool,
) -> None:
    point_at(settings, own_redis.url, redis_prefix)
    await api.shutdown()
    own_redis.kill()
    for headers in ({}, {"Prefer": "respond-async"}):
        response = await ada.http.post(CHAT, json=body("fake-echo", stream=stream), headers=headers)
        assert response.status_code == 503
        assert "Redis" in response.json()["detail"]
        assert response.headers["retry-after"] == "2"
    await api.shutdown()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_redis_did_not_answer_leaves_nothing_running(
    ada: Person,
    provider: FakeProvider,
    own_redis: RedisServer,
    settings: Any,
    redis_prefix: str,
    stream: bool,
) -> None:
    """The task was in Redis' ears already: once Redis goes on, it is begun, and must be stopped."""
    point_at(settings, own_redis.url, redis_prefix)
    await api.shutdown()
    async with running(Worker(name="test", grace=0.2)):
        await eventually(api.workers_alive)
        await ada.http.post(CHAT, json=body("fake-echo"))  # the scripts are loaded now
        assert own_redis.process is not None
        own_redis.process.send_signal(signal.SIGSTOP)
        try:
            response = await ada.http.post(CHAT, json=body("fake-hang", stream=stream))
        finally:
            own_redis.process.send_signal(signal.SIGCONT)
        assert response.status_code == 503

        async def is_left() -> bool:
            tasks = (await api.list_tasks()).tasks
            return [task.reason for task in tasks] == ["client_gone", None]

        await eventually(is_left, within=15)
        await eventually(nothing_runs)
        await api.shutdown()


async def test_everything_is_readable_by_its_owner_alone(
    ada: Person, bob: Person, worker: Any, provider: FakeProvider
) -> None:
    response = await ada.http.post(CHAT, json=body("fake-echo", chat_id="c"))
    path = f"/api/v1/tasks/{response.headers['x-task-id']}"
    assert (await ada.http.get(path)).json()["result"] == response.json()
    assert (await bob.http.get(path)).status_code == 404


async def test_a_client_that_goes_while_its_task_is_enqueued_leaves_nothing(
    ada: Person, worker: Any, provider: FakeProvider
) -> None:
    payload = body("fake-hang")
    enqueuing = asyncio.create_task(attend.enqueue(chat_completion, payload, api.Ask()))
    await asyncio.sleep(0)
    enqueuing.cancel()
    await asyncio.wait({enqueuing})
    assert enqueuing.cancelled()

    async def is_left() -> bool:
        return [task.reason for task in (await api.list_tasks()).tasks] == ["client_gone"]

    await eventually(is_left)
    await eventually(nothing_runs)
