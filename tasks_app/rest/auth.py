"""Who calls: a bearer token's user, or the signed-in user of the browser's session.

Both are objects with an `async def __call__`: django-ninja awaits nothing else (a plain callable
that returns a coroutine would let everybody in).
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja.errors import AuthenticationError
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

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
        user = await api.user_for_token(token.strip())
        if user is None:
            raise AuthenticationError
        return Caller(user=user, viewer=await api.aviewer_for(user))


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
        return Caller(user=user, viewer=await api.aviewer_for(user))


def _check_csrf(request: HttpRequest) -> None:
    if request.content_type in FORM_TYPES:
        # Looking for a token in a form would read it, and its files, on the event loop.
        raise ApiError(400, "Send JSON, not a form.")
    if check_csrf(request) is not None:
        raise ApiError(403, CSRF_FAILED)
