"""Measures one call of a model, records it and charges its user for it, however it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tasks_app.domain.spans import span
from tasks_app.generation.completion import plain_text
from tasks_app.generation.errors import InvalidRequest, UnknownModel
from tasks_app.generation.filters import Call
from tasks_app.generation.permission import charge
from tasks_app.services import usage
from tasks_app.services.usage import CallOutcome, Used

MOST_TOKENS = 10**9  # a provider that counts more is mistaken
CHARACTERS_PER_TOKEN = 4  # of a prompt that nobody has counted


class Measure:
    """What is known of a call so far; times in seconds since it began."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.first_output: float | None = None
        self.pieces = 0  # of the answer, as they came
        self.prompt_tokens = 0
        self.completion_tokens = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def output(self) -> None:
        """Note that something of the answer has come."""
        self.pieces += 1
        if self.first_output is None:
            self.first_output = self.seconds

    def counted(self, used: dict[str, Any] | None) -> None:
        """Note what the provider counted, if it did."""
        self.prompt_tokens = _tokens(used, "prompt_tokens")
        self.completion_tokens = _tokens(used, "completion_tokens")

    def charged(self, request: Mapping[str, Any], outcome: CallOutcome) -> int:
        """Return how many tokens the user has used.

        A call that was broken off, and a provider that does not count, have no figure: then each
        piece of the answer is a token, and so are four characters of the prompt. A call that failed
        before it brought anything costs nothing.
        """
        if counted := self.prompt_tokens + self.completion_tokens:
            return counted
        if outcome is CallOutcome.FAILED and not self.pieces:
            return 0
        texts = (plain_text(message.get("content")) for message in request["messages"])
        return self.pieces + sum(map(len, texts)) // CHARACTERS_PER_TOKEN

    def __str__(self) -> str:
        first = "no output"
        if self.first_output is not None:
            first = f"first output after {span(self.first_output)}"
        return (
            f"{self.prompt_tokens} prompt and {self.completion_tokens} completion tokens, "
            f"{first}, {span(self.seconds)} in all"
        )


@asynccontextmanager
async def measured(call: Call, request: Mapping[str, Any]) -> AsyncIterator[Measure]:
    """Record the call of a model that the block makes; one that nobody could serve is none.

    `request` is what the model is sent: a filter may have changed it.
    """
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
            usage.record(_used(call, str(request["model"]), measure, outcome))
            await charge(call.user_id or None, measure.charged(request, outcome))


def _used(call: Call, model: str, measure: Measure, outcome: CallOutcome) -> Used:
    return Used(
        user_id=call.user_id,
        kind=call.kind,
        model=model,
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
