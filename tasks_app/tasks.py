"""The registered tasks of this app: the chat completion and the generation kinds."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from datetime import UTC, datetime
from typing import Any

from tasks_app import (
    cleanups,  # noqa: F401 this app's periodic jobs: found because they are imported here
    model_refresh,  # noqa: F401 another one
    task,
)
from tasks_app.domain.context import Context
from tasks_app.generation.answers import answer, checked_messages
from tasks_app.generation.completion import add_usage, completion
from tasks_app.generation.conf import retry_budget
from tasks_app.generation.errors import ProviderError
from tasks_app.generation.faults import EMPTY
from tasks_app.generation.parsing import fallback_title, parse_title
from tasks_app.generation.prompts import TITLE_PROMPT, repair_messages
from tasks_app.generation.templates import TemplateValues, render

logger = logging.getLogger("signalbox.generation")

TITLE_SHAPE = '{"title": "…"}'
# What the caller may decide about the model's answer; the rest of a title request is ours.
TITLE_PARAMETERS = ("model", "temperature", "top_p", "seed", "reasoning_effort", "user")


# No retry by the engine: a provider call repeats itself before its first token, within the
# budget, and after that what was sent cannot be taken back. A worker's death is a delivery.
@task(takes_context=True)
async def chat_completion(
    context: Context, body: dict[str, Any], *, retry_seconds: float | None = None
) -> dict[str, Any]:
    """Answer a chat request in OpenAI's shape; returns the whole `chat.completion`.

    `retry_seconds` is the budget of all repetitions together (None: PROVIDER_RETRY_SECONDS).
    """
    checked_messages(body)
    built = await answer(context, body, retry_seconds=retry_seconds)
    return built.result()


@task(takes_context=True)
async def title_generation(
    context: Context, body: dict[str, Any], *, retry_seconds: float | None = None
) -> dict[str, Any]:
    """Name a conversation; returns a `chat.completion` whose content is `{"title": …}`.

    Useless output is sent back for one repair; after that the first user message gives the title,
    and the answer carries `"fallback": true`. A provider's failure is a failure.
    """
    messages = checked_messages(body)
    request = _title_request(body, messages)
    budget = retry_budget() if retry_seconds is None else retry_seconds
    title, usage, created = await _title(context, request, budget)
    content = json.dumps({"title": title or fallback_title(messages)}, ensure_ascii=False)
    context.token(content)
    made = completion(context.task_id, body["model"], content, created, usage=usage)
    return made if title else made | {"fallback": True}


def _title_request(body: dict[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
    values = TemplateValues(now=datetime.now(UTC), messages=messages)
    prompt = render(TITLE_PROMPT, values)
    return {
        **{name: body[name] for name in TITLE_PARAMETERS if name in body},
        "messages": [{"role": "user", "content": prompt}],
        # For the built-in model, which reads the conversation itself; providers never see it.
        "metadata": {"task": "title_generation", "messages": messages},
    }


async def _title(
    context: Context, request: dict[str, Any], budget: float
) -> tuple[str | None, dict[str, Any] | None, int]:
    """Ask, and once more for a repair; the title is None when both answers are useless."""
    usage: dict[str, Any] | None = None
    created = 0
    started_at = time.monotonic()
    for _ in range(2):
        rest = max(0.0, budget - (time.monotonic() - started_at))
        try:
            built = await answer(context, request, retry_seconds=rest, is_shown=False)
        except ProviderError as error:
            if error.error_type != EMPTY:
                raise
            said = ""
        else:
            usage, created, said = add_usage(usage, built.usage), built.created, built.text
        title = await asyncio.to_thread(parse_title, said)  # the loop is all tasks'
        if title is not None:
            return title, usage, created
        logger.info("title_useless task_id=%s length=%s", context.task_id, len(said))
        repaired = repair_messages(request["messages"], said, TITLE_SHAPE)
        request = {**request, "messages": repaired}
    return None, usage, created or int(datetime.now(UTC).timestamp())
