"""Documents on real processes: tasks that write, killed processes, a killed Redis, few saves."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.realtime.documents.editor import Editor
from tests.realtime.documents.torture import bearer, prepared, rest, socket_url
from tests.support.eventually import eventually
from tests.support.stack import Stack

MODEL = "fake-200-tokens-20-ms"
KILLS = 5
SEED = 20261124


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))
    started = Stack(folder, webs=2, workers=1, provider=["--model", MODEL])
    started.environment["TASK_LEASE_SECONDS"] = "3"
    try:
        started.start()
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    return stack.token()


@pytest.fixture
def document_id(stack: Stack, token: str) -> str:
    made = rest(stack, token, "POST", "/documents", json={"content": "Once upon a time "})
    found: str = made.json()["id"]
    return found


def versions(stack: Stack, token: str, document_id: str) -> list[int]:
    found = rest(stack, token, "GET", f"/documents/{document_id}/versions").json()
    return [one["version"] for one in found["versions"]]


async def test_a_task_writes_into_an_open_editor_and_is_stopped(
    stack: Stack, token: str, document_id: str
) -> None:
    editor = Editor()
    async with editor.online(socket_url(stack, 1, document_id), additional_headers=bearer(token)):
        path = f"/documents/{document_id}/continue"
        task = rest(stack, token, "POST", path, json={"model": MODEL})
        assert task.status_code == 202, task.text
        beginning = len(str(editor.text))

        async def is_written_to() -> bool:
            return len(str(editor.text)) > beginning + 40

        await eventually(is_written_to, within=20)
        [state] = editor.others.values()
        assert MODEL in state["user"]["name"]
        assert state["cursor"]["head"]["item"]
        editor.text.insert(0, "I type, too. ")
        stopped = rest(stack, token, "POST", f"/tasks/{task.json()['id']}/stop")
        assert stopped.status_code == 200

        async def has_left() -> bool:
            return not editor.others

        await eventually(has_left, within=20)
        text = str(editor.text)
        assert text.startswith("I type, too. Once upon a time ")
        shown = rest(stack, token, "GET", f"/tasks/{task.json()['id']}?wait=10").json()
        assert shown["status"] == "canceled"

        async def is_saved() -> bool:
            newest = max(versions(stack, token, document_id))
            found = rest(stack, token, "GET", f"/documents/{document_id}/versions/{newest}")
            return bool(found.json()["content"] == text)

        await eventually(is_saved, within=20)


async def test_a_task_that_ends_has_written_everything(
    stack: Stack, token: str, document_id: str
) -> None:
    task = rest(stack, token, "POST", f"/documents/{document_id}/continue", json={"model": MODEL})
    shown = rest(stack, token, "GET", f"/tasks/{task.json()['id']}?wait=30").json()
    assert shown["status"] == "succeeded", shown
    text = rest(stack, token, "GET", f"/documents/{document_id}").json()["content"]
    assert len(text) == len("Once upon a time ") + shown["result"]["characters"]


async def test_many_keystrokes_make_few_saves(stack: Stack, token: str, document_id: str) -> None:
    editor = Editor()
    async with editor.online(socket_url(stack, 0, document_id), additional_headers=bearer(token)):
        for number in range(600):
            editor.type(str(number % 10))
            await asyncio.sleep(0.01)
        text = str(editor.text)

        async def is_saved() -> bool:
            return rest(stack, token, "GET", f"/documents/{document_id}").json()["version"] > 1

        await eventually(is_saved, within=20)
    await asyncio.sleep(0)

    async def is_all_saved() -> bool:
        newest = max(versions(stack, token, document_id))
        found = rest(stack, token, "GET", f"/documents/{document_id}/versions/{newest}").json()
        return bool(found["content"] == text)

    await eventually(is_all_saved, within=20)
    assert len(versions(stack, token, document_id)) < 20


async def test_no_key_stays_when_everybody_has_gone(
    stack: Stack, token: str, document_id: str
) -> None:
    editor = Editor()
    headers = bearer(token)
    async with editor.online(socket_url(stack, 0, document_id), additional_headers=headers):
        await editor.appear({"name": "Somebody"})
        editor.type("written and left")

        async def is_logged() -> bool:
            shown = rest(stack, token, "GET", f"/documents/{document_id}").json()
            return bool(shown["content"] == str(editor.text))

        await eventually(is_logged, within=10)
    with contextlib.closing(redis.Redis.from_url(stack.redis.url)) as client:
        assert client.keys(f"*document*{document_id}*")

        async def has_gone() -> bool:
            names = [name.decode() for name in client.keys("*document*")]
            return not any(document_id in name or name == "stack:documents" for name in names)

        await eventually(has_gone, within=45, every=0.5)


async def test_a_frame_of_fifteen_megabytes_passes(
    stack: Stack, token: str, document_id: str
) -> None:
    writer, other = Editor(), Editor()
    headers = bearer(token)
    async with (
        writer.online(socket_url(stack, 0, document_id), additional_headers=headers),
        other.online(socket_url(stack, 1, document_id), additional_headers=headers),
    ):
        writer.type("0123456789abcde\n" * (15 * 2**16))
        await eventually(lambda: is_as_long(other, writer), within=60)
        writer.type("x" * 2**21)  # and more than the limit is refused, without any harm
        assert await writer.closed() == 4413
        assert "too large" in writer.denied[0]
        other.type("!")
        await eventually(lambda: is_as_long(other, other), within=10)
        assert other.close_code is None


async def is_as_long(editor: Editor, other: Editor) -> bool:
    return len(editor.text) == len(other.text)


async def test_killed_processes_lose_nothing_that_anybody_was_told(stack: Stack) -> None:
    torture = await asyncio.to_thread(prepared, stack, SEED)
    await torture.run(KILLS)
    assert torture.written > 100


async def test_a_killed_redis_loses_no_acknowledged_edit(
    stack: Stack, token: str, document_id: str
) -> None:
    editor, other = Editor(), Editor()
    await editor.connect(socket_url(stack, 0, document_id), additional_headers=bearer(token))
    await editor.synced()
    editor.type("acknowledged")
    async with other.online(socket_url(stack, 1, document_id), additional_headers=bearer(token)):
        await other.has("Once upon a time acknowledged")
    stack.redis.kill()
    editor.type(", and written in the dark")
    await asyncio.to_thread(stack.redis.start)
    if await closed_within(editor, 8):
        await editor.disconnect()
        await editor.connect(socket_url(stack, 0, document_id), additional_headers=bearer(token))
    late = Editor()

    async def come() -> bool:
        await late.disconnect()
        await late.connect(socket_url(stack, 1, document_id), additional_headers=bearer(token))
        await asyncio.sleep(0.5)
        return str(late.text) == "Once upon a time acknowledged, and written in the dark"

    await eventually(come, within=30)
    await late.disconnect()
    await editor.disconnect()


async def closed_within(editor: Editor, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await editor.closed_at_last()
    except TimeoutError:
        return False
    return True
