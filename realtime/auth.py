"""Who a socket belongs to: what it offers at the handshake, and looking that up, again and again.

Only the identity is kept; rights are read anew at each action.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from urllib.parse import parse_qs

from channels.db import aclose_old_connections, database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user, get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
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
    try:
        if isinstance(credential, Cookie):
            found: Identity | None = await database_sync_to_async(_session_identity)(credential.key)
            return found
        async with _database():
            user = await api.user_for_token(credential.text)
    except DatabaseError as error:
        raise IdentityUnknown from error
    return _identity(user)


async def viewer(identity: Identity) -> api.Viewer | None:
    """Return the user with the rights they have at this moment; None when they may not sign in.

    Raises IdentityUnknown when the database does not answer.
    """
    try:
        async with _database():
            users = get_user_model().objects
            user = await users.filter(pk=identity.user_id, is_active=True).afirst()
            return None if user is None else await api.aviewer_for(user)
    except DatabaseError as error:
        raise IdentityUnknown from error


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
    # Sockets are no requests: nobody else drops connections that the database has closed.
    await aclose_old_connections()
    try:
        yield
    finally:
        await aclose_old_connections()
