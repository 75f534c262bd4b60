"""Hears from Django that somebody's rights changed: tokens, users, sessions, permissions.

`QuerySet.update()` and changes by other programs send no signal.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.utils import timezone

from tasks_app.models import ApiToken
from tasks_app.services.revocation import announce

EVERYBODY = ""
# What signing in writes into the user changes no right.
HARMLESS = frozenset({"last_login"})


def connect() -> None:
    """Connect the receivers, once."""
    for receiver, signal, sender in (
        (_token_changed, post_save, ApiToken),
        (_token_changed, post_delete, ApiToken),
        (_user_saved, post_save, User),
        (_user_deleted, post_delete, User),
        (_session_deleted, post_delete, Session),
        (_group_deleted, post_delete, Group),
        (_user_granted, m2m_changed, User.groups.through),
        (_user_granted, m2m_changed, User.user_permissions.through),
        (_group_granted, m2m_changed, Group.permissions.through),
    ):
        signal.connect(receiver, sender=sender)


def _token_changed(instance: ApiToken, created: bool = False, **_: Any) -> None:
    if not created:
        announce(str(instance.user_id))


def _user_saved(
    instance: User, created: bool, update_fields: frozenset[str] | None, **_: Any
) -> None:
    if not created and not (update_fields and update_fields <= HARMLESS):
        announce(str(instance.pk))


def _user_deleted(instance: User, **_: Any) -> None:
    announce(str(instance.pk))


def _session_deleted(instance: Session, **_: Any) -> None:
    # Signing out deletes it, and so does a new password elsewhere. Of outdated ones nobody hears:
    # they are cleared away by the thousand.
    user_id = instance.get_decoded().get(SESSION_KEY)
    if user_id and instance.expire_date > timezone.now():
        announce(str(user_id))


def _group_deleted(**_: Any) -> None:
    announce(EVERYBODY)


def _user_granted(instance: User | object, action: str, reverse: bool, **_: Any) -> None:
    if action.startswith("post_"):
        announce(str(instance.pk) if isinstance(instance, User) and not reverse else EVERYBODY)


def _group_granted(action: str, **_: Any) -> None:
    if action.startswith("post_"):
        announce(EVERYBODY)
