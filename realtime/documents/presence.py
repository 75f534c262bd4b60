"""Who is in a document: Yjs' awareness, kept by the server, one rule for every change.

A client's presence belongs to the connection that announced it: nobody else can change it or end
it. A later clock wins. The same user may take it over on a new connection, as a client does that
reconnects before its old connection is known to be dead.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from realtime.documents.protocol import Entry

MAX_PER_OWNER = 16  # clients that one connection may speak for
OUTDATED_SECONDS = 30.0  # as long as Yjs waits for a sign of life
MAX_REMEMBERED = 10_000  # ended presences, whose clocks are kept for a while


@dataclass(frozen=True, slots=True)
class Owner:
    """Who announced a presence: a connection of this process, or another process for one."""

    user_id: str
    connection: Hashable


@dataclass(slots=True)
class _Known:
    entry: Entry
    owner: Owner
    at: float


class Presence:
    """The presences of one document; `now` is monotonic seconds everywhere."""

    def __init__(self) -> None:
        self._here: dict[int, _Known] = {}
        self._ended: dict[int, tuple[int, float]] = {}  # client: its last clock, and when

    @property
    def entries(self) -> list[Entry]:
        return [known.entry for known in self._here.values()]

    @property
    def everything(self) -> list[Entry]:
        """The presences, and the ends of those that ended lately."""
        ends = [Entry(client, clock, "null") for client, (clock, _) in self._ended.items()]
        return ends + self.entries

    def take(
        self, owner: Owner, entries: Iterable[Entry], now: float
    ) -> tuple[list[Entry], list[Entry]]:
        """Take what a connection says; return what is new, and what it must be told instead.

        A client is told that its presence has ended when it announces it with a clock that was
        used before the end; stock clients then announce it again with a later one.
        """
        news: list[Entry] = []
        answers: list[Entry] = []
        for entry in entries:
            ended_clock = self._ended.get(entry.client, (-1, 0.0))[0]
            if entry.client not in self._here and not entry.is_gone and entry.clock <= ended_clock:
                answers.append(Entry(entry.client, ended_clock, "null"))
            elif self._accepts(owner, entry):
                self._put(owner, entry, now)
                news.append(entry)
        return news, answers

    def _accepts(self, owner: Owner, entry: Entry) -> bool:
        known = self._here.get(entry.client)
        if known is None:
            return not entry.is_gone and self._count(owner) < MAX_PER_OWNER
        if known.owner.connection == owner.connection:
            is_end = entry.is_gone and entry.clock == known.entry.clock
            return is_end or entry.clock > known.entry.clock
        is_same_user = known.owner.user_id == owner.user_id
        return is_same_user and not entry.is_gone and entry.clock > known.entry.clock

    def _put(self, owner: Owner, entry: Entry, now: float) -> None:
        if entry.is_gone:
            self._here.pop(entry.client, None)
            self._end(entry, now)
        else:
            self._ended.pop(entry.client, None)
            self._here[entry.client] = _Known(entry, owner, now)

    def _end(self, entry: Entry, now: float) -> None:
        if len(self._ended) >= MAX_REMEMBERED:
            del self._ended[next(iter(self._ended))]
        self._ended[entry.client] = (entry.clock, now)

    def _count(self, owner: Owner) -> int:
        return sum(1 for known in self._here.values() if known.owner.connection == owner.connection)

    def leave(self, connection: Hashable, now: float) -> list[Entry]:
        """End all presences of a connection; return their ends, for the others."""
        clients = [
            client for client, known in self._here.items() if known.owner.connection == connection
        ]
        return [self._ended_now(client, now) for client in clients]

    def expire(self, now: float) -> list[Entry]:
        """End the presences of which nothing was heard for too long; return their ends."""
        before = now - OUTDATED_SECONDS
        for client in [c for c, (_, at) in self._ended.items() if at < before]:
            del self._ended[client]
        return [
            self._ended_now(client, now)
            for client in [c for c, known in self._here.items() if known.at < before]
        ]

    def _ended_now(self, client: int, now: float) -> Entry:
        known = self._here.pop(client)
        end = Entry(client, known.entry.clock, "null")
        self._end(end, now)
        return end

    def of(self, connections: Iterable[Hashable]) -> list[tuple[Entry, str]]:
        """Return the presences that these connections announced, each with its user's id."""
        wanted = set(connections)
        return [
            (known.entry, known.owner.user_id)
            for known in self._here.values()
            if known.owner.connection in wanted
        ]
