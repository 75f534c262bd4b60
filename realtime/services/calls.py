"""Asking a browser something and awaiting its answer, from any process to any other."""

from __future__ import annotations

import asyncio
import json
import math
import re
import secrets
from contextlib import suppress
from typing import Any

from realtime.domain import limits, messages
from realtime.domain.calls import GONE, Question, instance_of
from realtime.errors import CallTimeout, SessionBusy, SessionNotFound
from realtime.store import calls
from tasks_app.errors import StoreUnavailable

SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
MAX_KIND = 100
RECHECK_SECONDS = 5.0  # the net under a lost hint


async def call_user(
    session_id: str,
    kind: str,
    data: Any = None,
    timeout: float = 30.0,  # noqa: ASYNC109 the client is told it too
) -> Any:
    """Ask one session, on whichever process, and return its answer: what it sends as JSON.

    The client gets `call` with `kind`, `data` and `timeout` (seconds, at most an hour), and answers
    by `call:reply`. Nobody else can answer, and nothing is accepted after the first answer, after
    `timeout`, or once this is cancelled.

    Raises SessionNotFound, as soon as it is known that nobody is there to answer (any more);
    CallTimeout, a TimeoutError; SessionBusy; StoreUnavailable when Redis does not answer;
    ValueError or TypeError for arguments that cannot be sent.
    """
    seconds = _checked(kind, timeout)
    call_id = secrets.token_urlsafe(16)
    asked = {"call_id": call_id, "kind": kind, "data": data, "timeout": seconds}
    question = Question(session_id, call_id, seconds, frame("call", asked))
    if not SESSION_ID.match(session_id):
        raise SessionNotFound
    deadline = asyncio.get_running_loop().time() + seconds
    async with calls.hearing(call_id) as hints:
        try:
            if not await calls.ask(instance_of(session_id), question):
                raise SessionNotFound
            return await _answer(call_id, hints, deadline)
        finally:
            # Also when cancelled: what is asked by nobody must not be answered. It expires anyway.
            with suppress(StoreUnavailable):
                await calls.close(call_id)


async def _answer(call_id: str, hints: calls.Inbox, deadline: float) -> Any:
    loop = asyncio.get_running_loop()
    while (left := deadline - loop.time()) > 0:
        await hints.get(min(left, RECHECK_SECONDS))
        state = await calls.state(call_id)
        if state is None:
            break
        if state.startswith(calls.ANSWERED):
            return json.loads(state.removeprefix(calls.ANSWERED))
        if state.startswith(calls.DECLINED):
            raise SessionNotFound if state.removeprefix(calls.DECLINED) == GONE else SessionBusy
    raise CallTimeout


def _checked(kind: str, timeout: float) -> float:
    check_kind(kind)
    seconds = float(timeout)
    if not 0 < seconds <= limits.MAX_CALL_SECONDS or math.isnan(seconds):
        raise ValueError(
            f"timeout is a number of seconds, at most {limits.MAX_CALL_SECONDS:g}, not {timeout!r}"
        )
    return seconds


def check_kind(kind: str) -> None:
    """Raise ValueError unless it is a text by which a client can tell what is meant."""
    if not 0 < len(kind) <= MAX_KIND:
        raise ValueError(f"kind is text of 1 to {MAX_KIND} characters, not {kind!r:.120}")


def frame(kind: str, data: dict[str, Any]) -> str:
    """Return a frame as text; raises ValueError or TypeError for what is not JSON, or too large."""
    text = messages.encode(kind, data)
    if limits.exceeds(text, limits.MAX_FRAME_BYTES):
        raise ValueError(f"a frame has at most {limits.MAX_FRAME_BYTES} bytes")
    return text
