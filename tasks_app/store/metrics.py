"""The sums of all processes' figures: the calls that add to them and read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tasks_app.domain.codec import dumps
from tasks_app.domain.metrics import Field
from tasks_app.store.keys import Keys
from tasks_app.store.scripts import Call, script

MOST_FIELDS = 20_000


def add(prefix: str, numbers: Mapping[Field, float]) -> Call[int]:
    """Build the call that adds; it answers how many numbers found no place."""
    args: list[str | float] = []
    for field, number in numbers.items():
        args += [dumps(list(field)), number]
    return Call(int, (prefix, MOST_FIELDS, *args), script("metrics_add"))


def read(names: Keys) -> Call[Mapping[Field, float]]:
    """Build the call that reads every figure."""
    return Call(_numbers, ("HGETALL", names.name("metrics")))


def _numbers(reply: Any) -> dict[Field, float]:
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    found: dict[Field, float] = {}
    for text, number in pairs:
        try:
            found[tuple(map(str, json.loads(text)))] = float(number)
        except (ValueError, TypeError):
            continue  # of another version
    return found
