"""Runs one call of a model inside a task: reports what arrives, returns the whole answer."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from tasks_app.domain.context import Context
from tasks_app.generation.calls import stream_answer
from tasks_app.generation.catalog import get_catalog
from tasks_app.generation.completion import CompletionBuilder, choices
from tasks_app.generation.conf import retry_budget
from tasks_app.generation.errors import InvalidRequest, ProviderError


async def answer(
    context: Context,
    body: dict[str, Any],
    *,
    retry_seconds: float | None = None,
    is_shown: bool = True,
) -> CompletionBuilder:
    """Stream the answer to its end; when cancelled, close the provider's connection first.

    Text goes out as tokens; tool calls, reasoning and further choices as `delta` events. Nothing
    goes out with `is_shown=False`. Raises ProviderError, UnknownModel or InvalidRequest.
    """
    model = _checked_model(body)
    built = CompletionBuilder(context.task_id, model)
    budget = retry_budget() if retry_seconds is None else retry_seconds
    pieces = stream_answer(get_catalog(), body, budget=budget)
    async with aclosing(pieces):
        async for piece in pieces:
            built.add(piece)
            if is_shown:
                _report(context, piece)
    if built.is_empty:
        raise ProviderError("The model sent an empty answer.", error_type="empty_answer")
    return built


def checked_messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the body's messages; raises InvalidRequest unless there is at least one."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages must be a list of at least one message.")
    if not all(isinstance(message, dict) for message in messages):
        raise InvalidRequest("messages: each must be an object with role and content.")
    return messages


def _checked_model(body: dict[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model must name a model; GET /api/v1/models lists them.")
    return model


def _report(context: Context, piece: dict[str, Any]) -> None:
    for index, delta, _ in choices(piece):
        shown = dict(delta)
        if index == 0 and (text := shown.pop("content", "")):
            context.token(text)
        if shown:
            context.emit("delta", {"index": index, "delta": shown})
