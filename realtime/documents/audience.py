"""A room's members in this process, and sending to them; who does not keep up is brought up later.

Nothing is ever queued for a member: one that has not read what came before is marked, and once it
has, it is sent what it lacks by its state vector.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Protocol

from realtime.documents import protocol
from realtime.documents.live import LiveText
from realtime.documents.presence import Presence


class Member(Hashable, Protocol):
    """Somebody in the room: a socket, or our own code that writes."""

    @property
    def user_id(self) -> str | None:
        """Whose rights count; None for our own code, which may do everything."""

    def offer(self, frame: bytes) -> bool:
        """Send without waiting; False when the client has not read what came before."""

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call back once it has; at once if nothing is in the way."""

    def close(self, code: int) -> None:
        """Close with a code, without waiting."""


@dataclass(slots=True)
class _Stale:
    """What a member lacks: changes from a state on (None: none), and presences."""

    state: bytes | None = None
    presence: bool = False


class Audience:
    """The members; `wake` is called when one that did not keep up may have."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._members: dict[Member, None] = {}
        self._stale: dict[Member, _Stale] = {}
        self._wake = wake

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members))

    def __contains__(self, member: Member) -> bool:
        return member in self._members

    def __bool__(self) -> bool:
        return bool(self._members)

    @property
    def user_ids(self) -> set[str]:
        return {member.user_id for member in self._members if member.user_id is not None}

    def add(self, member: Member) -> None:
        self._members[member] = None

    def discard(self, member: Member) -> None:
        self._members.pop(member, None)
        self._stale.pop(member, None)

    def send_update(self, update: bytes, before: bytes) -> None:
        """Send a change to everybody; `before` is the state that everybody had."""
        frame = protocol.update(update)
        for member in self:
            stale = self._stale.get(member)
            if stale is None:
                if not member.offer(frame):
                    self._mark(member).state = before
            elif stale.state is None:
                stale.state = before

    def send_presence(self, frame: bytes) -> None:
        for member in self:
            self.show_presence(member, frame)

    def show_presence(self, member: Member, frame: bytes) -> None:
        if member in self._stale or not member.offer(frame):
            self._mark(member).presence = True

    def answer(self, member: Member, state: bytes, live: LiveText) -> None:
        """Send a member what it lacks, by the state vector that it sent."""
        if member in self._stale or not member.offer(protocol.step_2(live.missing(state))):
            self._mark(member).state = state

    def catch_up(self, live: LiveText, presence: Presence) -> None:
        """Send what they lack to those who have read what came before."""
        for member, stale in list(self._stale.items()):
            if stale.state is not None:
                # As the answer that it may still be waiting for.
                if not member.offer(protocol.step_2(live.missing(stale.state))):
                    continue
                stale.state = None
            if stale.presence and not member.offer(protocol.presence(presence.everything)):
                continue
            del self._stale[member]

    def _mark(self, member: Member) -> _Stale:
        if member not in self._stale:
            self._stale[member] = _Stale()
            member.when_free(self._wake)
        return self._stale[member]
