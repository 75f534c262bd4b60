"""The figures that processes add up for `/metrics`: which there are, and what one has counted.

Counters and histograms only: what a process counts is added to the sum of all in Redis, so that
any process can answer for the whole cluster, also for those that have ended since.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

TASK_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
CALL_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)

Field = tuple[str, ...]  # a figure's name, the values of its labels, and for histograms a part
SUM = "sum"


@dataclass(frozen=True, slots=True)
class Figure:
    """One family of figures; `buckets` (upper limits) make it a histogram, else it is a counter.

    Labels never hold ids of users or items, and nothing else of which there is no end.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


ATTEMPTS = Figure("signalbox_task_attempts", "Attempts that ended in a worker.", ("task", "ending"))
ATTEMPT_SECONDS = Figure(
    "signalbox_task_duration_seconds", "Duration of an attempt.", ("task",), TASK_SECONDS
)
CALLS = Figure(
    "signalbox_generation_calls", "Calls of a model, by how they ended.",
    ("kind", "model", "outcome"),
)  # fmt: skip
TOKENS = Figure(
    "signalbox_generation_tokens", "Tokens that providers counted.", ("kind", "model", "type")
)
CALL_DURATION = Figure(
    "signalbox_generation_call_seconds", "Duration of a call of a model, its repetitions included.",
    ("kind", "model"), CALL_SECONDS,
)  # fmt: skip
FIRST_TOKEN = Figure(
    "signalbox_generation_first_token_seconds", "Time from a call's begin to its first output.",
    ("kind", "model"), CALL_SECONDS,
)  # fmt: skip

FIGURES: Mapping[str, Figure] = {
    figure.name: figure for figure in (ATTEMPTS, CALLS, TOKENS, CALL_DURATION, FIRST_TOKEN)
}


class Tally:
    """What one process has counted and not yet handed on; may be used from any thread."""

    def __init__(self) -> None:
        self._numbers: dict[Field, float] = {}
        self._lock = threading.Lock()

    def count(self, figure: Figure, labels: Sequence[str], number: float = 1) -> None:
        """Add to a counter; `labels` in the order of the figure's."""
        self._add((((figure.name, *labels), number),))

    def observe(self, figure: Figure, labels: Sequence[str], value: float) -> None:
        """Add one value to a histogram."""
        bucket = str(bisect_left(figure.buckets, value))
        at = (figure.name, *labels)
        self._add((((*at, bucket), 1), ((*at, SUM), value)))

    def take(self) -> dict[Field, float]:
        """Return what was counted and begin anew."""
        with self._lock:
            taken, self._numbers = self._numbers, {}
        return taken

    def give_back(self, taken: Mapping[Field, float]) -> None:
        """Take back what could not be handed on."""
        self._add(taken.items())

    def _add(self, numbers: Iterable[tuple[Field, float]]) -> None:
        with self._lock:
            for field, number in numbers:
                self._numbers[field] = self._numbers.get(field, 0) + number


@dataclass(frozen=True, slots=True)
class Reading:
    """The sum of one figure for one set of label values.

    A counter has `value` alone; a histogram its sum as `value` and the count of each bucket, the
    last one of what was above every limit.
    """

    figure: Figure
    labels: tuple[str, ...]
    value: float
    buckets: tuple[float, ...] = ()


def readings(numbers: Mapping[Field, float]) -> list[Reading]:
    """Put fields together to readings; what this version does not know is left out."""
    found: dict[tuple[str, tuple[str, ...]], dict[str, float]] = {}
    for (name, *rest), number in numbers.items():
        figure = FIGURES.get(name)
        if figure is None or len(rest) != len(figure.labels) + bool(figure.buckets):
            continue
        labels = tuple(rest[: len(figure.labels)])
        part = rest[-1] if figure.buckets else SUM
        found.setdefault((name, labels), {})[part] = number
    return [
        _reading(FIGURES[name], labels, parts) for (name, labels), parts in sorted(found.items())
    ]


def _reading(figure: Figure, labels: tuple[str, ...], parts: Mapping[str, float]) -> Reading:
    last = len(figure.buckets) + 1 if figure.buckets else 0
    buckets = tuple(parts.get(str(index), 0.0) for index in range(last))
    return Reading(figure, labels, parts.get(SUM, 0.0), buckets)
