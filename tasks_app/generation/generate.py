"""The seven steps that every kind takes, from the request to the answer.

Receive; look at the configuration; choose the model; render the prompt; inlet filters; call the
provider; outlet filters and reading, with one repair and a fallback of the kind's own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from tasks_app.domain.context import Context
from tasks_app.generation.answers import Show, answer, checked_model, showing
from tasks_app.generation.completion import add_usage, completion, text_piece, writable
from tasks_app.generation.conf import retry_budget
from tasks_app.generation.configuration import TaskConfig, current
from tasks_app.generation.errors import InputTooLong, KindDisabled, ProviderError
from tasks_app.generation.faults import EMPTY
from tasks_app.generation.filters import Call, Chain
from tasks_app.generation.kinds import AUTO, Answer, Kind, Subject, receive
from tasks_app.generation.people import values_of
from tasks_app.generation.prompts import repair_messages
from tasks_app.generation.reasoning import ReasoningCut
from tasks_app.generation.selection import Choice, choose
from tasks_app.generation.templates import TemplateValues, names_user, render

logger = logging.getLogger("signalbox.generation")

# What the caller may decide about the model's answer; the rest of the request is ours.
PARAMETERS = (
    "temperature", "top_p", "seed", "reasoning_effort", "user", "max_tokens",
    "max_completion_tokens",
)  # fmt: skip


async def generate(
    kind: Kind, context: Context, body: dict[str, Any], *, retry_seconds: float | None = None
) -> dict[str, Any]:
    """Return a `chat.completion` whose content is the kind's answer.

    Useless output is sent back for one repair; after that the kind's fallback stands in, marked
    by `"fallback": true`. A provider's failure is a failure: ProviderError. Raises InvalidRequest,
    KindDisabled, InputTooLong, UnknownModel, Refused, FilterFailed too.
    """
    subject = await asyncio.to_thread(receive, kind, body)
    model = checked_model(body)
    config = await current()
    check(kind, subject, config)
    choice = await choose(model, kind=kind.name, user_id=context.user_id or None, config=config)
    _log(context, f"{kind.name} by {choice.model} ({choice.reason})")
    prompt = await rendered(kind, subject, config.template(kind.name), context.user_id)
    request = _request(kind, subject, body, choice, prompt)
    call = Call(
        kind=kind.name,
        model=choice.model,
        task_id=context.task_id,
        item_id=context.item_id,
        user_id=context.user_id,
    )
    filters = Chain(call)
    asking = _Asking(kind, subject, context, filters)
    found = await asking.asked(await filters.inlet(request), retry_seconds)
    # A fallback is made of what the user wrote, which may hold half a surrogate pair.
    content = writable(kind.content(kind.fallback(subject) if found is None else found))
    if not asking.has_shown:
        context.token(content)
    made = completion(context.task_id, choice.model, content, asking.created, usage=asking.usage)
    return made if found is not None else made | {"fallback": True}


def check(kind: Kind, subject: Subject, config: TaskConfig) -> None:
    """Raise KindDisabled or InputTooLong when the configuration does not allow the request."""
    if not config.is_enabled(kind.name, subject.type):
        of_type = f" for {subject.type}" if kind.types else ""
        raise KindDisabled(f"{kind.title} is turned off{of_type}; an administrator can turn it on.")
    longest = config.AUTOCOMPLETE_GENERATION_INPUT_MAX_LENGTH
    if kind is AUTO and longest >= 0 and len(subject.prompt) > longest:
        raise InputTooLong(
            f"The prompt has {len(subject.prompt)} characters; autocompletion takes at most "
            f"{longest}."
        )


async def rendered(kind: Kind, subject: Subject, template: str, user_id: str) -> str:
    """Return a template, or the kind's own prompt where it is "", filled in with the subject."""
    template = template or kind.prompt
    values = TemplateValues(
        now=timezone.localtime(),
        messages=subject.messages,
        prompt=subject.prompt,
        type=subject.type,
        responses=subject.responses,
        user=await values_of(user_id) if names_user(template) else {},
    )
    return await asyncio.to_thread(render, template, values)  # the loop is all tasks'


def _request(
    kind: Kind, subject: Subject, body: Mapping[str, Any], choice: Choice, prompt: str
) -> dict[str, Any]:
    return {
        **{name: body[name] for name in PARAMETERS if body.get(name) is not None},
        **choice.params,
        "model": choice.model,
        "messages": [{"role": "user", "content": prompt}],
        # For the built-in model, which reads the conversation itself; providers never see it.
        "metadata": {
            "task": kind.task,
            "messages": list(subject.messages),
            "prompt": subject.prompt,
            "type": subject.type,
            "responses": list(subject.responses),
        },
    }


class _Asking:
    """Asks the model for one answer of a kind, and once more for a repair."""

    def __init__(self, kind: Kind, subject: Subject, context: Context, filters: Chain) -> None:
        self.usage: dict[str, Any] | None = None
        self.created = int(time.time())
        self.has_shown = False
        self._kind = kind
        self._subject = subject
        self._context = context
        self._filters = filters

    async def asked(self, request: dict[str, Any], retry_seconds: float | None) -> Answer | None:
        """Return the answer, None when both outputs are useless."""
        budget = retry_budget() if retry_seconds is None else retry_seconds
        started_at = time.monotonic()
        for attempt in (1, 2):
            rest = max(0.0, budget - (time.monotonic() - started_at))
            said = await self._filters.outlet(await self._said(request, rest))
            found = await asyncio.to_thread(self._kind.read, said, self._subject)
            if found is not None:
                return found
            what = "asked for a repair" if attempt == 1 else "the fallback stands in"
            _log(self._context, f"Useless output of {len(said)} characters: {what}", "warning")
            if self.has_shown:
                break  # what was shown cannot be taken back
            repaired = repair_messages(request["messages"], said, self._kind.shape)
            request = {**request, "messages": repaired}
        return None

    async def _said(self, request: dict[str, Any], retry_seconds: float) -> str:
        shown = _Shown(self._context) if self._kind.is_streamed else None
        try:
            built = await answer(
                self._context,
                request,
                filters=self._filters,
                retry_seconds=retry_seconds,
                show=shown.show if shown else None,
                schema=self._kind.schema,
                repeats_empty=False,  # it is as useless as any other: the repair is its repetition
            )
        except ProviderError as error:
            if error.error_type != EMPTY:
                raise
            return ""
        self.usage = add_usage(self.usage, built.usage)
        self.created = built.created or self.created
        if shown is None:
            return built.text
        shown.finish()
        self.has_shown = bool(shown.text)
        return shown.text


class _Shown:
    """Shows an answer as it comes, without the reasoning that some models write into it."""

    def __init__(self, context: Context) -> None:
        self._report: Show = showing(context)
        self._cut = ReasoningCut()
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def show(self, piece: dict[str, Any]) -> None:
        made, text = text_piece(piece, self._cut.feed)
        self._texts.append(text)
        self._report(made)

    def finish(self) -> None:
        if rest := self._cut.finish():
            self._texts.append(rest)
            self._report({"choices": [{"index": 0, "delta": {"content": rest}}]})


def _log(context: Context, message: str, level: str = "info") -> None:
    context.emit("log", {"level": level, "message": message})
    logger.info("generation task_id=%s %s", context.task_id, message)
