"""What an administrator may change at run time: the fields, their defaults, what each accepts.

Plain Python: the project's settings read it too, before Django is set up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from tasks_app.generation.completion import writable
from tasks_app.generation.errors import InvalidOptions
from tasks_app.generation.templates import TemplateValues, render

KINDS = ("title", "follow_up", "tags", "image_prompt", "queries", "auto", "emoji", "moa")
EVERY_MODEL = "*"  # in MODEL_CONCURRENCY: each model that is not named

LONGEST_TEMPLATE = 20_000  # characters
LONGEST_JSON = 10_000
LONGEST_MODEL = 500
LARGEST_NUMBER = 1_000_000_000
# What belongs to the request itself: parameters beside it may not replace it.
TAKEN_PARAMS = frozenset(
    {
        "model", "messages", "stream", "stream_options", "metadata", "chat_id", "session_id",
        "background_tasks",
    }
)  # fmt: skip
UNUSED = "Kept for the reference system's clients; not used here."
MARKS = ("__type__", "__value__")  # by these django-constance knows what it wrote
_EFFORT = re.compile(r"[a-z]{1,32}")
_LEFT_OVER = re.compile(r"\{\{[^{}]*\}\}|\{\{")

Check = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One field of the configuration; `check` returns the value to keep or raises ValueError."""

    name: str
    default: Any
    check: Check
    help: str

    @property
    def type(self) -> type:
        return type(self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What one kind does otherwise than the rest; "" and {} mean as the rest."""

    model: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    reasoning_effort: str = ""


# --- checks ---------------------------------------------------------------------------------------


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("Must be true or false.")  # noqa: TRY004 one kind of error for all
    return value


def _number(least: int) -> Check:
    def check(value: Any) -> int:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not is_number or not least <= value <= LARGEST_NUMBER:
            raise ValueError(f"Must be a whole number from {least} to {LARGEST_NUMBER}.")
        return int(value)

    return check


def _text(value: Any, longest: int) -> str:
    if not isinstance(value, str):
        raise ValueError("Must be text.")  # noqa: TRY004 one kind of error for all
    if len(value) > longest:
        raise ValueError(f"Must be at most {longest} characters long.")
    return _writable(value)


def _writable(text: str) -> str:
    # The admin's page could not show the one, nor send the other back.
    if writable(text) != text or "\0" in text:
        raise ValueError("Must be text without null characters or halves of surrogate pairs.")
    return text


def _model(value: Any) -> str:
    # null, as the reference system's clients send it, means none.
    return "" if value is None else _text(value, LONGEST_MODEL).strip()


def _kept_text(value: Any) -> str:
    return "" if value is None else _text(value, LONGEST_TEMPLATE)


def check_template(value: Any) -> str:
    """Return a prompt template that has only variables which are filled in; "" and null: default.

    Raises ValueError, naming what would be left as it stands.
    """
    if value is None:
        return ""
    template = _text(value, LONGEST_TEMPLATE)
    if not template.strip():
        return ""
    now = datetime(2000, 1, 1, tzinfo=UTC)
    left = _LEFT_OVER.search(render(template, TemplateValues(now=now)))
    if left is None:
        return template
    if left[0] == "{{":
        raise ValueError("A {{ has no }}: variables are written {{NAME}}.")
    raise ValueError(f"There is no variable {left[0]}. docs/generation.md lists them.")


def _object(value: Any) -> dict[str, Any]:
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise ValueError("Must be a JSON object.")  # noqa: TRY004 one kind of error for all
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except ValueError:
        raise ValueError("Must be JSON: NaN and Infinity are not.") from None
    _writable(text.replace("\\u0000", "\0"))  # as JSON writes it
    if any(f'"{name}"' in text for name in MARKS):
        raise ValueError(f"{' and '.join(MARKS)} are names that cannot be kept.")
    if len(text) > LONGEST_JSON:
        raise ValueError(f"Must be at most {LONGEST_JSON} characters of JSON.")
    return value


def _params(value: Any) -> dict[str, Any]:
    found = _object(value)
    if taken := sorted(found.keys() & TAKEN_PARAMS):
        raise ValueError(f"{', '.join(taken)}: belongs to the request and is no parameter.")
    # As in the reference system: an empty value is a parameter that is not sent.
    return {name: one for name, one in found.items() if one is not None and one != ""}


def _overrides(value: Any) -> dict[str, Any]:
    found = {}
    for kind, override in _object(value).items():
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind; there are: {', '.join(KINDS)}.")
        if not isinstance(override, dict):
            raise ValueError(f"{kind}: must be an object with model, params, reasoning_effort.")  # noqa: TRY004
        try:
            found[kind] = _override(override)
        except ValueError as error:
            raise ValueError(f"{kind}: {error}") from None
    return found


def _override(value: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := sorted(value.keys() - {"model", "params", "reasoning_effort"}):
        raise ValueError(f"{', '.join(unknown)}: use model, params, reasoning_effort.")
    effort = value.get("reasoning_effort") or ""
    if not isinstance(effort, str) or (effort and not _EFFORT.fullmatch(effort)):
        raise ValueError("reasoning_effort must be one word, such as low, medium or high.")
    made = {
        "model": _model(value.get("model")),
        "params": _params(value.get("params")),
        "reasoning_effort": effort,
    }
    return {name: one for name, one in made.items() if one}


def _concurrency(value: Any) -> dict[str, int]:
    found = _object(value)
    for model, limit in found.items():
        if (
            isinstance(limit, bool)
            or not isinstance(limit, int)
            or not 1 <= limit <= LARGEST_NUMBER
        ):
            raise ValueError(f"{model}: must be a whole number, at least 1.")
    return found


def _option(default: Any, check: Check, text: str) -> Any:
    metadata = {"check": check, "help": text}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def _prompt(kind: str) -> Any:
    return _option("", check_template, f"The prompt for {kind}; empty: the built-in one.")


def _enable(what: str) -> Any:
    return _option(True, _flag, f"Whether {what} may be asked for.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """The task configuration, with the reference system's names where it has the field."""

    TASK_MODEL: str = _option(
        "", _model, "The model of tasks about a local model's chat; empty: the chat's own."
    )
    TASK_MODEL_EXTERNAL: str = _option(
        "", _model, "The model of tasks about an external model's chat; empty: the chat's own."
    )
    TASK_MODEL_PARAMS: Mapping[str, Any] = _option(
        {}, _params, 'Parameters of every task\'s request, e.g. {"temperature": 0.2}.'
    )
    TASK_KIND_OVERRIDES: Mapping[str, Any] = _option(
        {},
        _overrides,
        'Model, parameters and reasoning effort of single kinds, e.g. {"title": {"model": "m", '
        f'"params": {{"max_tokens": 100}}, "reasoning_effort": "low"}}}}. '
        f"Kinds: {', '.join(KINDS)}.",
    )
    ENABLE_TITLE_GENERATION: bool = _enable("titles")
    TITLE_GENERATION_PROMPT_TEMPLATE: str = _prompt("titles")
    ENABLE_FOLLOW_UP_GENERATION: bool = _enable("follow-up questions")
    FOLLOW_UP_GENERATION_PROMPT_TEMPLATE: str = _prompt("follow-up questions")
    ENABLE_TAGS_GENERATION: bool = _enable("tags")
    TAGS_GENERATION_PROMPT_TEMPLATE: str = _prompt("tags")
    ENABLE_IMAGE_PROMPT_GENERATION: bool = _enable("image prompts")
    IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE: str = _prompt("image prompts")
    ENABLE_SEARCH_QUERY_GENERATION: bool = _enable("queries for a web search")
    ENABLE_RETRIEVAL_QUERY_GENERATION: bool = _enable("queries for a retrieval of documents")
    QUERY_GENERATION_PROMPT_TEMPLATE: str = _prompt("queries")
    ENABLE_AUTOCOMPLETE_GENERATION: bool = _enable("autocompletion")
    AUTOCOMPLETE_GENERATION_PROMPT_TEMPLATE: str = _prompt("autocompletion")
    AUTOCOMPLETE_GENERATION_INPUT_MAX_LENGTH: int = _option(
        -1, _number(-1), "The longest text, in characters, that is completed; -1: any."
    )
    ENABLE_EMOJI_GENERATION: bool = _enable("an emoji")
    EMOJI_GENERATION_PROMPT_TEMPLATE: str = _prompt("an emoji")
    ENABLE_MOA_GENERATION: bool = _enable("the merge of several models' answers")
    MOA_GENERATION_PROMPT_TEMPLATE: str = _prompt("the merge of answers")
    # Kept for the reference system's clients, which send back all that they know of.
    TOOLS_FUNCTION_CALLING_PROMPT_TEMPLATE: str = _option("", _kept_text, UNUSED)
    ENABLE_VOICE_MODE_PROMPT: bool = _option(True, _flag, UNUSED)
    VOICE_MODE_PROMPT_TEMPLATE: str = _option("", _kept_text, UNUSED)
    REQUESTS_PER_MINUTE: int = _option(
        0, _number(0), "How many completions one user may ask for in a minute; 0: any number."
    )
    TOKENS_PER_MINUTE: int = _option(
        0, _number(0), "How many tokens one user may use in a minute; 0: any number."
    )
    MODEL_CONCURRENCY: Mapping[str, int] = _option(
        {},
        _concurrency,
        'How many calls of one model run at once, everywhere together, e.g. {"m": 4, "*": 50}; '
        "* is each model that is not named.",
    )

    def is_enabled(self, kind: str, type: str = "") -> bool:  # noqa: A002 the request's name for it
        """Tell whether a kind may be asked for; `type` is what `queries` are for."""
        name = _QUERY_FLAGS.get(type, "") if kind == "queries" else _FLAGS.get(kind, "")
        return bool(getattr(self, name)) if name else True

    def template(self, kind: str) -> str:
        """Return the administrator's prompt template of a kind; "" means the built-in one."""
        return str(getattr(self, template_name(kind)))

    def override(self, kind: str) -> Override:
        return Override(**self.TASK_KIND_OVERRIDES.get(kind, {}))

    def params(self, kind: str) -> dict[str, Any]:
        """Return what is sent beside the messages: every task's parameters, then the kind's."""
        override = self.override(kind)
        made = {**self.TASK_MODEL_PARAMS, **override.params}
        if override.reasoning_effort:
            made["reasoning_effort"] = override.reasoning_effort
        return made

    def concurrency_of(self, model: str) -> int | None:
        """Return how many calls of a model may run at once; None: any number."""
        return self.MODEL_CONCURRENCY.get(model, self.MODEL_CONCURRENCY.get(EVERY_MODEL))

    def resource(self) -> dict[str, Any]:
        """Return the answer of `GET /api/v1/tasks/config`."""
        return asdict(self)


_FLAGS = {
    "title": "ENABLE_TITLE_GENERATION",
    "follow_up": "ENABLE_FOLLOW_UP_GENERATION",
    "tags": "ENABLE_TAGS_GENERATION",
    "image_prompt": "ENABLE_IMAGE_PROMPT_GENERATION",
    "auto": "ENABLE_AUTOCOMPLETE_GENERATION",
    "emoji": "ENABLE_EMOJI_GENERATION",
    "moa": "ENABLE_MOA_GENERATION",
}
_QUERY_FLAGS = {
    "web_search": "ENABLE_SEARCH_QUERY_GENERATION",
    "retrieval": "ENABLE_RETRIEVAL_QUERY_GENERATION",
}
_TEMPLATES = {
    "title": "TITLE_GENERATION_PROMPT_TEMPLATE",
    "follow_up": "FOLLOW_UP_GENERATION_PROMPT_TEMPLATE",
    "tags": "TAGS_GENERATION_PROMPT_TEMPLATE",
    "image_prompt": "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE",
    "queries": "QUERY_GENERATION_PROMPT_TEMPLATE",
    "auto": "AUTOCOMPLETE_GENERATION_PROMPT_TEMPLATE",
    "emoji": "EMOJI_GENERATION_PROMPT_TEMPLATE",
    "moa": "MOA_GENERATION_PROMPT_TEMPLATE",
}


def template_name(kind: str) -> str:
    """Return the field that holds a kind's prompt template."""
    return _TEMPLATES[kind]


OPTIONS: dict[str, Option] = {
    made.name: Option(
        name=made.name,
        default=getattr(TaskConfig(), made.name),
        check=made.metadata["check"],
        help=made.metadata["help"],
    )
    for made in fields(TaskConfig)
}


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields as they are kept.

    Raises InvalidOptions, which names each unknown field and each one whose value is refused.
    """
    kept: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, value in given.items():
        option = OPTIONS.get(name)
        if option is None:
            wrong[name] = "There is no such field. GET /api/v1/tasks/config shows all."
            continue
        try:
            kept[name] = option.check(value)
        except ValueError as error:
            wrong[name] = str(error)
    if wrong:
        raise InvalidOptions(wrong)
    return kept
