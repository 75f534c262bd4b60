"""Asking the project who may be in a room, and checking that it can be asked."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from realtime import access
from realtime.auth import Identity
from tests.realtime import club

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def clerk() -> Identity:
    user = await User.objects.acreate(username="clerk", is_staff=True)
    return Identity(user_id=str(user.pk), name=user.username)


FUNCTIONS = ("may_enter", "may_enter_async", "gives_awaitable", "asked")


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_sync_and_async_functions_are_asked_about_the_user_as_they_are(
    clerk: Identity, settings: Any, name: str
) -> None:
    settings.SIGNALBOX_ROOM_ACCESS = f"tests.realtime.club.{name}"
    assert await access.may_enter(clerk, "club:open")
    assert not await access.may_enter(clerk, "public:a")
    await User.objects.filter(pk=clerk.user_id).aupdate(is_staff=False)
    assert not await access.may_enter(clerk, "club:open")


@pytest.mark.parametrize("room", ["wrong:a", "club:open"])
async def test_a_function_that_raises_or_is_missing_denies_and_is_logged(
    clerk: Identity, settings: Any, caplog: pytest.LogCaptureFixture, room: str
) -> None:
    name = "may_enter" if room == "wrong:a" else "no_such_thing"
    settings.SIGNALBOX_ROOM_ACCESS = f"tests.realtime.club.{name}"
    assert not await access.may_enter(clerk, room)
    assert f"room_access_failed room={room}" in caplog.text


async def test_a_function_that_does_not_answer_in_time_denies(
    clerk: Identity,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(access, "ROOM_ACCESS_SECONDS", 0.05)
    settings.SIGNALBOX_ROOM_ACCESS = "tests.realtime.club.never_says"
    assert not await access.may_enter(clerk, "club:open")
    assert "room_access_failed" in caplog.text


async def test_a_user_who_may_not_sign_in_is_nobody(clerk: Identity) -> None:
    await User.objects.filter(pk=clerk.user_id).aupdate(is_active=False)
    with pytest.raises(access.NobodyThere):
        await access.may_enter(clerk, "public:a")
    with pytest.raises(access.NobodyThere):
        await access.may_enter(Identity(user_id="0", name="nobody"), "public:a")


@pytest.mark.parametrize(
    "path",
    ["no.such.module", "realtime.access.no_such_thing", "nodots", "", 5, "tests.realtime.club.ODD"],
)
def test_a_wrong_path_fails_the_check(settings: Any, path: Any) -> None:
    settings.SIGNALBOX_ROOM_ACCESS = path
    found = [message for message in run_checks() if message.id == "realtime.E001"]
    assert len(found) == 1
    assert repr(path) in found[0].msg
    with pytest.raises(SystemCheckError):
        call_command("check")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_right_path_passes_the_check(settings: Any, name: str) -> None:
    assert callable(getattr(club, name))
    settings.SIGNALBOX_ROOM_ACCESS = f"tests.realtime.club.{name}"
    assert not [message for message in run_checks() if message.id == "realtime.E001"]
