"""One call of a model: finds who serves it and repeats what fails before the first token."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from tasks_app.domain.retry import LONGEST_DELAY_S, Retry, delay
from tasks_app.generation import formats
from tasks_app.generation.catalog import Catalog
from tasks_app.generation.completion import has_output
from tasks_app.generation.errors import ProviderError
from tasks_app.generation.faults import EMPTY
from tasks_app.generation.providers import Provider

logger = logging.getLogger("signalbox.generation")

NOT_FOUND = 404
# The budget of seconds ends the attempts, not their number.
POLICY = Retry(max_attempts=50, base=0.5, cap=4.0)


async def stream_answer(
    catalog: Catalog,
    body: dict[str, Any],
    *,
    budget: float,
    policy: Retry = POLICY,
    schema: dict[str, Any] | None = None,
    repeats_empty: bool = True,
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the chunks of the answer of `body["model"]`, the first with output first of all.

    With a `schema` the model is asked for JSON of it, in the way that its provider understands.

    What fails before the first token is tried again as long as an attempt can start within
    `budget` seconds of the first; a failure later than that is final, since what was sent cannot
    be taken back. Without `repeats_empty` an empty answer is final too. Close the iterator to
    close the provider's connection.
    """
    started_at = _now()
    failures = 0
    while True:
        has_started = False
        pieces = _attempt(catalog, body, schema)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    has_started = True
                    yield piece
        except ProviderError as error:
            if has_started or error.permanent:
                raise
            if error.error_type == EMPTY and not repeats_empty:
                raise
            failures += 1
            pause = delay(policy, failures, error.retry_after)
            if pause is None or _now() - started_at + pause > budget:
                raise _given_up(error, failures, budget) from error
            fault = error
        else:
            return
        logger.warning(
            "provider_call_repeated model=%s failures=%s pause=%.2f error=%s status=%s",
            body["model"], failures, pause, fault.error_type, fault.status,
        )  # fmt: skip
        await asyncio.sleep(pause)


async def _attempt(
    catalog: Catalog, body: dict[str, Any], schema: dict[str, Any] | None
) -> AsyncGenerator[dict[str, Any], None]:
    """Hold what comes before the first output back, so that an empty answer shows nothing."""
    provider, _ = await catalog.find(body["model"])
    held: list[dict[str, Any]] = []
    pieces = _formatted(provider, body, schema)
    async with aclosing(pieces):
        try:
            async for piece in pieces:
                held.append(piece)
                if has_output(piece):
                    break
        except ProviderError as error:
            if error.status == NOT_FOUND:
                await catalog.ensure_there(body["model"])
            raise
        for piece in held:
            yield piece
        async for piece in pieces:
            yield piece


async def _formatted(
    provider: Provider, body: dict[str, Any], schema: dict[str, Any] | None
) -> AsyncGenerator[dict[str, Any], None]:
    """Ask for the schema's JSON, and at once with less where the provider does not know that."""
    while True:
        asked = formats.with_format(body, provider.name, schema)
        pieces = provider.stream(asked)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
        except ProviderError as error:
            # Refused before anything came: a request's status is known only then.
            if not formats.learn(error, provider.name, asked, body):
                raise
            logger.info(
                "response_format_refused model=%s provider=%s", body["model"], provider.name
            )
        else:
            return


def _given_up(error: ProviderError, failures: int, budget: float) -> ProviderError:
    """Return the same failure as a final one, saying how long the provider asks to wait."""
    wait = error.retry_after
    if wait and (wait > LONGEST_DELAY_S or wait > budget):
        longest = min(LONGEST_DELAY_S, budget)
        note = f"It asks to wait {wait:g} s; at most {longest:g} s are waited. Try again then."
    elif failures > 1:
        note = f"Tried {failures} times."
    else:
        note = ""
    return ProviderError(
        f"{error} {note}".strip(),
        status=error.status,
        permanent=True,
        retry_after=wait,
        error_type=error.error_type,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
