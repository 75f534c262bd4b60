"""The caller's own account."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from ninja import Router

from tasks_app.rest.auth import caller_of
from tasks_app.rest.schemas import ERRORS, Me

router = Router(tags=["account"])


@router.get("/me", response={200: Me, **ERRORS})
async def me(request: HttpRequest) -> JsonResponse:
    """Show who is signed in."""
    user = caller_of(request).user
    shown = {
        "id": str(user.pk),
        "username": user.get_username(),
        "is_staff": user.is_staff,
        "task_model": None,
    }
    return JsonResponse(shown)
