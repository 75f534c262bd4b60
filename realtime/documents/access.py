"""Who may do what with a document, read anew from the database at each question."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from realtime.domain.permissions import Permission, best
from realtime.models import Document, DocumentAccess
from tasks_app import api


def visible_to(viewer: api.Viewer) -> QuerySet[Document]:
    """Return the documents that the user may open."""
    if viewer.can_view_all:
        return Document.objects.all()
    own = Q(owner_id=viewer.user_id)
    shared = Q(access__user_id=viewer.user_id) | Q(access__group__user=viewer.user_id)
    return Document.objects.filter(own | shared).distinct()


def permissions_of(viewer: api.Viewer, documents: Iterable[Document]) -> dict[str, Permission]:
    """Return what the user may do with each of these; those that are not theirs are missing."""
    owners = {document.pk: document.owner_id for document in documents}
    found: dict[str, Permission | None] = {
        pk: best(_of_staff(viewer), Permission.OWNER if str(owner) == viewer.user_id else None)
        for pk, owner in owners.items()
    }
    mine = Q(user_id=viewer.user_id) | Q(group__user=viewer.user_id)
    granted = DocumentAccess.objects.filter(mine, document_id__in=owners)
    for pk, permission in granted.values_list("document_id", "permission"):
        found[pk] = best(found[pk], Permission(permission))
    return {pk: permission for pk, permission in found.items() if permission is not None}


def permissions_on(document_id: str, user_ids: Iterable[str]) -> dict[str, Permission] | None:
    """Return what each of these users may do with a document; None when it does not exist."""
    owner_id = Document.objects.filter(pk=document_id).values_list("owner_id", flat=True).first()
    if owner_id is None:
        return None
    users = list(User.objects.filter(pk__in=list(user_ids), is_active=True))
    found: dict[str, Permission | None] = {
        str(user.pk): best(
            _of_staff(api.viewer_for(user)), Permission.OWNER if user.pk == owner_id else None
        )
        for user in users
    }
    granted = DocumentAccess.objects.filter(document_id=document_id)
    by_user = granted.filter(user__in=users).values_list("user_id", "permission")
    by_group = granted.filter(group__user__in=users).values_list("group__user", "permission")
    for user_id, permission in (*by_user, *by_group):
        if str(user_id) in found:
            found[str(user_id)] = best(found[str(user_id)], Permission(permission))
    return {user_id: permission for user_id, permission in found.items() if permission is not None}


def _of_staff(viewer: api.Viewer) -> Permission | None:
    if viewer.can_change_all:
        return Permission.OWNER
    return Permission.READ if viewer.can_view_all else None
