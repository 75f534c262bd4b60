"""The task configuration: what it accepts, where it is kept, how soon it is in force."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from constance import settings as constance
from constance.models import Constance
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DatabaseError

from project import first_values
from tasks_app.generation import configuration
from tasks_app.generation.configuration import TaskConfig, current, update
from tasks_app.generation.errors import InvalidOptions
from tasks_app.generation.options import KINDS, OPTIONS, checked
from tests.support.eventually import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@sync_to_async
def write(name: str, value: str) -> None:
    """Change a row as another process would."""
    Constance.objects.update_or_create(key=name, defaults={"value": value})


async def test_without_a_row_the_defaults_are_in_force() -> None:
    assert await current() == TaskConfig()


async def test_a_change_is_in_force_at_once_here_and_soon_elsewhere() -> None:
    changed = await update({"TASK_MODEL": "small", "ENABLE_TAGS_GENERATION": False})
    assert (changed.TASK_MODEL, changed.ENABLE_TAGS_GENERATION) == ("small", False)
    assert await current() == changed

    configuration._copies.clear()  # as a process that has not read it
    assert await current() == changed
    assert configuration.FRESH_S <= 0.5
    await write("TASK_MODEL", json.dumps({"__type__": "default", "__value__": "other"}))
    await eventually(lambda: is_in_force("TASK_MODEL", "other"))


async def is_in_force(name: str, value: Any) -> bool:
    return bool(getattr(await current(), name) == value)


async def test_many_readers_share_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    read = configuration.current_sync
    monkeypatch.setattr(configuration, "current_sync", lambda: asked.append(1) or read())
    await asyncio.gather(*(current() for _ in range(50)))
    assert len(asked) == 1


async def test_a_cancelled_reader_does_not_disturb_the_others() -> None:
    first, second = asyncio.create_task(current()), asyncio.create_task(current())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == TaskConfig()
    assert first.cancelled()


async def test_all_or_nothing_is_changed() -> None:
    with pytest.raises(InvalidOptions) as refused:
        await update({"TASK_MODEL": "small", "NO_SUCH": 1, "ENABLE_TAGS_GENERATION": "yes"})
    assert refused.value.errors.keys() == {"NO_SUCH", "ENABLE_TAGS_GENERATION"}
    assert await current() == TaskConfig()


async def test_while_the_database_is_away_what_was_forbidden_stays_forbidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away() -> TaskConfig:
        raise DatabaseError("gone")

    kept = await update({"ENABLE_TITLE_GENERATION": False})
    monkeypatch.setattr(configuration, "current_sync", away)
    monkeypatch.setattr(configuration, "FRESH_S", -1.0)
    assert await current() == kept
    configuration._copies.clear()
    with pytest.raises(DatabaseError):
        await current()


async def test_a_row_that_makes_no_sense_counts_as_none(caplog: pytest.LogCaptureFixture) -> None:
    await write("TASK_MODEL_PARAMS", "{half")
    await write("ENABLE_TAGS_GENERATION", json.dumps({"__type__": "default", "__value__": "no"}))
    assert await current() == TaskConfig()
    assert caplog.text.count("task_config_refused") == 2


async def test_every_field_goes_through_the_database_and_back() -> None:
    values = {
        "TASK_MODEL_PARAMS": {"temperature": 0.2, "extra": {"deep": [1, {"x": None}]}},
        "TASK_KIND_OVERRIDES": {"title": {"model": "m", "reasoning_effort": "low"}},
        "TITLE_GENERATION_PROMPT_TEMPLATE": "Näme it: {{MESSAGES:END:2|middletruncate:50}}\r\n",
        "AUTOCOMPLETE_GENERATION_INPUT_MAX_LENGTH": 100,
        "MODEL_CONCURRENCY": {"*": 3},
        "ENABLE_MOA_GENERATION": False,
    }
    kept = await update(values)
    configuration._copies.clear()
    read = await current()
    assert read == kept
    assert {name: read.resource()[name] for name in values} == values
    json.dumps(read.resource())


# --- what is accepted -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("TASK_MODEL", 7, "Must be text"),
        ("TASK_MODEL", "m" * 501, "at most 500"),
        ("TASK_MODEL_PARAMS", [], "JSON object"),
        ("TASK_MODEL_PARAMS", {"model": "m"}, "belongs to the request"),
        ("TASK_MODEL_PARAMS", {"temperature": float("nan")}, "NaN"),
        ("TASK_MODEL_PARAMS", {"x": [{"__type__": "date"}]}, "cannot be kept"),
        ("TASK_MODEL_PARAMS", {"x": "y" * 10_001}, "at most 10000"),
        ("TASK_KIND_OVERRIDES", {"titles": {}}, "'titles' is no kind; there are: title, "),
        ("TASK_KIND_OVERRIDES", {"title": "m"}, "title: must be an object"),
        ("TASK_KIND_OVERRIDES", {"title": {"modell": "m"}}, "title: modell: use model"),
        ("TASK_KIND_OVERRIDES", {"title": {"model": 1}}, "title: Must be text"),
        ("TASK_KIND_OVERRIDES", {"title": {"reasoning_effort": "very low"}}, "one word"),
        ("TASK_KIND_OVERRIDES", {"title": {"params": {"stream": 1}}}, "belongs to the request"),
        ("ENABLE_TITLE_GENERATION", 1, "true or false"),
        ("ENABLE_TITLE_GENERATION", None, "true or false"),
        ("AUTOCOMPLETE_GENERATION_INPUT_MAX_LENGTH", True, "whole number"),
        ("AUTOCOMPLETE_GENERATION_INPUT_MAX_LENGTH", -2, "from -1"),
        ("REQUESTS_PER_MINUTE", 10**12, "from 0"),
        ("MODEL_CONCURRENCY", {"m": 0}, "at least 1"),
        ("TITLE_GENERATION_PROMPT_TEMPLATE", "{{NAMES}}", "no variable {{NAMES}}"),
        ("TITLE_GENERATION_PROMPT_TEMPLATE", "{{MESSAGES:FIRST:2}}", "no variable {{MESSAGES:F"),
        ("TITLE_GENERATION_PROMPT_TEMPLATE", "Hello {{prompt", "has no }}"),
        ("TITLE_GENERATION_PROMPT_TEMPLATE", ["x"], "Must be text"),
        ("TITLE_GENERATION_PROMPT_TEMPLATE", "half a pair: \ud800", "surrogate"),
        ("VOICE_MODE_PROMPT_TEMPLATE", "nothing: \0", "null characters"),
        ("TASK_MODEL", "\udfff", "surrogate"),
        ("TASK_MODEL_PARAMS", {"stop": ["\ud800"]}, "surrogate"),
        ("TASK_KIND_OVERRIDES", {"title": {"params": {"\0": 1}}}, "null characters"),
        ("MODEL_CONCURRENCY", {"\ud800": 1}, "surrogate"),
        ("TITLE_GENERATION_PROMPT_TEMPLATE", "x" * 20_001, "at most 20000"),
    ],
)
def test_nonsense_is_refused_and_named(name: str, value: Any, why: str) -> None:
    with pytest.raises(InvalidOptions) as refused:
        checked({name: value})
    assert why in refused.value.errors[name]


def test_what_the_reference_systems_clients_send_is_accepted() -> None:
    sent = {
        "TASK_MODEL": None,
        "TASK_MODEL_EXTERNAL": "",
        "TASK_MODEL_PARAMS": None,
        "TITLE_GENERATION_PROMPT_TEMPLATE": " \n",
        "TAGS_GENERATION_PROMPT_TEMPLATE": 'Answer {"tags": {"a": ["b"]}}: {{MESSAGES:END:6}}',
        "TOOLS_FUNCTION_CALLING_PROMPT_TEMPLATE": "Tools: {{TOOLS}}",
        "VOICE_MODE_PROMPT_TEMPLATE": None,
        "ENABLE_VOICE_MODE_PROMPT": True,
    }
    kept = checked(sent)
    assert kept["TASK_MODEL"] == ""
    assert kept["TASK_MODEL_PARAMS"] == {}
    assert kept["TITLE_GENERATION_PROMPT_TEMPLATE"] == ""
    assert kept["TAGS_GENERATION_PROMPT_TEMPLATE"] == sent["TAGS_GENERATION_PROMPT_TEMPLATE"]


def test_every_kind_has_a_switch_and_a_template() -> None:
    off = {name: False for name in OPTIONS if name.startswith("ENABLE_")}
    config = TaskConfig(**off)
    for kind in KINDS:
        assert config.template(kind) == ""
        if kind != "queries":
            assert TaskConfig().is_enabled(kind)
            assert not config.is_enabled(kind)
    assert not config.is_enabled("queries", "web_search")
    assert not config.is_enabled("queries", "retrieval")
    searching = TaskConfig(ENABLE_RETRIEVAL_QUERY_GENERATION=False)
    assert searching.is_enabled("queries", "web_search")
    assert not searching.is_enabled("queries", "retrieval")


def test_a_kinds_parameters_stand_before_those_of_all() -> None:
    config = TaskConfig(
        TASK_MODEL_PARAMS={"temperature": 0.1, "top_p": 0.5},
        TASK_KIND_OVERRIDES={"tags": {"params": {"top_p": 1}, "reasoning_effort": "low"}},
    )
    assert config.params("title") == {"temperature": 0.1, "top_p": 0.5}
    assert config.params("tags") == {"temperature": 0.1, "top_p": 1, "reasoning_effort": "low"}


def test_a_limit_may_be_of_one_model_or_of_all_others() -> None:
    config = TaskConfig(MODEL_CONCURRENCY={"big": 2, "*": 9})
    assert (config.concurrency_of("big"), config.concurrency_of("small")) == (2, 9)
    assert TaskConfig().concurrency_of("big") is None


# --- first values, and the library's own command -------------------------------------------------


def test_the_environment_gives_first_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_MODEL", "from-the-environment")
    monkeypatch.setenv("ENABLE_EMOJI_GENERATION", "off")
    monkeypatch.setenv("TASK_MODEL_PARAMS", '{"max_tokens": 100}')
    monkeypatch.setenv("REQUESTS_PER_MINUTE", "60")
    monkeypatch.setattr(constance, "CONFIG", first_values.constance_config())
    config = configuration.current_sync()
    assert config.TASK_MODEL == "from-the-environment"
    assert config.ENABLE_EMOJI_GENERATION is False
    assert config.TASK_MODEL_PARAMS == {"max_tokens": 100}
    assert config.REQUESTS_PER_MINUTE == 60
    configuration.update_sync({"TASK_MODEL": ""})
    assert configuration.current_sync().TASK_MODEL == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TASK_MODEL_PARAMS", "{"),
        ("TASK_MODEL_PARAMS", '{"stream": true}'),
        ("ENABLE_EMOJI_GENERATION", "perhaps"),
        ("REQUESTS_PER_MINUTE", "many"),
        ("TITLE_GENERATION_PROMPT_TEMPLATE", "{{NOTHING}}"),
    ],
)
def test_a_first_value_that_makes_no_sense_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ImproperlyConfigured, match=name):
        first_values.constance_config()


async def test_the_librarys_command_checks_too(capsys: pytest.CaptureFixture[str]) -> None:
    command = sync_to_async(call_command)
    await command("constance", "set", "TASK_MODEL_PARAMS", '{"seed": 7}')
    await command("constance", "set", "ENABLE_TAGS_GENERATION", "")
    assert (await current()).TASK_MODEL_PARAMS == {"seed": 7}
    assert (await current()).ENABLE_TAGS_GENERATION is False
    with pytest.raises(Exception, match="belongs to the request"):
        await command("constance", "set", "TASK_MODEL_PARAMS", '{"model": "m"}')
