"""What prompt templates may say of a user."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from tasks_app.database import query


async def values_of(user_id: str) -> dict[str, str]:
    """Return USER_NAME, USER_EMAIL and USER_GROUPS of a user; {} for one that is not there."""
    return await query(values_of_sync, user_id)


def values_of_sync(user_id: str) -> dict[str, str]:
    """Do as `values_of`, from synchronous code."""
    if not user_id:
        return {}
    try:
        user = get_user_model().objects.filter(pk=user_id).first()
    except (ValueError, ValidationError):
        return {}  # an id that this project's users cannot have
    if user is None:
        return {}
    return {
        "USER_NAME": user.get_full_name() or user.get_username(),
        "USER_EMAIL": getattr(user, "email", ""),
        "USER_GROUPS": ", ".join(user.groups.order_by("name").values_list("name", flat=True)),
    }
