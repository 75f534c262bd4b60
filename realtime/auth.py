"""Who a socket belongs to: what it offers at the handshake, and looking that up, again and again.

Only the identity is kept; rights are read anew at each action.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user, get_user_model
from django.contrib.auth.models import AbstractBaseUser, User
from django.db import Error as DatabaseError
from django.http import HttpRequest, parse_cookie

from realtime.gathering import Gathering
from realtime.scope import Scope, headers
from tasks_app import api

A = TypeVar("A")
T = TypeVar("T")

SUBPROTOCOL = "signalbox"
TOKEN_SUBPROTOCOL = "bearer."  # noqa: S105 a prefix, no secret


class IdentityUnknown(Exception):
    """The database does not answer, so nobody can say whose socket this is."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user by id and name; nothing about what they may do.

    `standing` changes with the user's password and groups.
    """

    user_id: str
    name: str
    standing: str = field(default="", repr=False)

    def is_outdated_by(self, present: Identity) -> bool:
        """Answer whether the same user's password or groups have changed since."""
        return self.user_id == present.user_id and self.standing != present.standing


@dataclass(frozen=True, slots=True)
class Cookie:
    """A Django session, by its key."""

    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """An API token as the client gave it."""

    text: str = field(repr=False)


Credential = Cookie | Token


def offered(scope: Scope, *, in_query: bool = False) -> Credential | None:
    """Return what the handshake signs in with; a token counts before a cookie.

    With `in_query` also by `?token=`, for clients that can do nothing else.
    """
    for value in headers(scope, b"authorization"):
        kind, _, text = value.partition(" ")
        if kind.lower() == "bearer":
            return Token(text.strip())
    for protocol in scope.get("subprotocols", []):
        if protocol.startswith(TOKEN_SUBPROTOCOL):
            return Token(protocol.removeprefix(TOKEN_SUBPROTOCOL))
    if in_query and (text := _query_token(scope)):
        return Token(text)
    cookies = parse_cookie("; ".join(headers(scope, b"cookie")))
    key = cookies.get(settings.SESSION_COOKIE_NAME)
    return Cookie(key) if key else None


def _query_token(scope: Scope) -> str:
    query: bytes = scope.get("query_string", b"")
    try:
        return parse_qs(query.decode("ascii"), max_num_fields=100).get("token", [""])[0].strip()
    except ValueError:
        return ""


def subprotocol(scope: Scope) -> str | None:
    return SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", []) else None


async def identify(credential: Credential) -> Identity | None:
    """Look up whose credential this is now; None when it is not, or no longer, anybody's.

    Raises IdentityUnknown when the database does not answer.
    """
    return await _credentials.find(credential)


async def identify_all(credentials: Collection[Credential]) -> dict[Credential, Identity]:
    """Look up whose credentials these are now, in one go; those that are nobody's are left out.

    Raises IdentityUnknown when the database does not answer.
    """
    try:
        found: dict[Credential, Identity] = await database_sync_to_async(_identities)(credentials)
    except DatabaseError as error:
        raise IdentityUnknown from error
    return found


async def active_user(identity: Identity) -> User | None:
    """Return the user as they are at this moment; None when they may not sign in.

    Raises IdentityUnknown when the database does not answer.
    """
    return await _users.find(identity.user_id)


async def active_users(user_ids: Collection[str]) -> dict[str, User]:
    """Return those of the users, by id, who may sign in, as they are at this moment.

    Raises IdentityUnknown when the database does not answer.
    """
    return await _looked_up(_active_users, user_ids)


async def viewer(identity: Identity) -> api.Viewer | None:
    """Return the user with the rights they have at this moment; None when they may not sign in.

    Raises IdentityUnknown when the database does not answer.
    """
    return await _looked_up(_viewer, identity)


async def _looked_up(look: Callable[[A], T], what: A) -> T:
    try:
        # One hop to the database's thread, which drops connections that the database has closed.
        found: T = await database_sync_to_async(look)(what)
    except DatabaseError as error:
        raise IdentityUnknown from error
    return found


# Many sign in at once after a restart, and each frame to a room asks for its sender.
_credentials = Gathering(identify_all, away=IdentityUnknown)
_users = Gathering(active_users, away=IdentityUnknown)


def _active_user(identity: Identity) -> User | None:
    return get_user_model().objects.filter(pk=identity.user_id, is_active=True).first()


def _active_users(user_ids: Collection[str]) -> dict[str, User]:
    users = get_user_model().objects.filter(pk__in=user_ids, is_active=True)
    return {str(user.pk): user for user in users}


def _viewer(identity: Identity) -> api.Viewer | None:
    user = _active_user(identity)
    return None if user is None else api.viewer_for(user)


def _identities(credentials: Collection[Credential]) -> dict[Credential, Identity]:
    tokens = [one.text for one in credentials if isinstance(one, Token)]
    users: dict[Credential, AbstractBaseUser] = {
        Token(text): user for text, user in api.users_for_tokens_sync(tokens).items()
    }
    for one in credentials:
        if isinstance(one, Cookie) and (user := _session_user(one.key)) is not None:
            users[one] = user
    groups = _groups({user.pk for user in users.values()})
    return {one: _identity(user, groups.get(user.pk, [])) for one, user in users.items()}


def _session_user(key: str) -> AbstractBaseUser | None:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = get_user(request)
    return user if isinstance(user, AbstractBaseUser) and user.is_active else None


def _groups(user_ids: set[Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    if user_ids:
        members = get_user_model().objects.filter(pk__in=user_ids, groups__isnull=False)
        for user_id, group_id in members.values_list("pk", "groups"):
            found.setdefault(user_id, []).append(group_id)
    return found


def _identity(user: AbstractBaseUser, groups: list[Any]) -> Identity:
    # The hash is Django's own means to end sessions at a new password: nothing leads back from it.
    parts = [user.get_session_auth_hash(), *sorted(map(str, groups))]
    standing = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return Identity(user_id=str(user.pk), name=user.get_username(), standing=standing)
