"""A question to one session: its state in Redis while it is open, and how it travels.

The state is a string that expires with the question: `?` and the session that may answer, then
`!` and the answer's JSON, or `-` and why there will be none. So an answer is taken once, in time,
from the asked session only, whichever processes the two sides are on; and an asker whose
subscription had a gap finds it there.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from realtime.domain.calls import Question
from realtime.store import client, keys
from realtime.store.scripts import Call, script
from tasks_app.store.subscriptions import Inbox, subscriptions

__all__ = ["ANSWERED", "DECLINED", "Inbox", "answer", "ask", "close", "decline", "hearing", "state"]

OPEN, ANSWERED, DECLINED = "?", "!", "-"


def hearing(call_id: str) -> AbstractAsyncContextManager[Inbox]:
    """Collect the hints that the call was answered, while the block runs."""
    return subscriptions().inbox(keys.call(call_id))


async def ask(instance: str, question: Question) -> bool:
    """Open a call and send it to the session's process; False when there is no such process.

    Raises StoreUnavailable.
    """
    key = keys.call(question.call_id)
    milliseconds = max(1, int(question.seconds * 1000))
    _, receivers = await client.arun_all(
        [
            Call(bool, ("SET", key, OPEN + question.session_id, "PX", milliseconds)),
            Call(int, ("PUBLISH", keys.instance(instance), question.encode())),
        ]
    )
    return int(receivers) > 0


async def answer(call_id: str, session_id: str, text: str) -> bool:
    """Answer a call with JSON text; False when it is not, or no longer, this session's to answer.

    Raises StoreUnavailable.
    """
    return await _settle(call_id, session_id, ANSWERED + text)


async def decline(call_id: str, session_id: str, reason: str) -> bool:
    """Say that this call will have no answer, and why; raises StoreUnavailable."""
    return await _settle(call_id, session_id, DECLINED + reason)


async def state(call_id: str) -> str | None:
    """Return the call's state; None when its time is over. Raises StoreUnavailable."""
    return await client.arun(Call(_text, ("GET", keys.call(call_id))))


async def close(call_id: str) -> None:
    """Forget a call; raises StoreUnavailable, and then it expires by itself."""
    await client.arun(Call(int, ("DEL", keys.call(call_id))))


async def _settle(call_id: str, session_id: str, new: str) -> bool:
    args = (keys.call(call_id), session_id, new)
    return await client.arun(Call(bool, args, script("call_settle")))


def _text(reply: Any) -> str | None:
    return None if reply is None else str(reply)
