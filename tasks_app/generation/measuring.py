"""Measures one call of a model, and records it however it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks_app.domain.spans import span
from tasks_app.generation.errors import InvalidRequest, UnknownModel
from tasks_app.generation.filters import Call
from tasks_app.services import usage
from tasks_app.services.usage import CallOutcome, Used

MOST_TOKENS = 10**9  # a provider that counts more is mistaken


class Measure:
    """What is known of a call so far; times in seconds since it began."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.first_output: float | None = None
        self.prompt_tokens = 0
        self.completion_tokens = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def output(self) -> None:
        """Note that something of the answer has come."""
        if self.first_output is None:
            self.first_output = self.seconds

    def counted(self, used: dict[str, Any] | None) -> None:
        """Note what the provider counted, if it did."""
        self.prompt_tokens = _tokens(used, "prompt_tokens")
        self.completion_tokens = _tokens(used, "completion_tokens")

    def __str__(self) -> str:
        first = "no output"
        if self.first_output is not None:
            first = f"first output after {span(self.first_output)}"
        return (
            f"{self.prompt_tokens} prompt and {self.completion_tokens} completion tokens, "
            f"{first}, {span(self.seconds)} in all"
        )


@contextmanager
def measured(call: Call) -> Iterator[Measure]:
    """Record the call of a model that the block makes; one that nobody could serve is none."""
    measure = Measure()
    outcome: CallOutcome | None = CallOutcome.SUCCEEDED
    try:
        yield measure
    except (UnknownModel, InvalidRequest):
        outcome = None
        raise
    except asyncio.CancelledError:
        outcome = CallOutcome.CANCELED
        raise
    except BaseException:
        outcome = CallOutcome.FAILED
        raise
    finally:
        if outcome is not None:
            usage.record(_used(call, measure, outcome))


def _used(call: Call, measure: Measure, outcome: CallOutcome) -> Used:
    return Used(
        user_id=call.user_id,
        kind=call.kind,
        model=call.model,
        outcome=outcome,
        seconds=measure.seconds,
        first_token_seconds=measure.first_output,
        prompt_tokens=measure.prompt_tokens,
        completion_tokens=measure.completion_tokens,
    )


def _tokens(used: dict[str, Any] | None, name: str) -> int:
    number = (used or {}).get(name)
    if not isinstance(number, int) or isinstance(number, bool):
        return 0
    return min(max(number, 0), MOST_TOKENS)
