"""What the pools hold: sessions and models in use, as records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Who a session is: its id, its user, and when it began by its process' clock (ms)."""

    session_id: str
    user_id: str
    name: str
    since: int

    def encode(self) -> str:
        """Return the card as the one text by which the pool knows the session."""
        parts = [self.session_id, self.user_id, self.name, self.since]
        return json.dumps(parts, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Card:
        session_id, user_id, name, since = json.loads(text)
        return cls(session_id=session_id, user_id=user_id, name=name, since=since)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """A session as the admin shows it; `last_seen` by Redis' clock."""

    card: Card
    last_seen: datetime
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """A model in use: how many sessions use it, and when one last said so, by Redis' clock."""

    model_id: str
    sessions: int
    last_ping: datetime
