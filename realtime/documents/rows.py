"""Documents in the database: made, found, listed; their access and their versions.

Everything here is synchronous and is called by way of `in_database`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from realtime.documents import access
from realtime.domain.permissions import Permission
from realtime.errors import DocumentExists, DocumentForbidden, DocumentNotFound
from realtime.models import Document, DocumentAccess, DocumentVersion
from tasks_app import api

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A document as a user sees it; `content` is the saved text, None in lists."""

    id: str
    title: str
    version: int
    updated_at: datetime
    permission: Permission
    content: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of documents, newest first, and where the next begins."""

    documents: list[Shown]
    next_cursor: str | None


def create(owner: User, *, document_id: str | None, title: str, content: str) -> Shown:
    """Make a document; raises DocumentExists when its id is taken, whosesoever it is."""
    document = Document(
        id=document_id or secrets.token_urlsafe(12), title=title, content=content, owner=owner
    )
    try:
        with transaction.atomic():
            document.save(force_insert=True)
            DocumentVersion.objects.create(document=document, version=1, content=content)
    except IntegrityError as error:
        raise DocumentExists from error
    return _shown(document, Permission.OWNER, with_content=True)


def find(viewer: api.Viewer, document_id: str, *needed: Permission) -> Shown:
    """Return a document; raises DocumentNotFound when the user may not see it.

    Raises DocumentForbidden when they may, but have none of the permissions that are `needed`.
    """
    document = Document.objects.filter(pk=document_id).defer("state").first()
    if document is None:
        raise DocumentNotFound
    permission = access.permissions_of(viewer, [document]).get(document_id)
    if permission is None:
        raise DocumentNotFound
    if needed and permission not in needed:
        raise DocumentForbidden
    return _shown(document, permission, with_content=True)


def listed(viewer: api.Viewer, cursor: str | None, limit: int) -> Listed:
    """Return a page of what the user may open."""
    rows = access.visible_to(viewer).defer("state", "content")
    if cursor is not None:
        micros, _, last = cursor.partition("-")
        moment = EPOCH + timedelta(microseconds=int(micros))
        rows = rows.filter(Q(created_at__lt=moment) | Q(created_at=moment, pk__lt=last))
    page = list(rows.order_by("-created_at", "-id")[: limit + 1])
    shown, more = page[:limit], page[limit:]
    permissions = access.permissions_of(viewer, shown)
    return Listed(
        [_shown(one, permissions[one.pk]) for one in shown if one.pk in permissions],
        _cursor(shown[-1]) if more else None,
    )


def rename(document_id: str, title: str) -> None:
    Document.objects.filter(pk=document_id).update(title=title, updated_at=timezone.now())


def delete(document_id: str) -> None:
    """Delete a document with all that belongs to it; its open sockets hear of it by the signal."""
    Document.objects.filter(pk=document_id).delete()


def who_may(document_id: str) -> list[tuple[str, Permission]]:
    """Return whom a document is shared with, by name (groups are the admin's)."""
    rows = DocumentAccess.objects.filter(document_id=document_id, user__isnull=False)
    pairs = rows.order_by("user__username").values_list("user__username", "permission")
    return [(str(name), Permission(permission)) for name, permission in pairs]


def share(document_id: str, username: str, permission: Permission) -> None:
    """Let a user read or write a document; raises DocumentNotFound, or LookupError for the user."""
    user = User.objects.filter(username=username).first()
    if user is None:
        raise LookupError
    try:
        with transaction.atomic():
            DocumentAccess.objects.update_or_create(
                document_id=document_id, user=user, defaults={"permission": permission.value}
            )
    except IntegrityError as error:  # deleted meanwhile
        raise DocumentNotFound from error


def unshare(document_id: str, username: str) -> bool:
    """Take it back; answer whether there was anything to take."""
    rows = DocumentAccess.objects.filter(document_id=document_id, user__username=username)
    found = list(rows)
    for row in found:
        row.delete()  # one by one: the signal tells open sockets
    return bool(found)


def versions(document_id: str) -> Sequence[tuple[int, datetime]]:
    """Return the versions that are kept, newest first."""
    rows = DocumentVersion.objects.filter(document_id=document_id)
    return list(rows.values_list("version", "created_at"))


def version(document_id: str, number: int) -> DocumentVersion:
    """Return one version; raises DocumentNotFound when it is not, or no longer, kept."""
    found = DocumentVersion.objects.filter(document_id=document_id, version=number).first()
    if found is None:
        raise DocumentNotFound("There is no such version, or it is not kept any more.")
    return found


def _shown(document: Document, permission: Permission, *, with_content: bool = False) -> Shown:
    return Shown(
        id=document.pk,
        title=document.title,
        version=document.version,
        updated_at=document.updated_at,
        permission=permission,
        content=document.content if with_content else None,
    )


def _cursor(document: Document) -> str:
    return f"{(document.created_at - EPOCH) // timedelta(microseconds=1)}-{document.pk}"
