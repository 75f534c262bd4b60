"""The admin: tasks live from Redis, stopping them, who may, and API tokens."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from tasks_app import api
from tasks_app.domain.codec import dumps
from tasks_app.domain.context import current_task_id
from tasks_app.domain.states import TaskState
from tasks_app.models import ApiToken
from tasks_app.services.enqueue import Ask
from tasks_app.services.tokens import create_token
from tasks_app.store import client as store_client
from tasks_app.store import keys, scripts
from tasks_app.store.scripts import Flush
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import point_at
from tests.support.eventually import eventually

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/tasks_app/task/"


def staff(*permissions: str, **more: Any) -> Client:
    user = User.objects.create_user("staff", is_staff=True, **more)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return signed_in(user)


def signed_in(user: User, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user)
    return client


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("boss")


@pytest.fixture
def browser(boss: User) -> Client:
    return signed_in(boss)


def enqueue(definition: Any = sample_tasks.add, *args: Any, **ask: Any) -> str:
    return api.enqueue_sync(definition, args=args, ask=Ask(**ask)).id


def page_of(task_id: str) -> str:
    return f"{LIST}{task_id}/change/"


def html(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def shown_ids(response: Any) -> list[str]:
    assert response.status_code == 200
    return [row.pk for row in response.context["cl"].result_list]


def claim() -> scripts.Claimed:
    """Lease the best waiting task to a worker that does nothing."""
    prefix = keys.current().prefix
    call = scripts.claim(prefix, instance="w", slots=1, lease=15, queues=["default"])
    return store_client.run(call).attempts[0]


def settle(held: scripts.Claimed, outcome: str, fault: str = "", **values: str) -> None:
    call = scripts.settle(
        keys.current().prefix, task_id=held.id, token=held.token, outcome=outcome, fault=fault,
        **values,
    )  # fmt: skip
    assert store_client.run(call)


def say(held: scripts.Claimed, text: str, progress: float | None = None) -> None:
    flush = Flush(number=1, text=text, progress=progress, message="half-way", events=())
    call = scripts.emit(keys.current().prefix, task_id=held.id, token=held.token, flush=flush)
    assert store_client.run(call)


# --- the list -----------------------------------------------------------------------------------


def test_the_list_shows_tasks_newest_first_with_their_owners_names(browser: Client) -> None:
    ada = User.objects.create_user("ada")
    old = enqueue(sample_tasks.add, 1, 2, item_id="chat-<1>", user_id=str(ada.pk))
    new = enqueue(sample_tasks.fail, user_id="nobody known")
    response = browser.get(LIST)
    assert shown_ids(response) == [new, old]
    for part in ("chat-&lt;1&gt;", ">ada<", ">nobody known<", ">queued<", "2 tasks"):
        assert part in html(response)


def test_an_empty_list_is_a_page(browser: Client) -> None:
    assert "0 tasks" in html(browser.get(LIST))


def test_the_list_comes_in_pages(browser: Client) -> None:
    made = [enqueue() for _ in range(120)][::-1]
    assert shown_ids(browser.get(LIST)) == made[:50]
    last = browser.get(LIST, {"p": 3})
    assert shown_ids(last) == made[100:]
    assert "120 tasks" in html(last)
    assert shown_ids(browser.get(LIST, {"all": ""})) == made


def test_a_page_reads_no_more_than_a_page(browser: Client, monkeypatch: Any) -> None:
    for _ in range(120):
        enqueue()
    read: list[int] = []
    run_all = store_client.run_all

    def counted(calls: Any) -> Any:
        read.append(len(calls))
        return run_all(calls)

    monkeypatch.setattr(store_client, "run_all", counted)
    browser.get(LIST, {"p": 2})
    assert sum(read) < 60


def test_the_list_can_be_narrowed_by_state(browser: Client) -> None:
    waiting, ended, runs = (enqueue(priority=p) for p in (0, 9, 8))
    settle(claim(), "succeeded", result="1")
    claim()
    assert shown_ids(browser.get(LIST, {"state": "queued"})) == [waiting]
    assert shown_ids(browser.get(LIST, {"state": "succeeded"})) == [ended]
    assert shown_ids(browser.get(LIST, {"state": "running"})) == [runs]
    assert shown_ids(browser.get(LIST, {"state": "unfinished"})) == [runs, waiting]
    assert shown_ids(browser.get(LIST, {"state": "nonsense"})) == [runs, ended, waiting]


def test_unfinished_tasks_are_found_behind_any_number_of_finished_ones(
    browser: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr("tasks_app.services.browse.SEARCHED", 5)
    old = enqueue(item_id="old")
    for _ in range(10):
        enqueue(priority=1)
        settle(claim(), "succeeded", result="1")
    response = browser.get(LIST, {"state": "unfinished"})
    assert shown_ids(response) == [old]
    assert "were searched" not in html(response)
    response = browser.get(LIST, {"q": "old"})
    assert shown_ids(response) == []
    assert "were searched" in html(response)


@pytest.mark.parametrize("what", ["id", "start of id", "item", "name", "username", "spaces"])
def test_search_finds_by(browser: Client, what: str) -> None:
    ada = User.objects.create_user("ada")
    wanted = enqueue(sample_tasks.fail, item_id="chat 7", user_id=str(ada.pk))
    enqueue(sample_tasks.add)
    text = {
        "id": wanted,
        "start of id": wanted[:8],
        "item": "chat 7",
        "name": "fail",
        "username": "ada",
        "spaces": f"  {wanted} ",
    }[what]
    assert shown_ids(browser.get(LIST, {"q": text})) == [wanted]


def test_search_and_state_narrow_together(browser: Client) -> None:
    ended = enqueue(item_id="chat", priority=1)
    waiting = enqueue(item_id="chat")
    settle(claim(), "succeeded", result="1")
    assert shown_ids(browser.get(LIST, {"q": "chat", "state": "queued"})) == [waiting]
    assert shown_ids(browser.get(LIST, {"q": ended, "state": "queued"})) == []


@pytest.mark.parametrize("query", ["foo=1", "id__in=a,b", "p=999", "p=x", "o=1.2", "all=&o=-9"])
def test_a_strange_address_is_no_error(browser: Client, query: str) -> None:
    enqueue()
    assert browser.get(f"{LIST}?{query}", follow=True).status_code == 200


# --- one task -----------------------------------------------------------------------------------


def test_a_tasks_page_shows_arguments_output_and_timeline(browser: Client) -> None:
    task_id = enqueue(sample_tasks.talk, ["<b>hello</b>"], item_id="chat-7")
    held = claim()
    say(held, "<script>out</script>", progress=0.5)
    shown = html(browser.get(page_of(task_id)))
    for part in (
        "&lt;b&gt;hello&lt;/b&gt;",
        "&lt;script&gt;out&lt;/script&gt;",
        "50 %",
        "half-way",
        "attempt 1 started on w",
        "?q=chat-7",
        "tests.sample_tasks.talk",
    ):
        assert part in shown


def test_half_a_surrogate_pair_in_arguments_or_result_is_shown(browser: Client) -> None:
    task_id = enqueue(sample_tasks.talk, ["an \ud83d argument"], item_id="a \ud83d chat")
    held = claim()
    settle(held, "succeeded", result=dumps({"text": "a \ud83d result"}))
    shown = html(browser.get(page_of(task_id)))
    assert "an ? argument" in shown
    assert "a ? result" in shown
    assert shown_ids(browser.get(LIST)) == [task_id]


def test_a_failed_tasks_page_shows_the_cause(browser: Client) -> None:
    task_id = enqueue(sample_tasks.fail)
    settle(claim(), "failed", error='{"type":"ValueError","message":"too <late>"}')
    assert "too &lt;late&gt; (ValueError)" in html(browser.get(page_of(task_id)))


def test_a_failed_tasks_page_shows_the_traceback(browser: Client) -> None:
    task_id = enqueue(sample_tasks.fail)
    fault = {"attempt": 1, "type": "ValueError", "class": "x", "traceback": "File <somewhere>"}
    error = '{"type":"ValueError","message":"why"}'
    settle(claim(), "failed", json.dumps(fault), error=error)
    assert "File &lt;somewhere&gt;</pre>" in html(browser.get(page_of(task_id)))


def test_long_output_shows_its_end(browser: Client) -> None:
    task_id = enqueue(sample_tasks.talk, [])
    say(claim(), "ä" * 100_000 + "the end")
    shown = html(browser.get(page_of(task_id)))
    assert "the end</pre>" in shown
    assert "of 200007 bytes" in shown
    assert len(shown) < 200_000
    assert "�" not in shown


@pytest.mark.parametrize("task_id", ["nope", "a b", "..", "x" * 65, "_5F"])
@pytest.mark.parametrize("page", ["change", "history"])
def test_an_unknown_task_leads_back_with_a_message(
    browser: Client, task_id: str, page: str
) -> None:
    response = browser.get(reverse(f"admin:tasks_app_task_{page}", args=[task_id]), follow=True)
    assert response.redirect_chain == [("/admin/", 302)]
    assert "Perhaps it was deleted" in html(response)


def test_nothing_can_be_edited_or_added_and_nothing_unfinished_deleted(browser: Client) -> None:
    task_id = enqueue()
    assert browser.post(page_of(task_id), {"id": "other"}).status_code == 403
    assert browser.get(f"{LIST}add/").status_code == 403
    assert browser.post(f"{LIST}{task_id}/delete/", {"post": "yes"}).status_code == 403


# --- stopping -----------------------------------------------------------------------------------


def test_the_button_stops_a_task_and_it_is_logged(browser: Client, boss: User) -> None:
    task_id = enqueue()
    assert f'formaction="{LIST}{task_id}/stop/"' in html(browser.get(page_of(task_id)))
    response = browser.post(f"{LIST}{task_id}/stop/", follow=True)
    assert response.redirect_chain == [(page_of(task_id), 302)]
    assert "1 task was told to stop." in html(response)
    assert "/stop/" not in html(response)
    stopped = api.find_sync(task_id)
    assert stopped is not None
    assert (stopped.status, stopped.stopped_by) == (TaskState.CANCELED, "boss")
    assert LogEntry.objects.get().object_id == task_id
    assert "Stopped." in html(browser.get(f"{LIST}{task_id}/history/"))


async def test_the_button_stops_what_runs(worker: Worker, boss: User) -> None:
    task = await api.enqueue_task(sample_tasks.wait_for_stop)

    async def runs() -> bool:
        return bool((await api.read_output(task.id)).text)

    await eventually(runs)
    browser = await sync_to_async(signed_in)(boss)
    await sync_to_async(browser.post)(f"{LIST}{task.id}/stop/")
    assert (await api.wait_task(task.id, 5)).status is TaskState.CANCELED
    assert task.id in sample_tasks.FINALLY


def test_stopping_needs_a_post_with_its_token(boss: User) -> None:
    task_id = enqueue()
    browser = signed_in(boss, enforce_csrf_checks=True)
    assert browser.get(f"{LIST}{task_id}/stop/").status_code == 405
    assert browser.post(f"{LIST}{task_id}/stop/").status_code == 403
    assert api.find_sync(task_id).status is TaskState.QUEUED  # type: ignore[union-attr]


def test_stopping_a_finished_task_says_so(browser: Client) -> None:
    task_id = enqueue()
    settle(claim(), "succeeded", result="1")
    response = browser.post(f"{LIST}{task_id}/stop/", follow=True)
    assert "1 task had already finished." in html(response)
    assert not LogEntry.objects.exists()


def test_stopping_an_unknown_task_leads_back(browser: Client) -> None:
    response = browser.post(f"{LIST}nope/stop/", follow=True)
    assert "Perhaps it was deleted" in html(response)


def stop_many(browser: Client, *ids: str, address: str = LIST, **more: str) -> Any:
    data = {"action": "stop_selected", "_selected_action": ids, **more}
    return browser.post(address, data, follow=True)


def test_selected_tasks_are_stopped_and_no_others(browser: Client) -> None:
    first, other, last = (enqueue() for _ in range(3))
    response = stop_many(browser, first, last, "nope")
    assert "2 tasks were told to stop." in html(response)
    assert "1 task had already finished." in html(response)
    assert [api.find_sync(i).status.value for i in (first, other, last)] == [  # type: ignore[union-attr]
        "canceled",
        "queued",
        "canceled",
    ]


def test_all_tasks_of_a_search_are_stopped(browser: Client) -> None:
    mine = [enqueue(item_id="chat") for _ in range(60)]
    other = enqueue(item_id="other")
    stop_many(browser, mine[0], address=f"{LIST}?q=chat", select_across="1")
    assert [api.find_sync(i).status.value for i in mine] == ["canceled"] * 60  # type: ignore[union-attr]
    assert api.find_sync(other).status is TaskState.QUEUED  # type: ignore[union-attr]


# --- retrying -----------------------------------------------------------------------------------


def failed(definition: Any = sample_tasks.add, *args: Any, **ask: Any) -> str:
    task_id = enqueue(definition, *args, **{"priority": 100, **ask})
    settle(claim(), "failed", error='{"type":"ValueError","message":"no"}')
    return task_id


def record(task_id: str) -> api.Task:
    found = api.find_sync(task_id)
    assert found is not None
    return found


def retries() -> dict[str, str]:
    """Return the old task's id of each new one, the newest first."""
    shown = api.summaries_sync(api.task_ids_sync(0, 1000))
    return {task.id: task.retried_from for task in shown if task.retried_from}


def act(browser: Client, action: str, *ids: str, address: str = LIST, **more: str) -> Any:
    data = {"action": action, "_selected_action": ids, **more}
    return browser.post(address, data, follow=True)


def test_the_button_retries_a_task_and_leads_to_the_new_one(browser: Client, boss: User) -> None:
    task_id = failed(item_id="chat-7")
    assert f'formaction="{LIST}{task_id}/retry/"' in html(browser.get(page_of(task_id)))
    response = browser.post(f"{LIST}{task_id}/retry/", follow=True)
    [new] = retries()
    assert response.redirect_chain == [(page_of(new), 302)]
    assert "1 task is retried." in html(response)
    assert f'href="{page_of(task_id)}"' in html(response)
    assert (record(new).item_id, record(task_id).status) == ("chat-7", TaskState.FAILED)
    assert LogEntry.objects.get().user == boss
    assert f"Retried as {new}." in html(browser.get(f"{LIST}{task_id}/history/"))


def test_only_what_failed_or_was_canceled_can_be_retried(browser: Client) -> None:
    done = enqueue()
    settle(claim(), "succeeded", result="1")
    waits = enqueue()
    for task_id in (done, waits):
        assert "/retry/" not in html(browser.get(page_of(task_id)))
        response = browser.post(f"{LIST}{task_id}/retry/", follow=True)
        assert "1 task cannot be retried" in html(response)
        assert response.redirect_chain == [(page_of(task_id), 302)]
    assert retries() == {}
    assert not LogEntry.objects.exists()
    browser.post(f"{LIST}{waits}/stop/")
    assert "/retry/" in html(browser.get(page_of(waits)))


def test_selected_tasks_are_retried(browser: Client) -> None:
    first, other, last = failed(), failed(), failed()
    waits = enqueue()
    response = act(browser, "retry_selected", first, last, waits, "nope")
    assert "2 tasks are retried." in html(response)
    assert "2 tasks cannot be retried" in html(response)
    assert sorted(retries().values()) == sorted([first, last])
    assert other not in retries().values()
    assert {entry.object_id for entry in LogEntry.objects.all()} == {first, last}


def test_one_click_retries_all_that_failed(browser: Client) -> None:
    ids = [failed() for _ in range(60)]
    assert "retry-failed" not in html(browser.get(LIST))
    assert f'action="{LIST}retry-failed/"' in html(browser.get(LIST, {"state": "failed"}))
    assert "60 tasks are retried." in html(browser.post(f"{LIST}retry-failed/", follow=True))
    assert sorted(retries().values()) == sorted(ids)
    again = html(browser.post(f"{LIST}retry-failed/", follow=True))
    assert "No task was retried" in again
    assert len(retries()) == 60


def test_failed_tasks_are_found_behind_any_number_of_others(
    browser: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr("tasks_app.services.browse.SEARCHED", 5)
    old = failed(item_id="old")
    for _ in range(10):
        enqueue()
    response = browser.get(LIST, {"state": "failed"})
    assert shown_ids(response) == [old]
    assert "were searched" not in html(response)
    assert shown_ids(browser.get(LIST, {"state": "failed", "q": "old"})) == [old]
    for _ in range(5):
        failed()
    assert "were searched" in html(browser.get(LIST, {"state": "failed"}))


# --- deleting -----------------------------------------------------------------------------------


def test_a_finished_task_is_deleted_once_that_is_confirmed(browser: Client, boss: User) -> None:
    task_id = failed()
    assert f"{LIST}{task_id}/delete/" in html(browser.get(page_of(task_id)))
    assert task_id in html(browser.get(f"{LIST}{task_id}/delete/"))
    assert api.find_sync(task_id) is not None
    response = browser.post(f"{LIST}{task_id}/delete/", {"post": "yes"}, follow=True)
    assert "was deleted successfully" in html(response)
    assert api.find_sync(task_id) is None
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.is_deletion(), entry.user) == (task_id, True, boss)


def test_an_unfinished_task_has_no_way_to_be_deleted(browser: Client) -> None:
    task_id = enqueue()
    assert f"{LIST}{task_id}/delete/" not in html(browser.get(page_of(task_id)))
    assert browser.post(f"{LIST}{task_id}/delete/", {"post": "yes"}).status_code == 403


def test_selected_tasks_are_deleted_except_unfinished_ones(browser: Client) -> None:
    gone, other = failed(), failed()
    waits = enqueue()
    asked = html(act(browser, "delete_selected", gone, waits))
    assert "1 task has not finished and cannot be deleted" in asked
    assert f'value="{gone}"' in asked
    assert f'value="{waits}"' not in asked
    assert api.find_sync(gone) is not None
    done = html(act(browser, "delete_selected", gone, waits, post="yes"))
    assert "Successfully deleted 1 task." in done
    assert [api.find_sync(i) is None for i in (gone, other, waits)] == [True, False, False]
    assert [entry.object_id for entry in LogEntry.objects.all()] == [gone]


def test_nothing_but_unfinished_tasks_is_nothing_to_confirm(browser: Client) -> None:
    waits = enqueue()
    response = act(browser, "delete_selected", waits)
    assert "cannot be deleted" in html(response)
    assert shown_ids(response) == [waits]


def test_more_than_a_form_can_hold_are_deleted_in_parts(browser: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr("tasks_app.admin_acts.MOST_DELETED", 3)
    ids = [failed() for _ in range(5)]
    address = f"{LIST}?state=failed"
    asked = act(browser, "delete_selected", ids[0], address=address, select_across="1")
    assert "manage.py tasks purge" in html(asked)
    chosen = [task_id for task_id in ids if f'value="{task_id}"' in html(asked)]
    assert chosen == ids[2:]


# --- parents and children -----------------------------------------------------------------------


def test_a_tasks_page_lists_its_children_with_their_states(
    browser: Client, monkeypatch: Any
) -> None:
    parent = enqueue(sample_tasks.add)
    claim()
    token = current_task_id.set(parent)
    try:
        ended = failed()
        waiting = [enqueue(item_id="<b>") for _ in range(3)]
    finally:
        current_task_id.reset(token)
    shown = html(browser.get(page_of(parent)))
    for child in (ended, *waiting):
        assert f'href="{page_of(child)}"' in shown
        assert f'href="{page_of(parent)}"' in html(browser.get(page_of(child)))
    assert shown.index(page_of(waiting[0])) < shown.index(page_of(ended))
    assert "<strong>failed</strong>" in shown
    monkeypatch.setattr("tasks_app.services.browse.CHILDREN", 1)
    assert "and 3 more" in html(browser.get(page_of(parent)))
    assert "signalbox-children" not in html(browser.get(page_of(ended)))


# --- who may ------------------------------------------------------------------------------------


def test_staff_without_the_permission_see_no_tasks() -> None:
    task_id = enqueue()
    browser = staff()
    assert browser.get(LIST).status_code == 403
    assert browser.get(page_of(task_id)).status_code in {302, 403}
    assert browser.post(f"{LIST}{task_id}/stop/").status_code == 403


def test_staff_who_may_view_cannot_stop() -> None:
    task_id = enqueue()
    browser = staff("view_task")
    assert shown_ids(browser.get(LIST)) == [task_id]
    assert "formaction" not in html(browser.get(page_of(task_id)))
    assert browser.post(f"{LIST}{task_id}/stop/").status_code == 403
    stop_many(browser, task_id)
    assert api.find_sync(task_id).status is TaskState.QUEUED  # type: ignore[union-attr]


def test_staff_who_may_view_can_neither_retry_nor_delete() -> None:
    task_id = failed()
    browser = staff("view_task")
    shown = html(browser.get(page_of(task_id)))
    assert "/retry/" not in shown
    assert "/delete/" not in shown
    assert "retry-failed" not in html(browser.get(LIST, {"state": "failed"}))
    assert browser.post(f"{LIST}{task_id}/retry/").status_code == 403
    assert browser.post(f"{LIST}retry-failed/").status_code == 403
    assert browser.post(f"{LIST}{task_id}/delete/", {"post": "yes"}).status_code == 403
    act(browser, "retry_selected", task_id)
    act(browser, "delete_selected", task_id, post="yes")
    assert retries() == {}
    assert record(task_id).status is TaskState.FAILED


def test_deleting_has_a_permission_of_its_own() -> None:
    task_id = failed()
    browser = staff("view_task", "delete_task")
    assert "/retry/" not in html(browser.get(page_of(task_id)))
    act(browser, "delete_selected", task_id, post="yes")
    assert api.find_sync(task_id) is None


def test_delete_without_view_is_nothing() -> None:
    task_id = failed()
    browser = staff("delete_task", "change_task")
    assert browser.post(f"{LIST}{task_id}/delete/", {"post": "yes"}).status_code == 403
    assert browser.post(f"{LIST}{task_id}/retry/").status_code == 403
    assert record(task_id).status is TaskState.FAILED


def test_retrying_needs_a_post_with_its_token(boss: User) -> None:
    task_id = failed()
    browser = signed_in(boss, enforce_csrf_checks=True)
    for address in (f"{LIST}{task_id}/retry/", f"{LIST}retry-failed/"):
        assert browser.get(address).status_code == 405
        assert browser.post(address).status_code == 403
    assert retries() == {}


def test_change_without_view_is_nothing() -> None:
    task_id = enqueue()
    browser = staff("change_task")
    assert browser.get(LIST).status_code == 403
    assert browser.post(f"{LIST}{task_id}/stop/").status_code == 403


def test_staff_who_may_view_and_change_stop() -> None:
    task_id = enqueue()
    browser = staff("view_task", "change_task")
    assert "told to stop" in html(browser.post(f"{LIST}{task_id}/stop/", follow=True))


def test_others_are_sent_to_sign_in() -> None:
    client = signed_in(User.objects.create_user("ada"))
    pages = ("a/stop/", "a/retry/", "a/delete/", "retry-failed/")
    for address in (LIST, page_of("a"), *(f"{LIST}{page}" for page in pages)):
        assert client.get(address).headers["Location"].startswith("/admin/login/")


# --- without Redis ------------------------------------------------------------------------------


def test_without_redis_every_page_says_so(browser: Client, settings: Any, tmp_path: Any) -> None:
    task_id = enqueue()
    point_at(settings, f"unix://{tmp_path / 'nobody.sock'}", "test-away")
    answers = [
        browser.get(LIST),
        browser.get(LIST, {"state": "running", "q": "a"}),
        browser.get(page_of(task_id)),
        browser.get(f"{LIST}{task_id}/history/"),
        browser.post(f"{LIST}{task_id}/stop/"),
        browser.post(f"{LIST}{task_id}/retry/"),
        browser.post(f"{LIST}{task_id}/delete/", {"post": "yes"}),
        browser.post(f"{LIST}retry-failed/"),
        stop_many(browser, task_id),
        act(browser, "retry_selected", task_id),
        act(browser, "delete_selected", task_id, post="yes"),
    ]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "Redis does not answer" in answer.content.decode()
    assert browser.get("/admin/").status_code == 200


def test_whoever_walks_all_models_finds_no_tasks() -> None:
    enqueue()
    out = io.StringIO()
    call_command("dumpdata", "tasks_app", stdout=out)
    assert out.getvalue().strip() == "[]"


# --- API tokens ---------------------------------------------------------------------------------


def test_tokens_are_listed_without_their_hash(browser: Client, boss: User) -> None:
    token = create_token(boss, "laptop", 30)
    row = ApiToken.objects.get()
    page = html(browser.get(f"/admin/tasks_app/apitoken/{row.pk}/change/"))
    for shown in (html(browser.get("/admin/tasks_app/apitoken/")), page):
        assert row.prefix in shown
        assert "laptop" in shown
        assert row.hash not in shown
        assert token not in shown


def test_tokens_are_revoked_but_not_made_or_changed(browser: Client, boss: User) -> None:
    create_token(boss)
    address = f"/admin/tasks_app/apitoken/{ApiToken.objects.get().pk}"
    assert browser.get("/admin/tasks_app/apitoken/add/").status_code == 403
    assert browser.post(f"{address}/change/", {"name": "other"}).status_code == 403
    browser.post(f"{address}/delete/", {"post": "yes"})
    assert not ApiToken.objects.exists()
