"""The registered tasks of this app: the chat completion and the kinds of generation."""

from __future__ import annotations

from typing import Any

from tasks_app import (
    cleanups,  # noqa: F401 this app's periodic jobs: found because they are imported here
    model_refresh,  # noqa: F401 another one
    task,
)
from tasks_app.definition import TaskDefinition
from tasks_app.domain.context import Context
from tasks_app.generation import kinds
from tasks_app.generation.chat import complete
from tasks_app.generation.generate import generate
from tasks_app.generation.turn import Turn


# No retry by the engine: a provider call repeats itself before its first token, within the
# budget, and after that what was sent cannot be taken back. A worker's death is a delivery.
@task(takes_context=True)
async def chat_completion(
    context: Context, body: dict[str, Any], *, retry_seconds: float | None = None
) -> dict[str, Any]:
    """Answer a chat request in OpenAI's shape; returns the whole `chat.completion`.

    `retry_seconds` is the budget of all repetitions together (None: PROVIDER_RETRY_SECONDS).
    `background_tasks` of the body are enqueued after the answer: see tasks_app.generation.turn.
    """
    turn = Turn(context, body)
    await turn.begin()
    made = await complete(context, body, retry_seconds=retry_seconds)
    await turn.end(made, OF_KIND)
    return made


def _registered(kind: kinds.Kind) -> TaskDefinition[..., dict[str, Any]]:
    """Register the task of a kind, under the name that the reference system gives it."""

    async def run(
        context: Context, body: dict[str, Any], *, retry_seconds: float | None = None
    ) -> dict[str, Any]:
        return await generate(kind, context, body, retry_seconds=retry_seconds)

    run.__name__ = run.__qualname__ = kind.task  # by which it is found again, as any task
    run.__doc__ = f"{kind.title}: see tasks_app.generation.generate."
    return task(takes_context=True)(run)


title_generation = _registered(kinds.TITLE)
follow_up_generation = _registered(kinds.FOLLOW_UP)
tags_generation = _registered(kinds.TAGS)
image_prompt_generation = _registered(kinds.IMAGE_PROMPT)
query_generation = _registered(kinds.QUERIES)
autocomplete_generation = _registered(kinds.AUTO)
emoji_generation = _registered(kinds.EMOJI)
moa_response_generation = _registered(kinds.MOA)

OF_KIND = dict(
    zip(
        kinds.KINDS,
        (
            title_generation,
            follow_up_generation,
            tags_generation,
            image_prompt_generation,
            query_generation,
            autocomplete_generation,
            emoji_generation,
            moa_response_generation,
        ),
        strict=True,
    )
)
# By where its function is: what a task of ours generates, as filters and permissions call it.
KIND_OF = {
    chat_completion.module_path: kinds.CHAT,
    **{definition.module_path: kind for kind, definition in OF_KIND.items()},
}
