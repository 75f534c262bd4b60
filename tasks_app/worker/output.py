"""The output of one attempt on its way to Redis: coalesced, numbered, bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tasks_app.conf import MAX_OUTPUT_BYTES
from tasks_app.domain.codec import clean, dumps
from tasks_app.errors import OutputOverflow
from tasks_app.store.scripts import Flush

FLUSH_EVENTS = 1000
RESERVED = frozenset({"update", "token", "progress", "restart", "snapshot", "end"})


class Output:
    """Collects tokens, events and progress; the worker takes it in numbered flushes.

    A flush stays in flight until it is acknowledged, so a lost answer repeats the same flush and
    the script recognises it: nothing is written twice. Calls may come from any thread.
    """

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        self._lock = threading.Lock()
        self._parts: list[tuple[str, str]] = []  # ("", text) for a run of tokens, or (type, JSON)
        self._progress: tuple[float, str] | None = None
        self._in_flight: Flush | None = None
        self._number = 0
        self._bytes = 0
        self.closed = False

    def token(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"token() takes text, not {type(text).__name__}")
        if text:
            self._append("", clean(text))

    def emit(self, kind: str, data: Any) -> None:
        if not kind.isidentifier() or kind in RESERVED:
            raise ValueError(f"an event type is a plain name other than {sorted(RESERVED)}")
        self._append(kind, dumps(data))

    def progress(self, value: float, message: str = "") -> None:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"progress is between 0 and 1, not {value!r}")
        if self.closed:
            return
        with self._lock:
            first = self._progress is None
            self._progress = (float(value), clean(message)[:500])
        if first:
            self._notify()

    def _append(self, kind: str, text: str) -> None:
        if self.closed:  # the attempt is settled or lost; what it still says counts no more
            return
        with self._lock:
            self._bytes += len(text.encode())
            if self._bytes > MAX_OUTPUT_BYTES:
                raise OutputOverflow(
                    f"More than {MAX_OUTPUT_BYTES} bytes of output in one attempt."
                )
            first = not self._parts
            self._parts.append((kind, text))
        if first:
            self._notify()

    def take(self) -> Flush | None:
        """Return the flush to write now: the unacknowledged one first; None when there is none."""
        if self.closed:
            return None
        if self._in_flight is None:
            with self._lock:
                parts, self._parts = _cut(self._parts)
                progress = None
                if not self._parts:
                    progress, self._progress = self._progress, None
            if not parts and progress is None:
                return None
            self._number += 1
            self._in_flight = _flush(self._number, parts, progress)
        return self._in_flight

    @property
    def in_flight(self) -> int:
        """The number of the flush that has no answer yet; 0 when there is none."""
        return 0 if self._in_flight is None else self._in_flight.number

    @property
    def has_more(self) -> bool:
        """Whether something would be left to write after the flush in flight."""
        return not self.closed and bool(self._parts or self._progress)

    def acknowledged(self) -> None:
        self._in_flight = None


def _cut(parts: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Take what makes at most FLUSH_EVENTS events: one script that writes thousands stops Redis."""
    events, token_before = 0, False
    for index, (kind, _) in enumerate(parts):
        events += bool(kind) or not token_before
        token_before = not kind
        if events > FLUSH_EVENTS:
            return parts[:index], parts[index:]
    return parts, []


def _flush(number: int, parts: list[tuple[str, str]], progress: tuple[float, str] | None) -> Flush:
    events: list[tuple[str, str]] = []
    run: list[str] = []
    for kind, text in [*parts, ("end", "")]:
        if not kind:
            run.append(text)
            continue
        if run:
            events.append(("token", dumps({"text": "".join(run)})))
            run = []
        events.append((kind, text))
    events.pop()  # the sentinel that closed the last run
    if progress is not None:
        events.append(("progress", dumps({"progress": progress[0], "message": progress[1]})))
    return Flush(
        number=number,
        text="".join(text for kind, text in parts if not kind),
        progress=None if progress is None else progress[0],
        message="" if progress is None else progress[1],
        events=tuple(events),
    )
