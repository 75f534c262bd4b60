"""Who a socket belongs to: what it offers at the handshake, and looking that up, again and again.

Only the identity is kept; rights are read anew at each action.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module

from asgiref.sync import sync_to_async
from channels.db import aclose_old_connections
from django.conf import settings
from django.contrib.auth import get_user, get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db import Error as DatabaseError
from django.http import HttpRequest, parse_cookie

from realtime.scope import Scope, headers
from tasks_app import api

SUBPROTOCOL = "signalbox"
TOKEN_SUBPROTOCOL = "bearer."  # noqa: S105 a prefix, no secret


class IdentityUnknown(Exception):
    """The database does not answer, so nobody can say whose socket this is."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user by id and name; nothing about what they may do."""

    user_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Cookie:
    """A Django session, by its key."""

    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """An API token as the client gave it."""

    text: str = field(repr=False)


Credential = Cookie | Token


def offered(scope: Scope) -> Credential | None:
    """Return what the handshake signs in with; a token counts before a cookie."""
    for value in headers(scope, b"authorization"):
        kind, _, text = value.partition(" ")
        if kind.lower() == "bearer":
            return Token(text.strip())
    for protocol in scope.get("subprotocols", []):
        if protocol.startswith(TOKEN_SUBPROTOCOL):
            return Token(protocol.removeprefix(TOKEN_SUBPROTOCOL))
    cookies = parse_cookie("; ".join(headers(scope, b"cookie")))
    key = cookies.get(settings.SESSION_COOKIE_NAME)
    return Cookie(key) if key else None


def subprotocol(scope: Scope) -> str | None:
    return SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", []) else None


async def identify(credential: Credential) -> Identity | None:
    """Look up whose credential this is now; None when it is not, or no longer, anybody's.

    Raises IdentityUnknown when the database does not answer.
    """
    async with _database():
        if isinstance(credential, Cookie):
            found: Identity | None = await sync_to_async(_session_identity)(credential.key)
            return found
        return _identity(await api.user_for_token(credential.text))


async def active_user(identity: Identity) -> User | None:
    """Return the user as they are at this moment; None when they may not sign in.

    Raises IdentityUnknown when the database does not answer.
    """
    async with _database():
        return await _active_user(identity)


async def viewer(identity: Identity) -> api.Viewer | None:
    """Return the user with the rights they have at this moment; None when they may not sign in.

    Raises IdentityUnknown when the database does not answer.
    """
    async with _database():
        user = await _active_user(identity)
        return None if user is None else await api.aviewer_for(user)


async def _active_user(identity: Identity) -> User | None:
    users = get_user_model().objects
    return await users.filter(pk=identity.user_id, is_active=True).afirst()


def _session_identity(key: str) -> Identity | None:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return _identity(get_user(request))


def _identity(user: AbstractBaseUser | AnonymousUser | None) -> Identity | None:
    if user is None or not user.is_authenticated or not user.is_active:
        return None
    return Identity(user_id=str(user.pk), name=user.get_username())


@asynccontextmanager
async def _database() -> AsyncIterator[None]:
    """Look something up; raises IdentityUnknown when the database does not answer."""
    # Sockets are no requests: nobody else drops connections that the database has closed.
    await aclose_old_connections()
    try:
        yield
    except DatabaseError as error:
        raise IdentityUnknown from error
    finally:
        await aclose_old_connections()
