"""The table of the kinds: what each is asked, how its answer is read, what stands in for one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasks_app.generation import prompts
from tasks_app.generation.completion import plain_text
from tasks_app.generation.errors import InvalidRequest
from tasks_app.generation.extract import title_from
from tasks_app.generation.readers import (
    LONGEST_IMAGE_PROMPT,
    read_answer,
    read_completion,
    read_emoji,
    read_follow_ups,
    read_image_prompt,
    read_queries,
    read_tags,
    read_title,
)

CHAT = "chat"  # the chat completion, which filters and permissions know as a kind too
WEB_SEARCH, RETRIEVAL = "web_search", "retrieval"
DEFAULT_TITLE = "New chat"
DEFAULT_TAGS = ["General"]
NEUTRAL_EMOJI = "💬"
LONGEST_QUERY = 300
LONGEST_TYPE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a request is about, checked: every kind finds its material here."""

    messages: Sequence[Mapping[str, Any]] = ()
    prompt: str = ""
    type: str = ""
    responses: Sequence[str] = ()

    def asked(self) -> list[str]:
        """Return the texts of the user's messages, in order, those without words left out."""
        texts = (
            plain_text(message.get("content")).strip()
            for message in self.messages
            if message.get("role") == "user"
        )
        return [text for text in texts if text] or [self.prompt.strip()]


Answer = str | list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of task.

    `field` is the name under which the answer stands in its JSON object; "" for a kind that
    answers plain text. `read` finds the answer in a model's output, None when there is none.
    """

    name: str  # in paths
    title: str  # for people
    task: str  # the registered function, and `metadata.task` of the reference system
    needs: Literal["messages", "prompt", "responses"]
    prompt: str
    field: str = ""
    shape: str  # what a repair asks for
    read: Callable[[str, Subject], Answer | None]
    fallback: Callable[[Subject], Answer]
    is_list: bool = False
    is_streamed: bool = False  # its words are shown as they come
    types: tuple[str, ...] = ()  # the values `type` may have, the default first; (): any
    disabled_status: int = 400

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema of the answer's object, None for plain text."""
        if not self.field:
            return None
        text = {"type": "string"}
        value = {"type": "array", "items": text} if self.is_list else text
        return {
            "type": "object",
            "properties": {self.field: value},
            "required": [self.field],
            "additionalProperties": False,
        }

    def content(self, answer: Answer) -> str:
        """Return the answer as the content of the completion's message."""
        if not self.field:
            return str(answer)
        return json.dumps({self.field: answer}, ensure_ascii=False)


# --- what stands in for an answer ----------------------------------------------------------------


def fallback_title(subject: Subject) -> str:
    """Return a title made of the first telling user message, else of any, else a fixed one."""
    asked = [message for message in subject.messages if message.get("role") == "user"]
    for message in [*asked, *subject.messages]:
        if title := title_from(plain_text(message.get("content"))):
            return title
    return DEFAULT_TITLE


def _last_message(longest: int) -> Callable[[Subject], str]:
    return lambda subject: " ".join(subject.asked()[-1].split())[:longest]


def _fallback_queries(subject: Subject) -> list[str]:
    query = _last_message(LONGEST_QUERY)(subject)
    return [query] if query else []


def _fallback_answer(subject: Subject) -> str:
    return max(subject.responses, key=len, default="")


# --- the table -----------------------------------------------------------------------------------

TITLE = Kind(
    name="title",
    title="Title generation",
    task="title_generation",
    needs="messages",
    prompt=prompts.TITLE_PROMPT,
    field="title",
    shape='{"title": "…"}',
    read=lambda output, _: read_title(output),
    fallback=fallback_title,
    disabled_status=200,
)
FOLLOW_UP = Kind(
    name="follow_up",
    title="Follow-up generation",
    task="follow_up_generation",
    needs="messages",
    prompt=prompts.FOLLOW_UP_PROMPT,
    field="follow_ups",
    shape='{"follow_ups": ["…", "…"]}',
    read=lambda output, _: read_follow_ups(output),
    fallback=lambda _: [],
    is_list=True,
    disabled_status=200,
)
TAGS = Kind(
    name="tags",
    title="Tag generation",
    task="tags_generation",
    needs="messages",
    prompt=prompts.TAGS_PROMPT,
    field="tags",
    shape='{"tags": ["…", "…"]}',
    read=lambda output, _: read_tags(output),
    fallback=lambda _: DEFAULT_TAGS,
    is_list=True,
    disabled_status=200,
)
IMAGE_PROMPT = Kind(
    name="image_prompt",
    title="Image prompt generation",
    task="image_prompt_generation",
    needs="messages",
    prompt=prompts.IMAGE_PROMPT_PROMPT,
    field="prompt",
    shape='{"prompt": "…"}',
    read=lambda output, _: read_image_prompt(output),
    fallback=_last_message(LONGEST_IMAGE_PROMPT),
)
QUERIES = Kind(
    name="queries",
    title="Query generation",
    task="query_generation",
    needs="messages",
    prompt=prompts.QUERIES_PROMPT,
    field="queries",
    shape='{"queries": ["…"]}',
    read=lambda output, _: read_queries(output),
    fallback=_fallback_queries,
    is_list=True,
    types=(WEB_SEARCH, RETRIEVAL),
)
AUTO = Kind(
    name="auto",
    title="Autocompletion",
    task="autocomplete_generation",
    needs="prompt",
    prompt=prompts.AUTOCOMPLETE_PROMPT,
    field="text",
    shape='{"text": "…"}',
    read=lambda output, subject: read_completion(output, subject.prompt),
    fallback=lambda _: "",
)
EMOJI = Kind(
    name="emoji",
    title="Emoji generation",
    task="emoji_generation",
    needs="prompt",
    prompt=prompts.EMOJI_PROMPT,
    shape="one single emoji",
    read=lambda output, _: read_emoji(output),
    fallback=lambda _: NEUTRAL_EMOJI,
)
MOA = Kind(
    name="moa",
    title="Merging answers",
    task="moa_response_generation",
    needs="responses",
    prompt=prompts.MOA_PROMPT,
    shape="the answer to the request",
    read=lambda output, _: read_answer(output),
    fallback=_fallback_answer,
    is_streamed=True,
)
KINDS = {
    kind.name: kind for kind in (TITLE, FOLLOW_UP, TAGS, IMAGE_PROMPT, QUERIES, AUTO, EMOJI, MOA)
}


# --- receiving -----------------------------------------------------------------------------------


def receive(kind: Kind, body: Mapping[str, Any]) -> Subject:
    """Return what the request is about; raises InvalidRequest, naming the field.

    A conversation without a prompt gives its last user message as the prompt, a prompt without a
    conversation is one of one message.
    """
    messages = _messages(body.get("messages"))
    prompt = _text("prompt", body.get("prompt"))
    subject = Subject(
        messages=messages or ([{"role": "user", "content": prompt}] if prompt else []),
        prompt=prompt or Subject(messages=messages).asked()[-1],
        type=_type(kind, body.get("type")),
        responses=_responses(body.get("responses")),
    )
    if not getattr(subject, kind.needs):
        raise InvalidRequest(_MISSING[kind.needs], kind.needs)
    return subject


_MISSING = {
    "messages": "messages must be a list of at least one message.",
    "prompt": "prompt must be a text that is not empty.",
    "responses": "responses must be a list of at least one text that is not empty.",
}


def _messages(value: Any) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRequest(_MISSING["messages"], "messages")
    if not all(isinstance(message, dict) for message in value):
        raise InvalidRequest("messages: each must be an object with role and content.", "messages")
    return value


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a text.", name)
    return value if value.strip() else ""


def _responses(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidRequest(_MISSING["responses"], "responses")
    return [text for text in value if text.strip()]


def _type(kind: Kind, value: Any) -> str:
    found = _text("type", value)
    if kind.types and (found or kind.types[0]) not in kind.types:
        raise InvalidRequest(f"type must be one of: {', '.join(kind.types)}.", "type")
    if len(found) > LONGEST_TYPE:
        raise InvalidRequest(f"type must be at most {LONGEST_TYPE} characters long.", "type")
    return found or next(iter(kind.types), "")
