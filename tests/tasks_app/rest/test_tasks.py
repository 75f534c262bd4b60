"""Tasks over HTTP: what is listed, shown, stopped and followed, and by whom."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from tasks_app import api
from tasks_app.errors import StoreUnavailable
from tasks_app.models import ApiToken
from tasks_app.rest.schemas import TaskResource
from tasks_app.services.tokens import revoke_token
from tasks_app.store import client, keys
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import point_at
from tests.support.eventually import eventually
from tests.support.fake_provider import FakeProvider
from tests.tasks_app.rest.conftest import Person

pytestmark = pytest.mark.django_db(transaction=True)


async def enqueue(
    definition: Any, owner: Person | None = None, item_id: str = "", **kwargs: Any
) -> api.Task:
    user_id = str(owner.user.pk) if owner else ""
    ask = api.Ask(user_id=user_id, item_id=item_id)
    return await api.enqueue_task(definition, kwargs=kwargs, ask=ask)


def events_of(text: str) -> list[tuple[str, str, Any]]:
    """Take a stream of server-sent events apart: (id, event, data)."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":")
        )
        if "data" in fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


async def finished(task: api.Task) -> api.Task:
    return await api.wait_task(task.id, 10)


async def test_a_task_is_shown_with_all_its_fields(ada: Person, worker: Any) -> None:
    task = await finished(await enqueue(sample_tasks.add, ada, "chat-1", a=2, b=3))
    shown = (await ada.http.get(f"/api/v1/tasks/{task.id}")).json()
    assert set(shown) == set(TaskResource.model_fields)
    parsed = TaskResource.model_validate(shown)
    assert (parsed.status, parsed.result, parsed.item_id) == ("succeeded", 5, "chat-1")
    assert shown["created_at"].endswith("Z")
    assert (shown["user_id"], shown["attempts"], shown["error"]) == (str(ada.user.pk), 1, None)


async def test_wait_answers_at_the_end_or_at_the_deadline(ada: Person, worker: Any) -> None:
    slow = await enqueue(sample_tasks.talk, ada, words=["a", "b"], pause=0.1)
    shown = (await ada.http.get(f"/api/v1/tasks/{slow.id}?wait=20")).json()
    assert (shown["status"], shown["result"]) == ("succeeded", "ab")
    endless = await enqueue(sample_tasks.wait_for_stop, ada)
    shown = (await ada.http.get(f"/api/v1/tasks/{endless.id}?wait=0.2")).json()
    assert shown["status"] in {"queued", "running"}


async def test_an_impossible_wait_is_named(ada: Person) -> None:
    for wait in ("-1", "61", "nan", "inf", "soon", ""):
        response = await ada.http.get(f"/api/v1/tasks/{'0' * 32}?wait={wait}")
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["query", "wait"]


async def test_the_list_filters_and_pages(ada: Person) -> None:
    made = [await enqueue(sample_tasks.add, ada, f"chat-{n % 2}", a=n, b=n) for n in range(5)]
    await enqueue(sample_tasks.fail, ada)
    seen: list[str] = []
    cursor = ""
    while True:
        path = f"/api/v1/tasks?name=add&limit=2{cursor and f'&cursor={cursor}'}"
        page = (await ada.http.get(path)).json()
        assert set(page) == {"tasks", "next_cursor"}
        seen += [task["id"] for task in page["tasks"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert seen == [task.id for task in reversed(made)]
    of_item = (await ada.http.get("/api/v1/tasks?item_id=chat-1&status=queued")).json()["tasks"]
    assert [task["id"] for task in of_item] == [made[3].id, made[1].id]
    assert (await ada.http.get("/api/v1/tasks?status=failed")).json()["tasks"] == []


async def test_the_list_shows_the_same_resource_as_the_task(ada: Person, worker: Worker) -> None:
    done = await enqueue(sample_tasks.add, ada, a=2, b=3)
    failed = await enqueue(sample_tasks.fail, ada)
    for task in (done, failed):
        await api.wait_task(task.id, 10)
    listed = (await ada.http.get("/api/v1/tasks")).json()["tasks"]
    shown = [(await ada.http.get(f"/api/v1/tasks/{task.id}")).json() for task in (failed, done)]
    assert listed == shown
    assert listed[1]["result"] == 5


async def test_the_list_names_the_field_it_cannot_use(ada: Person) -> None:
    for query, field in (
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("status=done", "status"),
        ("cursor=abc", "cursor"),
        ("cursor=-1", "cursor"),
        (f"item_id={'x' * 201}", "item_id"),
    ):
        response = await ada.http.get(f"/api/v1/tasks?{query}")
        assert response.status_code == 422, query
        assert field in response.json()["detail"][0]["loc"]


async def test_what_a_user_may_not_see_is_not_there(ada: Person, bob: Person) -> None:
    task = await enqueue(sample_tasks.wait_for_stop, ada, "chat-1")
    orphan = await enqueue(sample_tasks.wait_for_stop, None, "chat-1")
    for hidden in (task.id, orphan.id, "0" * 32, "x" * 65, "a b", "%00", "%F0%9F"):
        for method, path in (
            ("GET", f"/api/v1/tasks/{hidden}"),
            ("GET", f"/api/v1/tasks/{hidden}?wait=1"),
            ("POST", f"/api/v1/tasks/{hidden}/stop"),
            ("POST", f"/api/v1/tasks/{hidden}/retry"),
            ("GET", f"/api/v1/tasks/{hidden}/events"),
            ("POST", f"/api/tasks/stop/{hidden}"),
        ):
            response = await bob.http.request(method, path)
            assert response.status_code == 404, path
            assert set(response.json()) == {"detail"}
    assert (await bob.http.get("/api/v1/tasks")).json()["tasks"] == []
    assert (await bob.http.get("/api/v1/tasks?item_id=chat-1")).json()["tasks"] == []
    assert (await bob.http.get("/api/tasks")).json() == {"tasks": []}
    assert (await bob.http.get("/api/tasks/chat/chat-1")).json() == {"task_ids": []}
    nothing = (await bob.http.post("/api/tasks/chat/chat-1/stop")).json()
    assert nothing == {"status": True, "message": "There was nothing that you may stop."}
    assert not (await api.get_task(task.id)).is_finished


async def test_staff_see_all_and_act_with_the_permission(
    ada: Person, warden: Person, chief: Person
) -> None:
    task = await enqueue(sample_tasks.wait_for_stop, ada, "chat-1")
    orphan = await enqueue(sample_tasks.wait_for_stop, None, "chat-2")
    for staff in (warden, chief):
        listed = (await staff.http.get("/api/v1/tasks")).json()["tasks"]
        assert [shown["id"] for shown in listed] == [orphan.id, task.id]
        assert set((await staff.http.get("/api/tasks")).json()["tasks"]) == {task.id, orphan.id}
        assert (await staff.http.get(f"/api/v1/tasks/{orphan.id}")).status_code == 200
    refused = await warden.http.post(f"/api/v1/tasks/{task.id}/stop")
    assert refused.status_code == 403
    assert (await warden.http.post(f"/api/tasks/stop/{task.id}")).status_code == 403
    by_item = (await warden.http.post("/api/tasks/chat/chat-1/stop")).json()
    assert by_item["message"] == "There was nothing that you may stop."
    assert not (await api.get_task(task.id)).is_finished
    stopped = (await chief.http.post(f"/api/v1/tasks/{task.id}/stop")).json()
    assert (stopped["status"], stopped["stopped_by"], stopped["reason"]) == (
        "canceled",
        "chief",
        "user",
    )


async def test_stop_is_acknowledged_and_a_second_one_conflicts(ada: Person, worker: Any) -> None:
    task = await enqueue(sample_tasks.wait_for_stop, ada)
    await eventually(lambda: _is_running(task.id))
    stopped = await ada.http.post(f"/api/v1/tasks/{task.id}/stop")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "canceled")
    assert task.id in sample_tasks.FINALLY
    again = await ada.http.post(f"/api/v1/tasks/{task.id}/stop")
    assert again.status_code == 409
    assert "finished" in again.json()["detail"]


async def _is_running(task_id: str) -> bool:
    return (await api.get_task(task_id)).status is api.TaskState.RUNNING


async def test_a_failed_task_is_retried_as_a_new_one(ada: Person, worker: Worker) -> None:
    task = await finished(await enqueue(sample_tasks.fail, ada, "chat-1"))
    response = await ada.http.post(f"/api/v1/tasks/{task.id}/retry")
    assert response.status_code == 201
    shown = response.json()
    assert set(shown) == set(TaskResource.model_fields)
    assert (shown["retried_from"], shown["item_id"], shown["name"]) == (task.id, "chat-1", "fail")
    assert shown["id"] != task.id
    assert shown["user_id"] == str(ada.user.pk)
    assert response.headers["location"] == f"/api/v1/tasks/{shown['id']}"
    assert (await ada.http.get(response.headers["location"])).json()["retried_from"] == task.id
    assert (await ada.http.get(f"/api/v1/tasks/{task.id}")).json()["status"] == "failed"
    assert (await finished(await api.get_task(shown["id"]))).status is api.TaskState.FAILED


async def test_a_canceled_task_is_retried(ada: Person) -> None:
    task = await enqueue(sample_tasks.add, ada, a=1, b=2)
    await ada.http.post(f"/api/v1/tasks/{task.id}/stop")
    response = await ada.http.post(f"/api/v1/tasks/{task.id}/retry")
    assert (response.status_code, response.json()["status"]) == (201, "queued")


async def test_what_did_not_fail_is_not_retried(ada: Person, worker: Worker) -> None:
    done = await finished(await enqueue(sample_tasks.add, ada, a=1, b=2))
    runs = await enqueue(sample_tasks.wait_for_stop, ada)
    coroutine = await finished(await enqueue(sample_tasks.fail, ada))
    await client.client().hdel(keys.current().task(coroutine.id), "path")
    for task, why in ((done, "succeeded"), (runs, "only failed or canceled"), (coroutine, "corou")):
        response = await ada.http.post(f"/api/v1/tasks/{task.id}/retry")
        assert response.status_code == 409
        assert why in response.json()["detail"]
    assert len(await api.unfinished_ids()) == 1


async def test_others_tasks_are_retried_by_staff_who_may_act_on_them(
    ada: Person, bob: Person, warden: Person, chief: Person
) -> None:
    task = await enqueue(sample_tasks.add, ada, a=1, b=2)
    await api.stop_task(task.id, by="system")
    path = f"/api/v1/tasks/{task.id}/retry"
    assert (await bob.http.post(path)).status_code == 404
    assert (await warden.http.post(path)).status_code == 403
    response = await chief.http.post(path)
    assert (response.status_code, response.json()["user_id"]) == (201, str(ada.user.pk))


async def test_an_item_whose_id_ends_in_stop_is_listed_and_stopped(ada: Person) -> None:
    task = await enqueue(sample_tasks.wait_for_stop, ada, "a/stop")
    other = await enqueue(sample_tasks.wait_for_stop, ada, "a")
    path = f"/api/tasks/chat/{quote('a/stop', safe='')}"
    assert (await ada.http.get(path)).json() == {"task_ids": [task.id]}
    assert (await ada.http.post(f"{path}/stop")).json()["message"] == "Asked 1 task to stop."
    assert (await ada.http.get(path)).json() == {"task_ids": []}
    assert not (await api.get_task(other.id)).is_finished


async def test_the_reference_systems_paths(ada: Person, worker: Any) -> None:
    item = "a chat/with ümlaut?"
    path = f"/api/tasks/chat/{quote(item, safe='')}"
    first, second = [await enqueue(sample_tasks.wait_for_stop, ada, item) for _ in range(2)]
    assert set((await ada.http.get("/api/tasks")).json()["tasks"]) == {first.id, second.id}
    assert set((await ada.http.get(path)).json()["task_ids"]) == {first.id, second.id}
    stopped = (await ada.http.post(f"/api/tasks/stop/{first.id}")).json()
    assert stopped == {"status": True, "message": f"Task {first.id} was asked to stop."}
    await finished(first)
    again = (await ada.http.post(f"/api/tasks/stop/{first.id}")).json()
    assert again["status"] is False
    assert (await ada.http.post(f"{path}/stop")).json() == {
        "status": True,
        "message": "Asked 1 task to stop.",
    }
    await finished(second)
    assert (await ada.http.get(path)).json() == {"task_ids": []}


async def test_events_from_the_beginning_and_after_each_event(ada: Person, worker: Any) -> None:
    task = await enqueue(sample_tasks.talk, ada, words=["a", "ü", "\n"], pause=0.1)
    response = await ada.http.get(f"/api/v1/tasks/{task.id}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.startswith("retry: ")
    events = events_of(response.text)
    assert events[-1][1] == "end"
    assert events[-1][2]["result"] == "aü\n"
    assert "".join(data["text"] for _, kind, data in events if kind == "token") == "aü\n"
    for position, (event_id, kind, _) in enumerate(events):
        path = f"/api/v1/tasks/{task.id}/events"
        header = await ada.http.get(path, headers={"Last-Event-ID": event_id})
        query = await ada.http.get(f"{path}?last_event_id={event_id}")
        if kind == "end":
            assert (header.status_code, query.status_code) == (204, 204)
            continue
        assert events_of(header.text) == events_of(query.text) == events[position + 1 :]


async def test_an_unknown_event_id_gets_a_snapshot(ada: Person, worker: Any) -> None:
    task = await finished(await enqueue(sample_tasks.talk, ada, words=["a", "b"]))
    for unknown in ("1-1", "nonsense", "0" * 64, "0" * 65, "99999999999999999999-0"):
        response = await ada.http.get(
            f"/api/v1/tasks/{task.id}/events", headers={"Last-Event-ID": unknown}
        )
        assert response.status_code == 200, unknown
        (_, first, data), (_, last, _) = events_of(response.text)
        assert (first, data["text"], last) == ("snapshot", "ab", "end"), unknown


async def test_a_stream_that_redis_breaks_off_says_nothing_of_redis(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks_app.services.follow.RECHECK_SECONDS", 0.05)
    task = await enqueue(sample_tasks.wait_for_stop, ada)
    reading = asyncio.create_task(ada.http.get(f"/api/v1/tasks/{task.id}/events"))
    await eventually(lambda: _is_followed(task.id))
    redis = client.client()
    await redis.execute_command("ACL", "SETUSER", "default", "-evalsha")
    try:
        text = (await reading).text
    finally:
        await redis.execute_command("ACL", "SETUSER", "default", "+evalsha")
    assert text.endswith(f": {StoreUnavailable()}\n\n")
    assert "NOPERM" not in text


async def test_a_stream_ends_when_its_reader_loses_the_right(
    ada: Person, worker: Any, provider: FakeProvider
) -> None:
    chat = {"model": "fake-4000-tokens-2-ms", "messages": [{"role": "user", "content": "Hi"}]}
    chatting = asyncio.create_task(
        ada.http.post("/api/v1/chat/completions", json={**chat, "stream": True})
    )
    (task_id,) = await eventually(api.unfinished_ids)
    reading = asyncio.create_task(ada.http.get(f"/api/v1/tasks/{task_id}/events"))
    await eventually(lambda: _is_followed(task_id, 2))
    await sync_to_async(revoke_token)(ada.token)
    assert (await reading).text.endswith(": You may no longer see this task.\n\n")
    last = (await chatting).text.strip().rpartition("data: ")[2]
    assert json.loads(last)["error"]["type"] == "revoked"
    assert (await api.wait_task(task_id, 5)).reason == "revoked"


async def test_an_events_stream_looks_at_the_right_by_itself(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks_app.rest.tasks.HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr("tasks_app.rest.right.RECHECK_SECONDS", 0.1)
    task = await enqueue(sample_tasks.wait_for_stop, ada)
    reading = asyncio.create_task(ada.http.get(f"/api/v1/tasks/{task.id}/events"))
    await eventually(lambda: _is_followed(task.id))
    await ApiToken.objects.all().aupdate(expires_at=timezone.now())  # which sends no signal
    assert (await reading).text.endswith(": You may no longer see this task.\n\n")


async def test_an_events_stream_starts_before_its_task_does(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks_app.rest.tasks.HEARTBEAT_SECONDS", 0.05)
    task = await enqueue(sample_tasks.wait_for_stop, ada)
    reading = asyncio.create_task(ada.http.get(f"/api/v1/tasks/{task.id}/events"))
    await eventually(lambda: _is_followed(task.id))
    await asyncio.wait({reading}, timeout=0.3)
    await api.stop_task(task.id, by="system", reason="parent")
    text = (await reading).text
    assert ": alive\n\n" in text
    assert events_of(text)[-1][2] == {
        "status": "canceled",
        "result": None,
        "error": None,
        "stopped_by": "system",
        "reason": "parent",
    }


async def _is_followed(task_id: str, by: int = 1) -> bool:
    followers = api.subscriptions()._listeners
    return sum(len(found) for channel, found in followers.items() if task_id in channel) >= by


async def test_without_redis_every_call_answers_503(
    ada: Person, own_redis: Any, settings: Any, redis_prefix: str
) -> None:
    point_at(settings, own_redis.url, redis_prefix)
    await api.shutdown()
    task = await enqueue(sample_tasks.wait_for_stop, ada)
    own_redis.kill()
    for method, path in (
        ("GET", "/api/v1/tasks"),
        ("GET", f"/api/v1/tasks/{task.id}?wait=5"),
        ("POST", f"/api/v1/tasks/{task.id}/stop"),
        ("POST", f"/api/v1/tasks/{task.id}/retry"),
        ("GET", f"/api/v1/tasks/{task.id}/events"),
        ("GET", "/api/tasks"),
        ("POST", f"/api/tasks/stop/{task.id}"),
        ("GET", "/api/tasks/chat/x"),
        ("POST", "/api/tasks/chat/x/stop"),
    ):
        response = await ada.http.request(method, path)
        assert response.status_code == 503, path
        assert "Redis" in response.json()["detail"]
        assert int(response.headers["retry-after"]) >= 1
    ready = await ada.http.get("/readyz")
    assert ready.status_code == 503
    assert "redis, worker" in ready.json()["detail"]
    assert (await ada.http.get("/healthz")).json() == {"status": "alive"}


async def test_ready_needs_a_worker(nobody: httpx.AsyncClient, worker: Any) -> None:
    async def is_ready() -> bool:
        return (await nobody.get("/readyz")).status_code == 200

    await eventually(is_ready)


async def test_not_ready_without_a_worker(nobody: httpx.AsyncClient) -> None:
    response = await nobody.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"detail": "Not ready. Missing: worker."}
    assert response.headers["retry-after"] == "5"
