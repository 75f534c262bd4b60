"""What Django refuses before a view is asked, and what fails around it: JSON for programs.

The project's `handler400` and `handler500`, and a middleware for the one refusal that they do not
get with DEBUG; people get Django's own pages from the templates.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware
from django.views import defaults

from tasks_app.rest.errors import UNEXPECTED, detail_response

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
UNKNOWN_HOST = "The host name of this address is not one of ALLOWED_HOSTS."
MALFORMED = "The request is malformed."


@sync_and_async_middleware
def known_host(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Refuse a program's request for a foreign host: with DEBUG Django shows people a page."""
    if iscoroutinefunction(get_response):

        async def aanswer(request: HttpRequest) -> HttpResponse:
            refusal = _foreign_host(request)
            return await get_response(request) if refusal is None else refusal

        return aanswer

    def answer(request: HttpRequest) -> HttpResponse:
        refusal = _foreign_host(request)
        return get_response(request) if refusal is None else refusal

    return answer


def _foreign_host(request: HttpRequest) -> HttpResponse | None:
    if not _is_from_a_program(request):
        return None
    try:
        request.get_host()
    except DisallowedHost:
        return detail_response(400, UNKNOWN_HOST)
    return None


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a suspicious request, such as one for a foreign host."""
    if not _is_from_a_program(request):
        return defaults.bad_request(request, exception)
    is_host = isinstance(exception, DisallowedHost)
    return detail_response(400, UNKNOWN_HOST if is_host else MALFORMED)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a failure outside of the API's own net, which Django has logged."""
    if not _is_from_a_program(request):
        return defaults.server_error(request)
    return detail_response(500, UNEXPECTED)


def _is_from_a_program(request: HttpRequest) -> bool:
    return request.path.startswith("/api/") or request.path in PROBES
