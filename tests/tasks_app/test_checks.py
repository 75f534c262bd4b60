"""`manage.py check` finds settings of the engine that cannot work, and says which and why."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Error, Warning, run_checks  # noqa: A004 Django's name for it
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from tasks_app import compat
from tasks_app.checks import check_settings

OURS = "tasks_app.backend.SignalboxBackend"


def found() -> dict[str, Any]:
    """Return what the checks say of us, by id; each at most once."""
    ours = [message for message in run_checks() if str(message.id).startswith("tasks_app.")]
    by_id = {str(message.id): message for message in ours}
    assert len(by_id) == len(ours)
    return by_id


def test_the_projects_own_settings_are_fine() -> None:
    assert found() == {}


@pytest.mark.parametrize(
    ("name", "number", "values"),
    [
        ("TASK_LEASE_SECONDS", "001", [0, 1.9, -1, "15", None, True, float("nan")]),
        ("TASK_RETENTION_SECONDS", "002", [0, -1, "x"]),
        ("TASK_MAX_PAYLOAD_BYTES", "003", [0, 1023, 2048.5, "1 MiB"]),
        ("TASK_MAX_DELIVERIES", "004", [0, -1, 1.5, None]),
        ("THREAD_POOL_SIZE", "005", [0, -1, 2.5]),
    ],
)
def test_impossible_numbers(settings: Any, name: str, number: str, values: list[Any]) -> None:
    for value in values:
        setattr(settings, name, value)
        [message] = found().values()
        assert isinstance(message, Error)
        assert message.id == f"tasks_app.E{number}"
        assert message.msg.startswith(f"{name} is {value!r}; it must be ")
        assert message.hint


@pytest.mark.parametrize(
    ("name", "number", "values"),
    [
        ("TASK_LEASE_SECONDS", "001", [2, 4.9, 121]),
        ("TASK_RETENTION_SECONDS", "002", [1, 59, 10**9]),
        ("TASK_MAX_PAYLOAD_BYTES", "003", [10**9]),
        ("TASK_MAX_DELIVERIES", "004", [101]),
        ("THREAD_POOL_SIZE", "005", [501]),
    ],
)
def test_unusual_numbers(settings: Any, name: str, number: str, values: list[Any]) -> None:
    for value in values:
        setattr(settings, name, value)
        [message] = found().values()
        assert isinstance(message, Warning)
        assert (message.id, name in message.msg) == (f"tasks_app.W{number}", True)


def test_settings_that_are_not_set_have_their_defaults(settings: Any) -> None:
    for name in ("TASK_LEASE_SECONDS", "TASK_RETENTION_SECONDS", "TASK_MAX_PAYLOAD_BYTES"):
        delattr(settings, name)
    assert found() == {}


@pytest.mark.parametrize(
    "cache",
    [
        {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": ""},
    ],
)
def test_a_cache_that_is_no_redis(settings: Any, cache: Any) -> None:
    settings.CACHES = {"default": cache}
    assert list(found()) == ["tasks_app.E006"]


def test_the_backport_must_be_installed_before_django_6() -> None:
    with override_settings(INSTALLED_APPS=["tasks_app"]):
        ids = [message.id for message in check_settings()]
    assert ids == ([] if compat.APP is None else ["tasks_app.E007"])


@pytest.mark.parametrize("queues", ["default", [""], [1], ["x" * 201], {"a": 1}])
def test_queues_that_are_no_names(settings: Any, queues: Any) -> None:
    settings.TASKS = {
        "default": {"BACKEND": OURS},
        "mail": {"BACKEND": OURS, "QUEUES": queues},
    }
    [message] = found().values()
    assert message.id == "tasks_app.E008"
    assert 'TASKS["mail"]["QUEUES"]' in message.msg


@pytest.mark.parametrize("options", [{"speed": 1}, ["speed"]])
def test_options_that_nobody_knows(settings: Any, options: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": OURS, "OPTIONS": options}}
    [message] = found().values()
    assert message.id == "tasks_app.E009"
    assert "speed" in message.msg


def test_several_aliases_are_each_checked_and_the_engine_once(settings: Any) -> None:
    settings.TASK_LEASE_SECONDS = 0
    settings.TASKS = {
        "other": {"BACKEND": f"{compat.PACKAGE}.backends.dummy.DummyBackend"},
        "first": {"BACKEND": OURS, "QUEUES": "a"},
        "second": {"BACKEND": OURS, "OPTIONS": {"b": 1}},
        "default": {"BACKEND": OURS},
    }
    assert sorted(found()) == ["tasks_app.E001", "tasks_app.E008", "tasks_app.E009"]


def test_the_command_refuses_to_go_on(settings: Any) -> None:
    settings.TASK_LEASE_SECONDS = 0.5
    with pytest.raises(SystemCheckError, match=r"tasks_app\.E001.*TASK_LEASE_SECONDS"):
        call_command("check")
