"""The pages for whoever is signed in; all that is live on them comes over the API."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render, resolve_url
from django.templatetags.static import static
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from realtime import bundle


@require_safe
@login_required
def board(request: HttpRequest) -> HttpResponse:
    return render(request, "board.html", {"page": _page(request)})


@require_safe
@login_required
def documents(request: HttpRequest) -> HttpResponse:
    return render(request, "documents.html", {"page": _page(request)})


@require_safe
@login_required
def document(request: HttpRequest, document_id: str) -> HttpResponse:
    """Show the editor; who may not see the document, or misspelt it, is told so by the API."""
    page = _page(request) | {"document": document_id}
    return render(request, "document.html", {"page": page})


@require_safe
@never_cache
def editor(request: HttpRequest) -> JsonResponse:
    """Say where the editor's bundle is, or why there is none: the page asks until it is there."""
    if not request.user.is_authenticated:
        return JsonResponse({"detail": "You are not signed in."}, status=401)
    state = bundle.state()
    return JsonResponse(
        {
            "script": static(state.script) if state.script else "",
            "building": state.building,
            "problem": state.problem,
        }
    )


def _page(request: HttpRequest) -> dict[str, Any]:
    user = request.user
    return {
        "user": {
            "id": str(user.pk),
            "name": user.get_username(),
            "is_staff": user.is_staff and user.has_perm("tasks_app.view_task"),
        },
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
        "login_url": resolve_url(settings.LOGIN_URL),
    }
