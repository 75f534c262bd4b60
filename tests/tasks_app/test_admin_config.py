"""The task configuration and the access rules in the admin."""

from __future__ import annotations

import json
from typing import Any

import pytest
from constance import settings as constance
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client
from django.urls import NoReverseMatch, reverse

from tasks_app import RedisDict
from tasks_app.generation.configuration import TaskConfig, current_sync, update_sync
from tasks_app.generation.options import OPTIONS
from tasks_app.models import AccessRule
from tests.conftest import point_at
from tests.tasks_app.test_admin import html, signed_in

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/tasks_app/taskconfiguration/"
RULES = "/admin/tasks_app/accessrule/"


@pytest.fixture
def browser() -> Client:
    return signed_in(User.objects.create_superuser("boss"))


def helper(name: str, *permissions: str) -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return signed_in(user)


def form(browser: Client, **changes: Any) -> dict[str, Any]:
    """Return what a browser sends for the page as it is shown, with some fields changed."""
    shown = browser.get(PAGE).context["form"]
    fields: dict[str, Any] = {"version": shown.initial["version"]}
    for name, option in OPTIONS.items():
        value = changes.get(name, shown.initial[name])
        if option.type is bool:
            fields |= {name: "on"} if value else {}
        elif option.type is dict and not isinstance(value, str):
            fields[name] = json.dumps(value)
        else:
            fields[name] = value
    return fields


def test_every_field_is_shown_with_its_help(browser: Client) -> None:
    RedisDict("models").update({"known-<model>": {"id": "known"}})
    page = html(browser.get(PAGE))
    for name, option in OPTIONS.items():
        assert f'name="{name}"' in page
        assert f'for="id_{name}"' in page
        assert option.help
    assert '<option value="known-&lt;model&gt;">' in page
    assert 'list="signalbox-models"' in page


def test_what_was_changed_is_in_force_and_written_down(browser: Client) -> None:
    fields = form(
        browser,
        TASK_MODEL="small",
        ENABLE_TAGS_GENERATION=False,
        TASK_MODEL_PARAMS={"temperature": 0},
        TITLE_GENERATION_PROMPT_TEMPLATE="Name it:\r\n{{MESSAGES:END:2}}",
    )
    page = html(browser.post(PAGE, fields, follow=True))
    assert "Changed: TASK_MODEL, TASK_MODEL_PARAMS, TITLE_GENERATION_PROMPT_TEMPLATE, " in page
    assert current_sync() == TaskConfig(
        TASK_MODEL="small",
        ENABLE_TAGS_GENERATION=False,
        TASK_MODEL_PARAMS={"temperature": 0},
        TITLE_GENERATION_PROMPT_TEMPLATE="Name it:\n{{MESSAGES:END:2}}",
    )
    entry = LogEntry.objects.get()
    assert "TASK_MODEL" in entry.get_change_message()
    assert browser.get(entry.get_admin_url()).url == PAGE
    assert "Task configuration" in html(browser.get("/admin/"))


def test_nothing_changed_is_nothing_written(browser: Client) -> None:
    assert "Nothing was changed" in html(browser.post(PAGE, form(browser), follow=True))
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("TASK_MODEL_PARAMS", '{"model": 1}', "belongs to the request"),
        ("TASK_MODEL_PARAMS", '{"x": NaN}', "NaN and Infinity are not"),
        ("TASK_MODEL_PARAMS", "{half", "Enter a valid JSON"),
        ("TASK_MODEL_PARAMS", "[" * 200_000, "Enter a valid JSON"),
        ("TASK_KIND_OVERRIDES", '{"poem": {}}', "is no kind; there are"),
        ("MODEL_CONCURRENCY", '{"m": 0}', "at least 1"),
        ("TITLE_GENERATION_PROMPT_TEMPLATE", "{{NAMES}}", "There is no variable {{NAMES}}"),
        ("REQUESTS_PER_MINUTE", "-1", "from 0 to"),
        ("REQUESTS_PER_MINUTE", "", "This field is required"),
        ("TASK_MODEL", "m" * 501, "at most 500 characters"),
    ],
)
def test_what_is_refused_is_said_at_its_field_and_nothing_is_written(
    browser: Client, name: str, value: str, why: str
) -> None:
    fields = form(browser, TASK_MODEL="small") | {name: value}
    response = browser.post(PAGE, fields)
    assert response.status_code == 200
    [said] = response.context["form"].errors[name]
    assert why in said
    assert 'class="errorlist"' in html(response)
    assert current_sync() == TaskConfig()


def test_two_who_change_it_at_once_do_not_undo_each_other(browser: Client) -> None:
    mine = form(browser, TASK_MODEL="mine")
    update_sync({"TASK_MODEL_EXTERNAL": "theirs"})
    assert "modified by someone else" in html(browser.post(PAGE, mine))
    assert current_sync().TASK_MODEL == ""


def test_who_may_only_look_cannot_change(browser: Client) -> None:
    fields = form(browser, TASK_MODEL="small")
    watcher = helper("watcher", "view_task")
    page = html(watcher.get(PAGE))
    assert 'name="TASK_MODEL"' in page
    assert 'type="submit"' not in page.split("<main")[-1].split("<form method")[-1]
    assert watcher.post(PAGE, fields).status_code == 403
    keeper = helper("keeper", "view_task", "change_task")
    assert keeper.post(PAGE, fields).status_code == 302
    assert current_sync().TASK_MODEL == "small"
    stranger = helper("stranger")
    assert stranger.get(PAGE).status_code == 403
    assert stranger.post(PAGE, fields).status_code == 403


def test_the_page_works_without_redis(browser: Client, settings: Any, own_redis: Any) -> None:
    point_at(settings, own_redis.url, "gone")
    own_redis.kill()
    assert browser.get(PAGE).status_code == 200


def test_first_values_of_the_environment_are_shown(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {**constance.CONFIG, "TASK_MODEL": ("from-env", "", "TASK_MODEL")}
    monkeypatch.setattr(constance, "CONFIG", given)
    assert 'value="from-env"' in html(browser.get(PAGE))


def test_the_librarys_own_page_is_not_there() -> None:
    with pytest.raises(NoReverseMatch):
        reverse("admin:constance_config_changelist")


def test_the_whole_database_can_be_dumped_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("dumpdata", "tasks_app")
    assert capsys.readouterr().out == "[]"


# --- access rules ---------------------------------------------------------------------------------


def test_a_rule_is_made_for_groups(browser: Client) -> None:
    writers = Group.objects.create(name="writers")
    made = {"subject": "kind", "name": "moa", "groups": [writers.pk]}
    assert browser.post(f"{RULES}add/", made).status_code == 302
    assert browser.post(f"{RULES}add/", {"subject": "model", "name": "big"}).status_code == 302
    page = html(browser.get(RULES))
    assert "writers" in page
    assert "staff alone" in page


def test_a_rule_about_no_kind_or_made_twice_is_refused(browser: Client) -> None:
    refused = html(browser.post(f"{RULES}add/", {"subject": "kind", "name": "poem"}))
    assert "There is no such kind; there are: chat, title" in refused
    AccessRule.objects.create(subject="model", name="big")
    again = html(browser.post(f"{RULES}add/", {"subject": "model", "name": "big"}))
    assert "already exists" in again
    assert AccessRule.objects.count() == 1
