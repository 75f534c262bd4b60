"""Whatever takes a right away through Django is announced to every process, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import Client
from django.utils import timezone

from tasks_app import api
from tasks_app.models import ApiToken
from tasks_app.services.tokens import create_token, revoke_token
from tests.conftest import point_at
from tests.support.eventually import eventually

pytestmark = pytest.mark.django_db(transaction=True)


def make() -> User:
    user = User.objects.create_user("ada", password="the-ada-password")
    create_token(user)
    user.groups.add(Group.objects.create(name="signallers"))
    return user


def sign_out(user: User) -> None:
    client = Client()
    client.force_login(user)
    client.post("/accounts/logout/")


def revoke(user: User) -> None:
    revoke_token(user.api_tokens.get().prefix)


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


def permission() -> Permission:
    return Permission.objects.get(codename="view_task")


OF_ONE: dict[str, Callable[[User], Any]] = {
    "token revoked": revoke,
    "token changed": lambda user: user.api_tokens.get().save(),
    "deactivated": deactivate,
    "deleted": lambda user: user.delete(),
    "signed out": sign_out,
    "permission given": lambda user: user.user_permissions.add(permission()),
    "out of a group": lambda user: user.groups.clear(),
}
OF_MANY: dict[str, Callable[[User], Any]] = {
    "group's permission": lambda user: user.groups.get().permissions.add(permission()),
    "group emptied": lambda user: user.groups.get().user_set.clear(),
    "group deleted": lambda user: user.groups.get().delete(),
}


async def heard(change: Callable[[User], Any]) -> tuple[str, list[str | None]]:
    """Return the user's id and what was announced of the change."""
    user = await sync_to_async(make)()
    user_id = str(user.pk)
    told: list[str | None] = []
    async with api.listen_access(told.append):
        await sync_to_async(change)(user)
        # After it: what was published before has arrived by then.
        await sync_to_async(revoke_other)()
        await eventually(lambda: _has(told, OTHER))
    return user_id, [one for one in told if one != OTHER]


OTHER = "999"


def revoke_other() -> None:
    other = User.objects.create(pk=int(OTHER), username="other")
    create_token(other)
    ApiToken.objects.get(user=other).delete()


async def _has(told: list[str | None], wanted: str) -> bool:
    return wanted in told


@pytest.mark.parametrize("what", OF_ONE)
async def test_a_change_of_one_users_rights_names_the_user(engine: None, what: str) -> None:
    user_id, told = await heard(OF_ONE[what])
    assert set(told) == {user_id}


@pytest.mark.parametrize("what", OF_MANY)
async def test_a_change_of_many_users_rights_names_nobody(engine: None, what: str) -> None:
    _, told = await heard(OF_MANY[what])
    assert "" in told


def sign_in(user: User) -> None:
    Client().force_login(user)


def clear_an_outdated_session(user: User) -> None:
    session = SessionStore()
    session["_auth_user_id"] = str(user.pk)
    session.create()
    Session.objects.update(expire_date=timezone.now() - timedelta(days=1))
    Session.objects.all().delete()


def roll_back(user: User) -> None:
    with transaction.atomic():
        deactivate(user)
        transaction.set_rollback(True)


@pytest.mark.parametrize("change", [sign_in, clear_an_outdated_session, roll_back])
async def test_what_takes_no_right_is_not_announced(
    engine: None, change: Callable[[User], Any]
) -> None:
    _, told = await heard(change)
    assert told == []


def test_without_redis_the_change_is_made_all_the_same(settings: Any, tmp_path: Any) -> None:
    user = make()
    point_at(settings, f"unix://{tmp_path / 'nothing'}", "none")
    deactivate(user)
    assert not User.objects.get().is_active
