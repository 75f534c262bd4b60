"""What Django refuses before a view is asked, and what fails around it: JSON for programs.

The project's `handler400` and `handler500`; people get Django's own pages from the templates.
"""

from __future__ import annotations

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.views import defaults

from tasks_app.rest.errors import UNEXPECTED, detail_response

PROBES = frozenset({"/healthz", "/readyz"})
UNKNOWN_HOST = "The host name of this address is not one of ALLOWED_HOSTS."
MALFORMED = "The request is malformed."


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
