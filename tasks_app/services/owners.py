"""Names the users whom tasks belong to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DatabaseError


def usernames(user_ids: Iterable[str | None]) -> dict[str, str]:
    """Return the username of each id that is a user's; the others are left out.

    Tasks may name owners that no longer exist or never did, and are shown without a database too.
    """
    users = get_user_model()
    keys = (_key(user_id) for user_id in user_ids if user_id)
    wanted = {key for key in keys if key is not None}
    if not wanted:
        return {}
    field = users.USERNAME_FIELD
    try:
        return {
            str(key): str(name)
            for key, name in users.objects.filter(pk__in=wanted).values_list("pk", field)
        }
    except DatabaseError:
        return {}


def _key(user_id: str) -> Any:
    try:
        return get_user_model()._meta.pk.to_python(user_id)  # noqa: SLF001 Django's documented API
    except ValidationError:
        return None
