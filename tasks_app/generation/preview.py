"""Shows what a prompt template becomes, on a sample or on a conversation that is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.utils import timezone

from tasks_app.generation.kinds import KINDS, Subject
from tasks_app.generation.options import TaskConfig, check_template
from tasks_app.generation.people import values_of_sync
from tasks_app.generation.templates import TemplateValues, render

SAMPLE = Subject(
    messages=[
        {"role": "user", "content": "Which vegetables grow well on a windy balcony?"},
        {
            "role": "assistant",
            "content": "Low and sturdy ones: bush beans, lettuce, radishes and short tomatoes.",
        },
        {"role": "user", "content": "And how often do I have to water the tomatoes?"},
    ],
    prompt="And how often do I have to water the tomatoes?",
    type="web_search",
    responses=[
        "Once a day in summer, in the early morning.",
        "When the upper two centimetres of the soil are dry; on hot days that may be twice.",
    ],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The text as a model would get it, and what is wrong with the template."""

    text: str
    errors: list[str]


def preview(template: str, *, user_id: str, given: Mapping[str, Any] | None = None) -> Preview:
    """Render a template for a user; reads the database.

    What `given` has of messages, prompt, type and responses stands in for the sample's.
    """
    own = {name: value for name, value in (given or {}).items() if value is not None}
    subject = replace(SAMPLE, **own)
    if "messages" in own and "prompt" not in own:
        subject = replace(subject, prompt=subject.asked()[-1])
    values = TemplateValues(
        now=timezone.localtime(),
        messages=subject.messages,
        prompt=subject.prompt,
        type=subject.type,
        responses=subject.responses,
        user=values_of_sync(user_id),
    )
    return Preview(text=render(template, values), errors=_errors(template))


def template_of(kind: str, config: TaskConfig) -> str:
    """Return the template that is in force for a kind."""
    return config.template(kind) or KINDS[kind].prompt


def _errors(template: str) -> list[str]:
    try:
        check_template(template)
    except ValueError as error:
        return [str(error)]
    return []
