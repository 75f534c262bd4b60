"""Which kinds and models a user may use, and which model they prefer: read anew each time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from tasks_app.database import query
from tasks_app.generation.providers import ModelInfo
from tasks_app.models import AccessRule, UserPreference

CHAT = "chat"  # the chat completion, where rules name kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What is closed to a user, and the task model that they prefer ("": none)."""

    closed_kinds: frozenset[str] = frozenset()
    closed_models: frozenset[str] = frozenset()
    task_model: str = ""

    def may_use_kind(self, kind: str) -> bool:
        return kind not in self.closed_kinds

    def may_use_model(self, model_id: str) -> bool:
        return model_id not in self.closed_models

    def visible(self, models: Iterable[ModelInfo]) -> list[ModelInfo]:
        """Return the models that the user may use: of the others they do not learn."""
        return [model for model in models if self.may_use_model(model.id)]


async def rights_of(user_id: str | None) -> Rights:
    """Return the rights of a user at this moment; None is our own code, which may do all."""
    return Rights() if user_id is None else await query(rights_of_sync, user_id)


def rights_of_sync(user_id: str) -> Rights:
    """Do as `rights_of`, from synchronous code; a user that is not there has no group."""
    user = _user(user_id)
    closed = _closed(user)
    return Rights(
        closed_kinds=frozenset(closed[AccessRule.Subject.KIND]),
        closed_models=frozenset(closed[AccessRule.Subject.MODEL]),
        task_model=_preference(user),
    )


async def prefer(user: User, task_model: str) -> None:
    """Keep the task model that a user prefers; "" for none."""
    await query(
        UserPreference.objects.update_or_create, user=user, defaults={"task_model": task_model}
    )


def _user(user_id: str) -> User | None:
    try:
        users = get_user_model().objects.select_related("generation_preference")
        return users.filter(pk=user_id, is_active=True).first()
    except (ValueError, ValidationError):
        return None  # an id that this project's users cannot have


def _closed(user: User | None) -> dict[str, set[str]]:
    closed: dict[str, set[str]] = {subject: set() for subject in AccessRule.Subject.values}
    rules = list(AccessRule.objects.values_list("subject", "name", "groups"))
    if not rules or _is_exempt(user):
        return closed
    own = set() if user is None else set(user.groups.values_list("pk", flat=True))
    opened = {(subject, name) for subject, name, group in rules if group in own}
    for subject, name, _ in rules:
        if (subject, name) not in opened:
            closed[subject].add(name)
    return closed


def _is_exempt(user: User | None) -> bool:
    """Tell whether a user is staff, as everywhere: they see every task, and use every model."""
    if user is None or not (user.is_staff or user.is_superuser):
        return False
    return user.has_perm("tasks_app.view_task")


def _preference(user: User | None) -> str:
    preference: UserPreference | None = getattr(user, "generation_preference", None)
    return "" if preference is None else preference.task_model
