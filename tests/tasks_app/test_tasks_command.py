"""`manage.py tasks`: what it prints, what it does, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.services.enqueue import Ask
from tasks_app.store import client, keys, scripts
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.support.eventually import eventually

pytestmark = pytest.mark.django_db(transaction=True)

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"


class Printed(Exception):
    """A failed command's sentence, with what it had printed."""

    def __init__(self, sentence: str, out: str, code: int, err: str = "") -> None:
        super().__init__(sentence)
        self.out = out
        self.err = err
        self.code = code


async def tasks(*words: str) -> str:
    """Run the command in a thread, beside the worker on this loop; return standard output."""
    out, err = io.StringIO(), io.StringIO()

    def run() -> None:
        try:
            call_command("tasks", *words, stdout=out, stderr=err)
        except CommandError as error:
            raise Printed(str(error), out.getvalue(), error.returncode, err.getvalue()) from error

    await sync_to_async(run)()
    return out.getvalue()


async def enqueue(definition: Any, *args: Any, **ask: Any) -> api.Task:
    return await api.enqueue_task(definition, args=args, ask=Ask(**ask))


async def running(definition: Any, *args: Any, **ask: Any) -> api.Task:
    task = await enqueue(definition, *args, **ask)

    async def runs() -> bool:
        output = await api.read_output(task.id)
        return bool(output.text) or (await api.get_task(task.id)).progress is not None

    await eventually(runs)
    return task


async def ended(definition: Any, *args: Any, **ask: Any) -> api.Task:
    return await api.wait_task((await enqueue(definition, *args, **ask)).id, 10)


# --- list and show ------------------------------------------------------------------------------


async def test_list_shows_the_newest_first_with_their_owners_names(engine: None) -> None:
    ada = await User.objects.acreate(username="ada")
    old = await enqueue(sample_tasks.add, 1, 2, item_id="chat-1", user_id=str(ada.pk))
    new = await enqueue(sample_tasks.fail, user_id="gone")
    head, first, second = (await tasks("list")).splitlines()
    assert head.split()[:3] == ["ID", "STATE", "NAME"]
    assert first.split()[:6] == [new.id, "queued", "fail", "default", "-", "gone"]
    assert second.split()[:6] == [old.id, "queued", "add", "default", "chat-1", "ada"]


async def test_an_empty_list_says_so(engine: None) -> None:
    assert await tasks("list") == "No tasks.\n"


@pytest.mark.parametrize(
    "words",
    [
        ("--status", "scheduled"),
        ("--name", "other"),
        ("--queue", "other"),
        ("--item", "other"),
    ],
)
async def test_list_narrows(engine: None, words: tuple[str, ...]) -> None:
    await enqueue(sample_tasks.add, 1, 2, item_id="chat-1")
    assert await tasks("list", *words) == "No tasks.\n"


async def test_list_as_json_has_the_resources_of_the_rest_api(engine: None) -> None:
    made = [await enqueue(sample_tasks.add, n, n) for n in range(3)]
    page = json.loads(await tasks("list", "--json", "--limit", "2"))
    assert [task["id"] for task in page["tasks"]] == [made[2].id, made[1].id]
    assert page["next_cursor"]
    assert page["tasks"][0]["status"] == "queued"
    assert "result" not in page["tasks"][0]


async def test_list_goes_on_until_it_has_enough(engine: None, monkeypatch: Any) -> None:
    monkeypatch.setattr("tasks_app.services.inspect.SCAN_LIMIT", 200)
    wanted = await enqueue(sample_tasks.add, 1, 1, item_id="rare")
    for _ in range(250):
        await enqueue(sample_tasks.add, 1, 1)
    assert wanted.id in await tasks("list", "--item", "rare", "--limit", "1")


async def test_nothing_in_a_list_can_steer_the_terminal(engine: None) -> None:
    await enqueue(sample_tasks.add, 1, 2, item_id="\x1b[2J\x07\nchat")
    shown = await tasks("list")
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 2


async def test_show_tells_arguments_output_and_result(worker: Worker) -> None:
    task = await ended(sample_tasks.talk, ["hello ", "wörld"], item_id="chat-7")
    shown = await tasks("show", task.id)
    for part in ("succeeded", "chat-7", '"hello "', "output:\n  hello wörld", worker.instance):
        assert part in shown


async def test_show_tells_why_a_task_failed_near_the_top(worker: Worker) -> None:
    task = await ended(sample_tasks.fail)
    shown = (await tasks("show", task.id)).splitlines()
    assert shown[2].split(maxsplit=1) == ["error", "the reason (ValueError)"]


async def test_half_a_surrogate_pair_is_printed_as_what_can_be(engine: None) -> None:
    task = await enqueue(sample_tasks.talk, ["an \ud83d argument"])
    (await tasks("show", task.id)).encode()
    shown = await tasks("show", task.id, "--json")
    shown.encode()
    assert json.loads(shown)["arguments"]["args"] == [["an \ud83d argument"]]


async def test_show_as_json(worker: Worker) -> None:
    task = await ended(sample_tasks.talk, ["hi"])
    shown = json.loads(await tasks("show", task.id, "--json"))
    assert shown["result"] == shown["output"] == "hi"
    assert shown["arguments"] == {"args": [["hi"]], "kwargs": {}}


# --- stop ---------------------------------------------------------------------------------------


async def test_stop_stops_what_runs_and_says_so(worker: Worker) -> None:
    task = await running(sample_tasks.wait_for_stop)
    assert await tasks("stop", task.id, "--wait", "5") == f"The task {task.id} is stopped.\n"
    assert task.id in sample_tasks.FINALLY
    after = await api.get_task(task.id)
    assert (after.status, after.stopped_by, after.reason) == (
        TaskState.CANCELED,
        "system",
        "command",
    )


async def test_stop_says_when_nobody_has_confirmed_yet(engine: None) -> None:
    task = await enqueue(sample_tasks.wait_for_stop)
    # Leased by a worker that is busy with something else.
    prefix = keys.current().prefix
    await client.arun(scripts.claim(prefix, instance="deaf", slots=1, lease=15, queues=["default"]))
    assert "has not confirmed" in await tasks("stop", task.id, "--wait", "0")


async def test_stop_of_a_finished_task_fails(worker: Worker) -> None:
    task = await ended(sample_tasks.add, 1, 2)
    with pytest.raises(Printed, match="already finished") as failed:
        await tasks("stop", task.id)
    assert failed.value.code == 1


async def test_stop_item_stops_all_of_its_tasks_and_no_other(worker: Worker) -> None:
    mine = [await running(sample_tasks.wait_for_stop, item_id="chat-1") for _ in range(3)]
    other = await running(sample_tasks.wait_for_stop, item_id="chat-2")
    shown = json.loads(await tasks("stop", "--item", "chat-1", "--wait", "5", "--json"))
    assert {task["id"] for task in shown["tasks"]} == {task.id for task in mine}
    assert {task["status"] for task in shown["tasks"]} == {"canceled"}
    assert await api.unfinished_ids() == [other.id]


async def test_stop_item_without_tasks_has_nothing_to_do(engine: None) -> None:
    assert await tasks("stop", "--item", "chat-9") == "There was nothing to stop.\n"


# --- wait ---------------------------------------------------------------------------------------


async def test_wait_ends_with_the_task(worker: Worker) -> None:
    task = await enqueue(sample_tasks.talk, ["a", "b"], 0.05)
    assert "succeeded" in await tasks("wait", task.id)


async def test_wait_as_json_has_the_result(worker: Worker) -> None:
    task = await enqueue(sample_tasks.add, 2, 3)
    assert json.loads(await tasks("wait", task.id, "--json"))["result"] == 5


async def test_wait_fails_with_the_task_and_names_the_cause(worker: Worker) -> None:
    task = await enqueue(sample_tasks.fail)
    with pytest.raises(Printed, match=r"failed .*: the reason \(ValueError\)"):
        await tasks("wait", task.id)


async def test_wait_names_who_stopped_it(engine: None) -> None:
    task = await enqueue(sample_tasks.add, 1, 2)
    await api.stop_task(task.id, by="ada")
    with pytest.raises(Printed, match=r"was stopped by ada \(user\)"):
        await tasks("wait", task.id)


async def test_wait_gives_up_at_its_deadline(engine: None) -> None:
    task = await enqueue(sample_tasks.add, 1, 2)
    with pytest.raises(Printed, match="has not finished yet: it is queued"):
        await tasks("wait", task.id, "--timeout", "0.05")


# --- tail ---------------------------------------------------------------------------------------


async def test_tail_prints_the_text_alone_on_standard_output(worker: Worker) -> None:
    task = await enqueue(sample_tasks.talk, ["one ", "two\n", "thr", "ee"], 0.02)
    assert await tasks("tail", task.id) == "one two\nthree"


async def test_tail_of_a_finished_task_prints_it_all(worker: Worker) -> None:
    task = await ended(sample_tasks.chatter, 3000)
    assert await tasks("tail", task.id) == "".join(f"{n} " for n in range(3000))


async def test_tail_as_json_has_every_event(worker: Worker) -> None:
    task = await enqueue(sample_tasks.talk, ["hi"])
    events = [json.loads(line) for line in (await tasks("tail", task.id, "--json")).splitlines()]
    assert [event["type"] for event in events] == ["update", "update", "token", "end"]
    assert events[-1]["data"]["status"] == "succeeded"


async def test_tail_fails_with_the_task_after_its_output(worker: Worker) -> None:
    task = await running(sample_tasks.wait_for_stop)
    stopping = asyncio.create_task(api.stop_task(task.id, by="ada"))
    with pytest.raises(Printed, match="was stopped") as failed:
        await tasks("tail", task.id)
    await stopping
    assert failed.value.out == "waiting"


# --- retry --------------------------------------------------------------------------------------


async def test_retry_names_the_new_task(worker: Worker) -> None:
    task = await ended(sample_tasks.fail)
    shown = await tasks("retry", task.id)
    [new] = [one for one in (await api.list_tasks()).tasks if one.retried_from == task.id]
    assert shown == f"The task {task.id} is retried as {new.id}.\n"


async def test_retry_does_what_it_can_and_fails_for_the_rest(worker: Worker) -> None:
    good, done = await ended(sample_tasks.fail), await ended(sample_tasks.add, 1, 2)
    with pytest.raises(Printed, match=r"2 of 3 tasks could not be retried\.") as failed:
        await tasks("retry", done.id, good.id, "nope", good.id)
    assert failed.value.code == 1
    assert failed.value.out.startswith(f"The task {good.id} is retried as ")
    assert f"The task {done.id} is not retried: The task is succeeded" in failed.value.err
    assert "There is no task 'nope'." in failed.value.err


async def test_retry_as_json(worker: Worker) -> None:
    task = await ended(sample_tasks.fail)
    shown = json.loads(await tasks("retry", task.id, "--json"))
    assert [new["retried_from"] for new in shown["tasks"]] == [task.id]
    assert shown["errors"] == {}


async def test_retry_all_failed_leaves_out_what_was_retried_before(worker: Worker) -> None:
    ids = [(await ended(sample_tasks.fail)).id for _ in range(3)]
    await tasks("retry", ids[0])
    await eventually(_nothing_waits)
    # The retry of the first failed as well.
    assert await tasks("retry", "--all-failed", "--limit", "1") == "1 failed task retried.\n"
    await eventually(_nothing_waits)
    shown = json.loads(await tasks("retry", "--all-failed", "--name", "fail", "--json"))
    assert {*ids[1:]} <= {new["retried_from"] for new in shown["tasks"]}
    assert shown["retried_before"] >= 2
    assert await tasks("retry", "--all-failed", "--name", "other") == "0 failed tasks retried.\n"


async def _nothing_waits() -> bool:
    return not await api.unfinished_ids()


# --- purge --------------------------------------------------------------------------------------


async def test_purge_removes_by_id_and_never_what_is_unfinished(engine: None) -> None:
    done, waits = await enqueue(sample_tasks.add, 1, 2), await enqueue(sample_tasks.add, 1, 2)
    await api.stop_task(done.id, by="ada")
    with pytest.raises(Printed, match=r"2 of 3 tasks could not be removed\.") as failed:
        await tasks("purge", waits.id, done.id, "nope")
    assert failed.value.out == "1 task removed.\n"
    assert f"The task {waits.id} has not finished: stop it first." in failed.value.err
    assert [task.id for task in (await api.list_tasks()).tasks] == [waits.id]


async def test_purge_removes_by_state_and_age(worker: Worker) -> None:
    good, bad = await ended(sample_tasks.add, 1, 2), await ended(sample_tasks.fail)
    assert await tasks("purge", "--older-than", "3600") == "0 tasks removed.\n"
    shown = json.loads(await tasks("purge", "--status", "failed", "--status", "lost", "--json"))
    assert shown == {"removed": [bad.id], "not_found": [], "unfinished": []}
    assert [task.id for task in (await api.list_tasks()).tasks] == [good.id]
    assert await tasks("purge", "--older-than", "0") == "1 task removed.\n"


# --- stats --------------------------------------------------------------------------------------


async def test_stats_show_queues_counts_and_workers(worker: Worker) -> None:
    await ended(sample_tasks.fail)
    await running(sample_tasks.wait_for_stop)
    await enqueue(sample_tasks.add.using(queue_name="slow"), 1, 2)

    async def shows() -> str:
        shown = await tasks("stats")
        assert "1 of 100" in shown
        return shown

    shown = (await eventually(shows)).splitlines()
    assert shown[0].split() == ["QUEUE", "WAITING", "OLDEST"]
    assert shown[1].split()[:2] == ["slow", "1"]
    facts = dict(line.split(maxsplit=1) for line in shown if line.startswith(("run", "fai")))
    assert facts == {"running": "1", "failed": "1 kept"}
    assert any(line.startswith("finished") and "over 60 minutes" in line for line in shown)
    assert shown[-1].startswith(worker.instance)


async def test_stats_of_an_empty_engine(engine: None) -> None:
    shown = await tasks("stats")
    assert shown.startswith("No task is waiting in a queue.\n")
    assert shown.endswith("No worker is alive.\n")


async def test_stats_as_json(worker: Worker) -> None:
    await enqueue(sample_tasks.add.using(queue_name="slow"), 1, 2)
    shown = json.loads(await tasks("stats", "--json"))
    assert [(queue["name"], queue["waiting"]) for queue in shown["queues"]] == [("slow", 1)]
    assert set(shown) == {
        "queues", "scheduled", "held", "running", "canceling", "failed", "finished_per_minute",
        "workers",
    }  # fmt: skip
    assert set(shown["finished_per_minute"]) == {"1", "5", "60"}


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["show", "stop", "wait", "tail"])
@pytest.mark.parametrize("task_id", ["nope", "../x", "a" * 65])
async def test_an_unknown_task_is_one_sentence(engine: None, verb: str, task_id: str) -> None:
    with pytest.raises(Printed, match="There is no task") as failed:
        await tasks(verb, task_id)
    assert failed.value.code == 1


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("purge",),
        ("show",),
        ("stop",),
        ("stop", "a", "--item", "b"),
        ("list", "--status", "done"),
        ("list", "--limit", "0"),
        ("list", "--limit", "many"),
        ("wait", "a", "--timeout", "-1"),
        ("stop", "a", "--wait", "nan"),
        ("retry",),
        ("retry", "a", "--all-failed"),
        ("retry", "a", "--name", "add"),
        ("retry", "--all-failed", "--limit", "0"),
        ("purge", "a", "--status", "failed"),
        ("purge", "--status", "running"),
        ("purge", "--older-than", "-1"),
    ],
)
async def test_wrong_usage_ends_with_2(words: tuple[str, ...], redis_prefix: str) -> None:
    done = await process(*words)
    assert done.returncode == 2
    assert (await done.communicate())[1].startswith(b"usage: ")


# --- as real processes --------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def environment(redis_url: str, redis_prefix: str, monkeypatch: Any, tmp_path: Path) -> None:
    """What child processes inherit: this test's Redis and prefix, an empty database."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("REDIS_KEY_PREFIX", redis_prefix)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    monkeypatch.setenv("DEBUG", "1")


async def started(*words: str, **streams: Any) -> asyncio.subprocess.Process:
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE, **streams}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(MANAGE),
        "tasks",
        *words,
        **{"stdin": asyncio.subprocess.DEVNULL, **pipes},
    )


async def process(*words: str) -> asyncio.subprocess.Process:
    child = await started(*words)
    async with asyncio.timeout(30):
        await child.wait()
    return child


async def test_stop_as_a_process(worker: Worker) -> None:
    task = await running(sample_tasks.wait_for_stop, user_id="7")
    done = await process("stop", task.id, "--wait", "5")
    out, err = await done.communicate()
    assert (done.returncode, err) == (0, b"")
    assert out.decode() == f"The task {task.id} is stopped.\n"
    # The owner's name is in a database that this process could not read: the id is shown.
    listed, _ = await (await process("list")).communicate()
    assert listed.decode().splitlines()[1].split()[5] == "7"


async def test_an_unknown_task_as_a_process_is_no_traceback(engine: None) -> None:
    done = await process("tail", "nope")
    out, err = await done.communicate()
    assert (done.returncode, out) == (1, b"")
    assert err.decode() == "CommandError: There is no task 'nope'.\n"


async def test_without_redis_every_verb_says_so(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{tmp_path / 'nobody.sock'}")
    verbs = (
        "list", "show a", "stop a", "wait a", "tail a", "retry a", "retry --all-failed",
        "purge a", "purge --status failed", "stats",
    )  # fmt: skip
    for words in map(str.split, verbs):
        done = await process(*words)
        out, err = await done.communicate()
        assert (done.returncode, out) == (1, b"")
        assert err.decode().startswith("CommandError: Redis does not answer")
        assert len(err.decode().splitlines()) == 1


async def test_ctrl_c_leaves_a_tail_quietly(worker: Worker) -> None:
    task = await running(sample_tasks.wait_for_stop)
    child = await started("tail", task.id)
    assert child.stdout is not None
    assert await child.stdout.read(7) == b"waiting"
    child.send_signal(signal.SIGINT)
    _, err = await child.communicate()
    assert child.returncode == 130
    assert b"Traceback" not in err
    assert (await api.get_task(task.id)).status is TaskState.RUNNING


async def test_a_reader_that_goes_away_ends_a_tail_quietly(worker: Worker) -> None:
    task = await enqueue(sample_tasks.talk, ["word " * 20] * 2000, 0.001)
    child = await started("tail", task.id)
    assert child.stdout is not None
    await child.stdout.read(4)
    child._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined] # no public way
    assert child.stderr is not None
    err = await child.stderr.read()
    assert await child.wait() == 141
    assert b"Traceback" not in err
    assert b"Exception" not in err


async def test_a_reader_that_is_gone_before_a_list_is_quiet_too(engine: None) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    child = await started("list", stdout=writing)
    os.close(writing)
    _, err = await child.communicate()
    assert (child.returncode, err) == (141, b"")


@contextlib.asynccontextmanager
async def terminal() -> AsyncIterator[tuple[int, int]]:
    try:
        ours, theirs = pty.openpty()
    except OSError as error:  # a bare container without /dev/pts
        if os.environ.get("CI"):
            raise
        pytest.skip(f"This machine gives no terminals: {error}")
    try:
        yield ours, theirs
    finally:
        os.close(ours)


async def on_terminal(*words: str) -> tuple[int | None, str]:
    """Run the command with all its streams on one terminal; return the status and the screen."""
    async with terminal() as (ours, theirs):
        child = await started(*words, stdout=theirs, stderr=theirs)
        os.close(theirs)
        screen = await asyncio.to_thread(_all_of, ours)
        async with asyncio.timeout(30):
            return await child.wait(), screen.decode()


def _all_of(terminal: int) -> bytes:
    read = b""
    with contextlib.suppress(OSError):  # what Linux answers when the other end is closed
        while part := os.read(terminal, 4096):
            read += part
    return read


async def test_wait_on_a_terminal_draws_a_bar(worker: Worker) -> None:
    task = await running(sample_tasks.look_for_stop)
    waiting = asyncio.create_task(on_terminal("wait", task.id, "--timeout", "0.5"))
    status, screen = await waiting
    await api.stop_task(task.id, by="ada", wait=5)
    assert status == 1
    assert "[############------------]  50 %  half-way" in screen


@pytest.mark.parametrize(("answer", "removed"), [("n", False), ("", False), ("y", True)])
async def test_purge_on_a_terminal_asks_first(engine: None, answer: str, removed: bool) -> None:
    task = await enqueue(sample_tasks.add, 1, 2)
    await api.stop_task(task.id, by="ada")
    async with terminal() as (ours, theirs):
        child = await started("purge", "--status", "canceled", stdin=theirs)
        os.close(theirs)
        assert child.stderr is not None
        question = await child.stderr.read(len("Remove 1 task for good? [y/N] "))
        assert question == b"Remove 1 task for good? [y/N] "
        os.write(ours, f"{answer}\n".encode())
        await child.wait()
    assert child.returncode == (0 if removed else 1)
    left = [one.id for one in (await api.list_tasks()).tasks]
    assert left == ([] if removed else [task.id])


async def test_purge_does_not_ask_where_it_was_told_not_to(engine: None) -> None:
    task = await enqueue(sample_tasks.add, 1, 2)
    await api.stop_task(task.id, by="ada")
    status, screen = await on_terminal("purge", task.id, "--yes")
    assert (status, screen) == (0, "1 task removed.\r\n")


async def test_output_cannot_steer_the_terminal(worker: Worker) -> None:
    task = await ended(sample_tasks.talk, ["a\x1b]0;renamed\x07b\n"])
    status, screen = await on_terminal("tail", task.id)
    assert status == 0
    assert "\x1b]" not in screen
    assert "a�]0;renamed�b\r\n" in screen


async def test_output_into_a_file_is_as_it_was_written(worker: Worker) -> None:
    task = await ended(sample_tasks.talk, ["a\x1b]0;renamed\x07b"])
    out, _ = await (await process("tail", task.id)).communicate()
    assert out == b"a\x1b]0;renamed\x07b"
