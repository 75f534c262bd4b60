"""The board at `/`: a page for whoever is signed in; all that is live on it comes over the API."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.views.decorators.http import require_safe


@require_safe
@login_required
def board(request: HttpRequest) -> HttpResponse:
    user = request.user
    page = {
        "user": {
            "id": str(user.pk),
            "name": user.get_username(),
            "is_staff": user.is_staff and user.has_perm("tasks_app.view_task"),
        },
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
        "login_url": resolve_url(settings.LOGIN_URL),
    }
    return render(request, "board.html", {"page": page})
