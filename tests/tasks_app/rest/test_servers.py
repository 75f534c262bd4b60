"""Under real servers: the official OpenAI client, and clients that go away."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from tests.support.eventually import eventually_sync
from tests.tasks_app.rest.servers import ROOT, SERVERS, Site, site

CHAT = "/api/v1/chat/completions"
CONVERSATION = json.loads((ROOT / "tests/data/conversation.json").read_text())


@pytest.fixture(scope="module", params=SERVERS)
def running(
    request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with site(request.param, redis_url, tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def client(running: Site) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{running.url}/api/v1", api_key=running.token, max_retries=2, timeout=20
    ) as made:
        yield made


def test_the_openai_client_lists_models(client: openai.OpenAI) -> None:
    assert "fake-echo" in [model.id for model in client.models.list()]


def test_the_openai_client_holds_a_conversation(client: openai.OpenAI) -> None:
    assert len(CONVERSATION) >= 20
    answer = client.chat.completions.create(
        model="fake-echo", messages=CONVERSATION, temperature=0.5, metadata={"chat_id": "c-1"}
    )
    assert answer.object == "chat.completion"
    said = answer.choices[0].message.content
    assert said is not None
    assert said.split() == CONVERSATION[-1]["content"].split()
    assert answer.choices[0].finish_reason == "stop"


def test_the_openai_client_streams_a_conversation(running: Site, client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="fake-echo",
        messages=CONVERSATION,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"chat_id": "c-2"},
    ) as stream:
        task_id = stream.response.headers["x-task-id"]
        chunks = list(stream)
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said.split() == CONVERSATION[-1]["content"].split()
    assert len(chunks) >= 4  # the role, at least one piece of text, the reason, the usage
    task = running.task(task_id)
    assert (task["status"], task["item_id"]) == ("succeeded", "c-2")
    assert task["result"]["choices"][0]["message"]["content"] == said


def test_the_openai_client_calls_tools(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fake-tools", messages=CONVERSATION)
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments)
    assert answer.choices[0].finish_reason == "tool_calls"


def _body(error: openai.APIStatusError) -> dict[str, Any]:
    assert isinstance(error.body, dict)
    return error.body


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"model": "gpt-99"}, openai.NotFoundError),
        ({"messages": []}, openai.UnprocessableEntityError),
        ({"messages": [{"role": "user", "content": "x" * 200_000}]}, openai.APIStatusError),
        ({"model": "fake-401"}, openai.InternalServerError),
    ],
)
def test_the_openai_client_raises_what_its_users_expect(
    client: openai.OpenAI, asked: dict[str, Any], kind: type[openai.APIStatusError]
) -> None:
    for stream in (False, True):
        call = {"model": "fake-echo", "messages": CONVERSATION, "stream": stream, **asked}
        with pytest.raises(kind) as caught:
            client.chat.completions.create(**call)
        assert set(_body(caught.value)) == {"detail"}
        assert caught.value.status_code in {404, 422, 413, 502}


def test_the_openai_client_with_a_wrong_key(running: Site) -> None:
    with (
        openai.OpenAI(base_url=f"{running.url}/api/v1", api_key="sk-wrong") as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()
    assert "createtoken" in _body(caught.value)["detail"]


def test_the_openai_client_does_not_repeat_what_the_provider_failed(
    running: Site, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="fake-403", messages=CONVERSATION)
    assert "answered 403" in _body(caught.value)["detail"]
    assert running.provider_saw("fake-403").count("started") == 1


def test_the_openai_client_raises_in_the_middle_of_a_broken_stream(client: openai.OpenAI) -> None:
    said: list[str] = []
    stream = client.chat.completions.create(model="fake-half-3", messages=CONVERSATION, stream=True)
    with pytest.raises(openai.APIError, match="middle"):
        said.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(said).split() == ["w0", "w1", "w2"]


def _asked(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": CONVERSATION[:2], **fields}


def _newest(running: Site, item_id: str) -> dict[str, Any]:
    with running.client() as client:
        found = client.get(f"/api/v1/tasks?item_id={item_id}").json()["tasks"]
    return found[0] if found else {}


def _assert_left(running: Site, item_id: str) -> None:
    eventually_sync(lambda: _newest(running, item_id)["status"] == "canceled", within=20)
    task = _newest(running, item_id)
    assert (task["stopped_by"], task["reason"]) == ("system", "client_gone")


def test_a_client_that_leaves_a_stream_stops_its_task(running: Site) -> None:
    model = "fake-4000-tokens-2-ms"
    with running.client() as client:
        with client.stream("POST", CHAT, json=_asked(model, stream=True, chat_id="left-1")) as r:
            for number, _ in enumerate(r.iter_lines()):
                if number > 20:
                    break
        _assert_left(running, "left-1")
    eventually_sync(lambda: "closed" in running.provider_saw(model))


@pytest.mark.parametrize(
    ("model", "stream"),
    [
        ("fake-500-tokens-10-ms", False),
        ("fake-hang", True),
        ("fake-hang", False),
        ("fake-hang-after-3", True),
    ],
)
def test_a_client_that_leaves_while_it_waits_stops_its_task(
    running: Site, model: str, stream: bool
) -> None:
    item = f"left-{model}-{stream}"
    body = json.dumps(_asked(model, stream=stream, chat_id=item)).encode()
    address = urlsplit(running.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(
            f"POST {CHAT} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {running.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        eventually_sync(lambda: _newest(running, item), within=20)
    _assert_left(running, item)


def test_a_reader_of_events_that_leaves_stops_nothing(running: Site) -> None:
    asked = _asked("fake-100-tokens-20-ms", chat_id="read-1")
    with running.client() as client:
        task = client.post(CHAT, json=asked, headers={"Prefer": "respond-async"}).json()
        path = f"/api/v1/tasks/{task['id']}/events"
        seen: list[str] = []
        with client.stream("GET", path) as response:
            for line in response.iter_lines():
                seen.append(line)
                if len(seen) > 30:
                    break
        # The last event that was read whole: its empty line is there.
        ends = [number for number, line in enumerate(seen) if not line]
        seen = seen[: ends[-1]]
        last = next(line[4:] for line in reversed(seen) if line.startswith("id: "))
        rest = client.get(path, headers={"Last-Event-ID": last}).text
        result = client.get(f"/api/v1/tasks/{task['id']}?wait=10").json()
    assert result["status"] == "succeeded"
    tokens = _tokens("\n".join(seen)) + _tokens(rest)
    assert "".join(tokens) == result["result"]["choices"][0]["message"]["content"]


def _tokens(text: str) -> list[str]:
    found = []
    for block in text.split("\n\n"):
        if "event: token" in block:
            line = next(part for part in block.splitlines() if part.startswith("data: "))
            found.append(json.loads(line[6:])["text"])
    return found


def test_the_page_of_the_api_is_served_with_its_files(running: Site) -> None:
    with httpx.Client(base_url=running.url) as client:
        assert client.get("/api/docs").status_code == 200
        assert client.get("/static/ninja/swagger-ui-bundle.js").status_code == 200
        assert client.get("/healthz").json() == {"status": "alive"}


def test_no_task_is_left_over(running: Site) -> None:
    with running.client() as client:
        eventually_sync(lambda: client.get("/api/tasks").json() == {"tasks": []})


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_is_told_to_end_stops_what_its_clients_waited_for(
    redis_url: str, tmp_path: Path, server: str
) -> None:
    model = "fake-4000-tokens-2-ms"
    with site(server, redis_url, tmp_path) as other, other.client() as client:
        asked = _asked(model, stream=True, chat_id="ended")
        with client.stream("POST", CHAT, json=asked) as response:
            next(response.iter_lines())
            other.web.terminate()
            eventually_sync(lambda: "closed" in other.provider_saw(model))


def _kill_the_worker_of(running: Site, task_id: str) -> None:
    """Kill the process that runs the task: its instance is named after the process' id."""
    eventually_sync(lambda: running.task(task_id)["instance"])
    instance = running.task(task_id)["instance"]
    (worker,) = [w for w in running.workers if f"-{w.pid}-" in instance]
    worker.kill()
    worker.wait()


def test_when_a_worker_is_killed_another_one_answers_and_a_stream_says_that_it_broke(
    redis_url: str, tmp_path: Path
) -> None:
    with site("uvicorn", redis_url, tmp_path, workers=3) as other, other.client() as client:
        asked = _asked("fake-500-tokens-10-ms", stream=True)
        with client.stream("POST", CHAT, json=asked) as response:
            lines = response.iter_lines()
            next(lines)
            _kill_the_worker_of(other, response.headers["x-task-id"])
            last = [line for line in lines if line][-1]
        assert set(json.loads(last.removeprefix("data: "))) == {"error"}
        assert other.task(response.headers["x-task-id"])["status"] == "failed"

        with ThreadPoolExecutor(1) as threads:
            asked = _asked("fake-100-tokens-20-ms", chat_id="again")
            calling = threads.submit(client.post, CHAT, json=asked)
            task = eventually_sync(lambda: _newest(other, "again"))
            _kill_the_worker_of(other, task["id"])
            answer = calling.result()
        assert answer.status_code == 200
        assert answer.json()["choices"][0]["message"]["content"].split()[-1] == "w99"
        assert other.task(task["id"])["attempts"] == 2


def test_when_the_last_worker_is_killed_the_calls_end_all_the_same(
    redis_url: str, tmp_path: Path
) -> None:
    with site("daphne", redis_url, tmp_path) as other, other.client() as client:
        with ThreadPoolExecutor(2) as threads:
            calls = [
                threads.submit(client.post, CHAT, json=_asked("fake-hang", chat_id=i, stream=s))
                for i, s in (("plain", False), ("stream", True))
            ]
            for item_id in ("plain", "stream"):
                eventually_sync(lambda item=item_id: _newest(other, item))
            _kill_the_worker_of(other, _newest(other, "stream")["id"])
            answers = [call.result() for call in calls]
        for answer in answers:
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert other.task(answer.headers["x-task-id"])["reason"] == "no_worker"
