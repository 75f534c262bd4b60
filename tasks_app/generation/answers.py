"""Runs one call of a model inside a task: reports what arrives, returns the whole answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from tasks_app.domain.context import Context
from tasks_app.generation.calls import stream_answer
from tasks_app.generation.catalog import get_catalog
from tasks_app.generation.completion import TEXT_KEYS, CompletionBuilder, choices, has_output
from tasks_app.generation.conf import retry_budget
from tasks_app.generation.errors import InvalidRequest, ProviderError
from tasks_app.generation.faults import EMPTY
from tasks_app.generation.filters import Chain
from tasks_app.generation.measuring import measured
from tasks_app.generation.permission import hiding_models

Show = Callable[[dict[str, Any]], None]


async def answer(
    context: Context,
    body: dict[str, Any],
    *,
    filters: Chain,
    retry_seconds: float | None = None,
    show: Show | None = None,
    schema: dict[str, Any] | None = None,
    repeats_empty: bool = True,
) -> CompletionBuilder:
    """Stream the answer to its end; when cancelled, close the provider's connection first.

    Each chunk passes the stream filters and is then given to `show`. With a `schema` the model is
    asked for JSON of it; without `repeats_empty` an empty answer is not asked for again. What the
    call cost is recorded, charged to the task's user, and said in the task's log. Raises
    ProviderError, UnknownModel, InvalidRequest, Refused, FilterFailed.
    """
    model = checked_model(body)
    built = CompletionBuilder(context.task_id, model)
    budget = retry_budget() if retry_seconds is None else retry_seconds
    pieces = stream_answer(
        get_catalog(), body, budget=budget, schema=schema, repeats_empty=repeats_empty
    )
    user_id = context.user_id or None
    async with hiding_models(user_id), measured(filters.call, body) as measure:
        async with aclosing(pieces):
            async for piece in pieces:
                if has_output(piece):
                    measure.output()
                shown = await _filtered(piece, filters) if filters.has("stream") else piece
                built.add(shown)
                if show is not None:
                    show(shown)
        await _add_rest(built, filters, show)
        measure.counted(built.usage)
        if measure.first_output is None:
            raise ProviderError("The model sent an empty answer.", error_type=EMPTY)
    context.emit("log", {"level": "info", "message": f"{model}: {measure}"})
    return built


def checked_messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the body's messages; raises InvalidRequest unless there is at least one."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages must be a list of at least one message.")
    if not all(isinstance(message, dict) for message in messages):
        raise InvalidRequest("messages: each must be an object with role and content.")
    return messages


def checked_model(body: dict[str, Any]) -> str:
    """Return the body's model; raises InvalidRequest unless it is named."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model must name a model; GET /api/v1/models lists them.", "model")
    return model


def showing(context: Context) -> Show:
    """Return what reports chunks to the task's watchers.

    The first choice's text goes out as tokens; tool calls, reasoning and further choices as
    `delta` events.
    """

    def show(piece: dict[str, Any]) -> None:
        for index, delta, _ in choices(piece):
            shown = dict(delta)
            if index == 0 and (text := shown.pop("content", "")):
                context.token(text)
            if shown:
                context.emit("delta", {"index": index, "delta": shown})

    return show


async def _add_rest(built: CompletionBuilder, filters: Chain, show: Show | None) -> None:
    rest = await filters.rest() if filters.has("stream") else ""
    if rest:
        piece = {"choices": [{"index": 0, "delta": {"content": rest}}]}
        built.add(piece)
        if show is not None:
            show(piece)


async def _filtered(piece: dict[str, Any], filters: Chain) -> dict[str, Any]:
    filtered = []
    for index, delta, reason in choices(piece):
        made = dict(delta)
        for key in TEXT_KEYS:
            if text := made.get(key):
                made[key] = await filters.stream(text)
        filtered.append({"index": index, "delta": made, "finish_reason": reason})
    return {**piece, "choices": filtered}
