"""A question to one session, and the names of sessions."""

from __future__ import annotations

import secrets
from typing import NamedTuple, Self

INSTANCE_LENGTH = 8
GONE, BUSY = "gone", "busy"  # why a question will not be answered


class Question(NamedTuple):
    """Whom to ask, the call's id, how many seconds it is open, and the frame that asks."""

    session_id: str
    call_id: str
    seconds: float
    frame: str

    def encode(self) -> str:
        """Return what is told to the session's process."""
        return f"{self.session_id} {self.call_id} {self.seconds!r}\n{self.frame}"

    @classmethod
    def decode(cls, text: str) -> Self:
        head, _, frame = text.partition("\n")
        session_id, call_id, seconds = head.split(" ")
        return cls(session_id, call_id, float(seconds), frame)


def new_instance() -> str:
    """Return a name for a process among all that serve sockets."""
    return secrets.token_urlsafe(INSTANCE_LENGTH * 3 // 4)


def new_session_id(instance: str) -> str:
    """Return a name for a session that says which process it is on."""
    return instance + secrets.token_urlsafe(16)


def instance_of(session_id: str) -> str:
    return session_id[:INSTANCE_LENGTH]
