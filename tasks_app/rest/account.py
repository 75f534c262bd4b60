"""The caller's own account: who is signed in, and what they prefer."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.http import HttpRequest, JsonResponse
from ninja import Router

from tasks_app.generation.permission import find_model
from tasks_app.generation.rights import Rights, prefer, rights_of
from tasks_app.rest.auth import caller_of
from tasks_app.rest.schemas import ERRORS, Me, Preferences

router = Router(tags=["account"])


@router.get("/me", response={200: Me, **ERRORS})
async def me(request: HttpRequest) -> JsonResponse:
    """Show who is signed in, and the model that they prefer for tasks about their chats."""
    user = caller_of(request).user
    return _shown(user, await rights_of(str(user.pk)))


@router.patch("/me", response={200: Me, **ERRORS})
async def change_me(request: HttpRequest, body: Preferences) -> JsonResponse:
    """Prefer a model for tasks about one's own chats; null: as the administrator has it."""
    user = caller_of(request).user
    rights = await rights_of(str(user.pk))
    if "task_model" in body.model_fields_set:
        if body.task_model is not None:
            await find_model(body.task_model, rights)
        await prefer(user, body.task_model or "")
        rights = await rights_of(str(user.pk))
    return _shown(user, rights)


def _shown(user: User, rights: Rights) -> JsonResponse:
    # A model that was taken from the user is not shown, nor used.
    preferred = rights.task_model if rights.may_use_model(rights.task_model) else ""
    shown = {
        "id": str(user.pk),
        "username": user.get_username(),
        "is_staff": user.is_staff,
        "task_model": preferred or None,
    }
    return JsonResponse(shown)
