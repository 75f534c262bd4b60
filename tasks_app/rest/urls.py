"""The REST API's addresses; included at the root of the project's."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path, re_path
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI

from tasks_app.rest import account, completions, health, tasks
from tasks_app.rest.auth import BearerAuth, SessionAuth
from tasks_app.rest.body import JSONParser
from tasks_app.rest.errors import add_handlers, detail_response

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]

rest = NinjaAPI(
    title="Signalbox",
    version="1",
    description="Background tasks and AI completions, to be watched and stopped from anywhere.",
    auth=[BearerAuth(), SessionAuth()],
    parser=JSONParser(),
    urls_namespace="rest",
)
add_handlers(rest)
# `/tasks/{kind}/completions` before `/tasks/{task_id}/…`: the first address that fits answers.
rest.add_router("/v1", completions.router)
rest.add_router("/v1", tasks.router)
rest.add_router("/v1", account.router)
rest.add_router("", tasks.reference)
for router in getattr(settings, "REST_ROUTERS", ()):
    rest.add_router("", import_string(router))


@csrf_exempt  # nothing is changed here, and a client with a token expects JSON
async def not_found(request: HttpRequest) -> HttpResponseBase:
    return detail_response(404, f"There is nothing at {request.path}; /api/docs lists what is.")


def _says_405_in_json(view: View) -> View:
    async def answer(*args: object, **kwargs: object) -> HttpResponseBase:
        response = await view(*args, **kwargs)
        if isinstance(response, HttpResponseNotAllowed):
            headers = {"Allow": response["Allow"]}
            return detail_response(405, f"Use one of: {response['Allow']}.", headers)
        return response

    # As django-ninja's own views: authentication checks CSRF, for sessions only.
    answer.csrf_exempt = True  # type: ignore[attr-defined]
    return answer


def _patterns() -> tuple[list[URLPattern | URLResolver], str, str]:
    found, app_name, namespace = rest.urls
    for pattern in found:
        if isinstance(pattern, URLPattern) and iscoroutinefunction(pattern.callback):
            pattern.callback = _says_405_in_json(pattern.callback)
    return found, app_name, namespace


urlpatterns = [
    path("healthz", _says_405_in_json(health.healthz), name="healthz"),
    path("readyz", _says_405_in_json(health.readyz), name="readyz"),
    path("api/", not_found),
    path("api/", _patterns()),
    re_path(r"^api(?:/|$)", not_found),
]
