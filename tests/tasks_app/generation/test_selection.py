"""Which model serves a task about a chat, and the reason that is recorded."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, Permission, User

from tasks_app.generation.configuration import TaskConfig
from tasks_app.generation.errors import ProviderError, UnknownModel
from tasks_app.generation.rights import Rights, prefer, rights_of
from tasks_app.generation.selection import Choice, choose
from tasks_app.models import AccessRule
from tests.support.fake_provider import FakeProvider

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

BOTH = TaskConfig(TASK_MODEL="small-local", TASK_MODEL_EXTERNAL="small-external")


@pytest.fixture
async def models(configured: FakeProvider, settings: Any) -> FakeProvider:
    configured.models = ["chat", "small-local", "small-external", "preferred", "overriding"]
    return configured


@sync_to_async
def user_in(*groups: str, name: str = "ada", **fields: Any) -> User:
    user = User.objects.create_user(name, **fields)
    user.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
    return user


@sync_to_async
def rule(subject: str, name: str, *groups: str) -> None:
    made = AccessRule.objects.create(subject=subject, name=name)
    made.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])


async def chosen(config: TaskConfig, user: User | None = None, kind: str = "title") -> Choice:
    user_id = None if user is None else str(user.pk)
    return await choose("chat", kind=kind, user_id=user_id, config=config)


@pytest.mark.parametrize(
    ("chat_type", "model", "reason"),
    [
        ("local", "small-local", "task model (local)"),
        ("external", "small-external", "task model (external)"),
    ],
)
async def test_the_chats_type_decides_between_the_task_models(
    models: FakeProvider, settings: Any, chat_type: str, model: str, reason: str
) -> None:
    settings.OPENAI_API_TYPE = [chat_type]
    choice = await chosen(BOTH)
    assert (choice.model, choice.reason) == (model, reason)


async def test_without_a_task_model_the_chats_own_serves(models: FakeProvider) -> None:
    assert await chosen(TaskConfig()) == Choice(model="chat", reason="chat model")


async def test_a_task_model_that_is_not_there_is_passed_over_and_named(
    models: FakeProvider,
) -> None:
    choice = await chosen(TaskConfig(TASK_MODEL_EXTERNAL="gone"))
    assert choice.model == "chat"
    assert choice.reason == "chat model: task model (external) gone is not available"


async def test_a_preference_stands_before_an_override_before_the_task_model(
    models: FakeProvider,
) -> None:
    user = await user_in()
    config = TaskConfig(
        TASK_MODEL_EXTERNAL="small-external",
        TASK_MODEL_PARAMS={"temperature": 0},
        TASK_KIND_OVERRIDES={
            "title": {"model": "overriding", "params": {"seed": 1}, "reasoning_effort": "low"}
        },
    )
    title, tags = await chosen(config, user), await chosen(config, user, "tags")
    assert (title.model, title.reason) == ("overriding", "kind override")
    assert title.params == {"temperature": 0, "seed": 1, "reasoning_effort": "low"}
    assert (tags.model, tags.params) == ("small-external", {"temperature": 0})

    await prefer(user, "preferred")
    title = await chosen(config, user)
    assert (title.model, title.reason) == ("preferred", "user preference")
    assert title.params == {"temperature": 0, "seed": 1, "reasoning_effort": "low"}
    assert (await chosen(config)).model == "overriding"  # nobody's task has nobody's preference


async def test_what_is_passed_over_is_named_but_for_hidden_models(models: FakeProvider) -> None:
    user = await user_in("staff of the house")
    await prefer(user, "gone")
    await rule("model", "small-external", "others")
    choice = await chosen(BOTH, user)
    assert choice.model == "chat"
    assert choice.reason == (
        "chat model: user preference gone is not available; task model (external) is not permitted"
    )
    assert (await chosen(BOTH)).model == "small-external"  # our own code may use all


async def test_a_task_about_a_hidden_model_does_not_run(models: FakeProvider) -> None:
    await rule("model", "chat", "others")
    with pytest.raises(UnknownModel) as unknown:
        await chosen(TaskConfig(), await user_in("staff of the house"))
    assert "chat" not in unknown.value.known
    assert "preferred" in unknown.value.known


async def test_a_chat_model_that_is_not_there_is_an_error(models: FakeProvider) -> None:
    with pytest.raises(UnknownModel):
        await choose("nothing", kind="title", user_id=None, config=BOTH)
    models.models_status = 500


async def test_when_nobody_can_be_asked_the_providers_error_is_raised(
    models: FakeProvider,
) -> None:
    models.models_status = 500
    with pytest.raises(ProviderError):
        await chosen(BOTH)


async def test_rights_that_were_read_already_are_not_read_again(
    models: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("tasks_app.generation.selection.rights_of")
    rights = Rights(task_model="preferred")
    choice = await choose("chat", kind="title", user_id="1", config=BOTH, rights=rights)
    assert choice.model == "preferred"


# --- rights ---------------------------------------------------------------------------------------


async def test_without_rules_everybody_may_use_everything() -> None:
    assert await rights_of(str((await user_in()).pk)) == Rights()
    assert await rights_of("no-such-user") == Rights()


async def test_a_rule_leaves_a_thing_to_its_groups() -> None:
    await rule("kind", "moa", "writers", "editors")
    await rule("model", "big", "editors")
    await rule("model", "retired")
    writer = await rights_of(str((await user_in("writers", name="w")).pk))
    assert writer.may_use_kind("moa")
    assert writer.closed_models == {"big", "retired"}
    stranger = await rights_of(str((await user_in(name="s")).pk))
    assert stranger.closed_kinds == {"moa"}
    assert not stranger.may_use_model("big")
    assert stranger.may_use_model("small")
    assert (await rights_of("no-such-user")).closed_models == {"big", "retired"}
    assert (await rights_of("99999")).closed_kinds == {"moa"}


async def test_staff_may_use_everything_and_other_people_of_the_admin_may_not() -> None:
    await rule("kind", "moa")
    boss = await user_in(name="boss", is_superuser=True)
    assert (await rights_of(str(boss.pk))).may_use_kind("moa")
    helper = await user_in(name="helper", is_staff=True)
    assert not (await rights_of(str(helper.pk))).may_use_kind("moa")
    view = await Permission.objects.aget(codename="view_task")
    await helper.user_permissions.aadd(view)
    assert (await rights_of(str(helper.pk))).may_use_kind("moa")
    helper.is_active = False
    await helper.asave()
    assert not (await rights_of(str(helper.pk))).may_use_kind("moa")
