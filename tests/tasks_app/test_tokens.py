from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.management import CommandError, call_command
from django.utils import timezone

from tasks_app.models import ApiToken
from tasks_app.services.access import aviewer_for, viewer_for
from tasks_app.services.tokens import (
    create_token,
    revoke_token,
    user_for_token,
    users_for_tokens_sync,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="an-old-engine")


def _command(*argv: str, **options: Any) -> str:
    out = StringIO()
    call_command(*argv, stdout=out, **options)
    return out.getvalue()


async def test_a_token_finds_its_user_and_is_stored_only_as_a_hash(ada: User) -> None:
    token = await _create(ada, "laptop")
    assert await user_for_token(token) == ada
    row = await ApiToken.objects.aget()
    assert row.prefix == token[:8]
    assert token not in f"{row.name} {row.hash} {row.prefix}"
    assert row.expires_at is None


def test_many_tokens_find_their_users_in_one_query(
    ada: User, django_assert_num_queries: Any
) -> None:
    bob, idle = User.objects.create_user("bob"), User.objects.create_user("idle", is_active=False)
    tokens = {create_token(user): user for user in (ada, ada, bob)}
    expired = create_token(ada)
    ApiToken.objects.filter(prefix=expired[:8]).update(expires_at=timezone.now())
    wrong = [expired, create_token(idle), "", "x" * 201, "ü"]
    with django_assert_num_queries(1):
        assert users_for_tokens_sync([*tokens, *wrong]) == tokens
    with django_assert_num_queries(0):
        assert users_for_tokens_sync([""]) == {}


async def test_what_is_no_token_finds_nobody(ada: User) -> None:
    token = await _create(ada)
    row = await ApiToken.objects.aget()
    for wrong in ("", " ", token[:-1], token + "0", token.upper(), row.hash, "x" * 5000, "\ud800"):
        assert await user_for_token(wrong) is None, wrong


async def test_an_expired_token_and_an_inactive_users_token_do_not_work(ada: User) -> None:
    token = await _create(ada, expires_days=1)
    assert await user_for_token(token) == ada
    await ApiToken.objects.aupdate(expires_at=timezone.now() - timedelta(seconds=1))
    assert await user_for_token(token) is None
    await ApiToken.objects.aupdate(expires_at=None)
    await User.objects.aupdate(is_active=False)
    assert await user_for_token(token) is None


def test_a_token_is_revoked_whole_or_by_its_prefix(ada: User) -> None:
    first, second, kept = (create_token(ada) for _ in range(3))
    assert revoke_token(first) == 1
    assert revoke_token(second[:8]) == 1
    assert revoke_token(first) == revoke_token("") == revoke_token(kept[:7]) == 0
    assert [row.prefix for row in ApiToken.objects.all()] == [kept[:8]]


@pytest.mark.parametrize("days", [-1, 36_501, 10**9])
def test_an_impossible_expiry_is_refused(ada: User, days: int) -> None:
    with pytest.raises(ValueError, match="days"):
        create_token(ada, expires_days=days)


async def test_createtoken_prints_the_token_alone_and_revoketoken_ends_it(ada: User) -> None:
    printed = await sync_to_async(_command)("createtoken", "ada", "--name", "ci", "--expires", "7")
    token = printed.strip()
    assert printed == f"{token}\n"
    assert await user_for_token(token) == ada
    row = await ApiToken.objects.aget()
    assert row.name == "ci"
    assert row.expires_at is not None
    assert timedelta(days=6) < row.expires_at - timezone.now() <= timedelta(days=7)
    await sync_to_async(_command)("revoketoken", token[:8])
    assert await user_for_token(token) is None


@pytest.mark.usefixtures("ada")
def test_the_commands_say_what_is_wrong() -> None:
    with pytest.raises(CommandError, match="no user 'bob'"):
        _command("createtoken", "bob")
    with pytest.raises(CommandError, match="number of days"):
        _command("createtoken", "ada", "--expires", "soon")
    with pytest.raises(CommandError, match="no such token"):
        _command("revoketoken", "deadbeef")
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="not active"):
        _command("createtoken", "ada")
    assert not ApiToken.objects.exists()


def test_a_viewers_rights_follow_staff_and_permissions(ada: User) -> None:
    def rights() -> tuple[bool, bool]:
        viewer = viewer_for(User.objects.get(pk=ada.pk))
        assert (viewer.user_id, viewer.username) == (str(ada.pk), "ada")
        return viewer.can_view_all, viewer.can_change_all

    assert rights() == (False, False)
    ada.user_permissions.add(Permission.objects.get(codename="view_task"))
    assert rights() == (False, False), "the permission alone makes nobody staff"
    User.objects.update(is_staff=True)
    assert rights() == (True, False)
    ada.user_permissions.set([Permission.objects.get(codename="change_task")])
    assert rights() == (False, False), "who cannot see all cannot act on all"
    ada.user_permissions.set(Permission.objects.filter(codename__endswith="_task"))
    assert rights() == (True, True)
    User.objects.update(is_active=False)
    assert rights() == (False, False)


async def test_a_superuser_sees_and_changes_all_and_nobody_nothing(ada: User) -> None:
    ada.is_superuser = True
    viewer = await aviewer_for(ada)
    assert viewer.can_view_all
    assert viewer.can_change_all
    nobody = await aviewer_for(AnonymousUser())
    assert not nobody.may_see(nobody.user_id)
    assert not nobody.may_see(None)


async def _create(user: User, name: str = "", expires_days: int = 0) -> str:
    return await sync_to_async(create_token)(user, name, expires_days)
