"""The chat completion: the conversation goes to the model as it is, through the filters."""

from __future__ import annotations

from typing import Any

from tasks_app.domain.context import Context
from tasks_app.generation.answers import answer, checked_messages, showing
from tasks_app.generation.filters import Call, Chain
from tasks_app.generation.kinds import CHAT


async def complete(
    context: Context, body: dict[str, Any], *, retry_seconds: float | None = None
) -> dict[str, Any]:
    """Return the whole `chat.completion`; its words are shown as they come.

    What an outlet filter changes is changed in what is returned; what was shown stays shown.
    Raises InvalidRequest, UnknownModel, ProviderError, Refused, FilterFailed.
    """
    checked_messages(body)
    filters = Chain(
        Call(
            kind=CHAT,
            model=str(body.get("model")),
            task_id=context.task_id,
            item_id=context.item_id,
            user_id=context.user_id,
        )
    )
    built = await answer(
        context,
        await filters.inlet(body),
        filters=filters,
        retry_seconds=retry_seconds,
        show=showing(context),
    )
    made = built.result()
    for choice in made["choices"]:
        if text := choice["message"].get("content"):
            choice["message"]["content"] = await filters.outlet(text)
    return made
