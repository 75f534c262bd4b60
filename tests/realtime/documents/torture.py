"""Kills processes under people who write: shared by the test (a few) and the benchmark (a hundred).

Two write, each connected to one web process after the other as they are killed; a witness, who may
only read and is never asked for anything, remembers what it was told.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from pycrdt import get_update
from websockets.exceptions import WebSocketException

from realtime.documents.protocol import EMPTY_UPDATE
from tests.realtime.documents.editor import Editor
from tests.support.eventually import eventually
from tests.support.stack import Stack

MAKE_READER = """
from django.contrib.auth.models import User
from tasks_app.services.tokens import create_token
print(create_token(User.objects.create(username="witness", password="!")))
"""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def socket_url(stack: Stack, web: int, document_id: str) -> str:
    return f"{stack.urls[web].replace('http', 'ws')}/ws/documents/{document_id}"


def rest(stack: Stack, token: str, method: str, path: str, **options: Any) -> httpx.Response:
    """Call the REST API on whichever web process answers."""
    for attempt in range(40):
        url = f"{stack.urls[attempt % len(stack.urls)]}/api/v1{path}"
        try:
            return httpx.request(method, url, headers=bearer(token), timeout=20, **options)
        except httpx.TransportError:
            continue
    raise AssertionError("no web process answers")


@dataclass
class Torture:
    """One document, two who write in it without a pause, and the witness."""

    stack: Stack
    token: str
    document_id: str
    witness_token: str
    seed: int
    written: int = 0
    reconnects: int = 0
    writers: list[Editor] = field(default_factory=lambda: [Editor(), Editor()])
    witness: Editor = field(default_factory=Editor)

    async def run(self, kills: int, tell: Callable[[str], None] = lambda _: None) -> None:
        """Kill so many processes, one after the other, at random moments; then check."""
        chance = random.Random(self.seed)  # noqa: S311 no secret
        tasks = [
            asyncio.create_task(self._stay_online(editor, number, self.token))
            for number, editor in enumerate(self.writers)
        ]
        tasks.append(asyncio.create_task(self._stay_online(self.witness, 1, self.witness_token)))
        tasks += [
            asyncio.create_task(self._write(editor, n)) for n, editor in enumerate(self.writers)
        ]
        try:
            for number in range(kills):
                await asyncio.sleep(chance.uniform(0.1, 2.5))
                victim = chance.choice(["web-1", "web-2", "worker-1"])
                tell(f"kill {number + 1} of {kills}: {victim}, {self.written} characters written")
                await asyncio.to_thread(self._kill_and_start, victim)
            await asyncio.sleep(chance.uniform(0.1, 1.0))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await self._check()

    def _kill_and_start(self, victim: str) -> None:
        self.stack.kill(victim)
        kind, _, number = victim.partition("-")
        if kind == "web":
            self.stack.start_web(int(number))
        else:
            self.stack.start_worker(int(number))

    async def _stay_online(self, editor: Editor, web: int, token: str) -> None:
        try:
            while True:
                url = socket_url(self.stack, web % len(self.stack.urls), self.document_id)
                # Whatever a dying server does to a handshake: the next one is tried.
                with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                    await editor.connect(url, additional_headers=bearer(token))
                    self.reconnects += 1
                    await editor.closed_at_last()
                web += 1
                await editor.disconnect()
                await asyncio.sleep(0.1)
        finally:
            await editor.disconnect()

    async def _write(self, editor: Editor, number: int) -> None:
        while True:
            editor.type(f"{number}:{self.written} ")
            self.written += 1
            await asyncio.sleep(0.01)

    async def _check(self) -> None:
        """Nothing that anybody was told is missing, in the live text and in the database."""
        checker = Editor()
        url = socket_url(self.stack, 0, self.document_id)
        async with checker.online(url, additional_headers=bearer(self.token)):
            missing = get_update(self.witness.doc.get_update(), checker.doc.get_state())
            assert missing[:1] == EMPTY_UPDATE[:1], "the witness was told what is not there"
            # Those who write come back once more: what they were not told was logged, they have.
            one, other = self.writers
            headers = bearer(self.token)
            async with (
                one.online(url, additional_headers=headers),
                other.online(url, additional_headers=headers),
            ):
                await other.has_as_many_words(self.written)
                await one.has(str(other.text))
                await checker.has(str(other.text))
        text = str(checker.text)
        assert sorted(text.split()) == sorted(set(text.split())), "something is there twice"

        async def is_saved() -> bool:
            found = await asyncio.to_thread(
                rest, self.stack, self.token, "GET", f"/documents/{self.document_id}/versions"
            )
            newest = found.json()["versions"][0]["version"]
            path = f"/documents/{self.document_id}/versions/{newest}"
            version = await asyncio.to_thread(rest, self.stack, self.token, "GET", path)
            return bool(version.json()["content"] == text)

        await eventually(is_saved, within=60, every=0.5)


def prepared(stack: Stack, seed: int) -> Torture:
    """Make the users and the document on a running stack."""
    token = stack.token()
    witness = stack.manage("shell", "-c", MAKE_READER).split()[-1]
    made = rest(stack, token, "POST", "/documents", json={"title": "Torture"}).json()
    path = f"/documents/{made['id']}/access/witness"
    assert rest(stack, token, "PUT", path, json={"permission": "read"}).status_code == 200
    return Torture(stack, token, made["id"], witness, seed)
