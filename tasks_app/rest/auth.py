"""Who calls: a bearer token's user, or the signed-in user of the browser's session.

Both are objects with an `async def __call__`: django-ninja awaits nothing else (a plain callable
that returns a coroutine would let everybody in).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from django.conf import settings
from django.contrib.auth import aget_user
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponseForbidden
from django.middleware.csrf import CsrfViewMiddleware
from ninja.errors import AuthenticationError
from ninja.security.base import AuthBase

from tasks_app import api
from tasks_app.rest.errors import ApiError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FORM_TYPES = frozenset({"multipart/form-data", "application/x-www-form-urlencoded"})
CSRF_FAILED = "The CSRF check failed: send the value of the csrftoken cookie as X-CSRFToken."


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The signed-in user of a request, and what they may see and act on."""

    user: User
    viewer: api.Viewer
    look_again: Callable[[], Awaitable[User | None]]

    async def again(self) -> api.Viewer | None:
        """Return what they may do at this moment; None when they are not signed in any more."""
        user = await self.look_again()
        return None if user is None or user.pk != self.user.pk else await api.aviewer_for(user)


def caller_of(request: HttpRequest) -> Caller:
    """Return the caller that authentication left on the request."""
    caller = getattr(request, "auth", None)
    if not isinstance(caller, Caller):
        raise AuthenticationError
    return caller


class BearerAuth(AuthBase):
    """`Authorization: Bearer <token>`; a bad one is refused, whoever is signed in besides."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    async def __call__(self, request: HttpRequest) -> Caller | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        look = partial(api.user_for_token, token.strip())
        user = await look()
        if user is None:
            raise AuthenticationError
        return Caller(user=user, viewer=await api.aviewer_for(user), look_again=look)


class SessionAuth(AuthBase):
    """The session cookie, with the CSRF check for whatever changes something."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = settings.SESSION_COOKIE_NAME
    csrf = True  # the documentation page then sends the token

    async def __call__(self, request: HttpRequest) -> Caller | None:
        user = await request.auser()
        if not isinstance(user, User) or not user.is_active:
            return None
        if request.method not in SAFE_METHODS:
            _check_csrf(request)
        look = partial(_user_of_session, request.session.session_key)
        return Caller(user=user, viewer=await api.aviewer_for(user), look_again=look)


async def _user_of_session(key: str | None) -> User | None:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = await aget_user(request)
    return user if isinstance(user, User) and user.is_active else None


class _Csrf(CsrfViewMiddleware):
    """Django's check, without its page: that is for people, and may read the database."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponseForbidden:  # noqa: ARG002
        return HttpResponseForbidden()


def _check_csrf(request: HttpRequest) -> None:
    if request.content_type in FORM_TYPES:
        # Looking for a token in a form would read it, and its files, on the event loop.
        raise ApiError(400, "Send JSON, not a form.")
    check = _Csrf(lambda _: HttpResponseForbidden())
    request.csrf_processing_done = False  # type: ignore[attr-defined] # Django's: not checked yet
    check.process_request(request)
    if check.process_view(request, HttpResponseForbidden, (), {}) is not None:
        raise ApiError(403, CSRF_FAILED)
