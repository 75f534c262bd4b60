"""What the database has of a document's text: read, and written only over what was read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from realtime.documents.live import seed
from realtime.models import Document, DocumentVersion

# Versions are for undoing what nobody noticed at once: the newest ones, none very old.
VERSIONS_KEPT = 100
VERSION_AGE = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A document's row: `update` is its state, or made of its text; `sid` the last entry it has."""

    content: str
    state: bytes
    sid: str
    version: int

    @property
    def update(self) -> bytes:
        return self.state or seed(self.content)


def read(document_id: str) -> Saved | None:
    """Return what is saved of a document; None when it does not exist (any more)."""
    fields = ("content", "state", "sid", "version")
    row = Document.objects.filter(pk=document_id).values(*fields).first()
    return None if row is None else Saved(**{**row, "state": bytes(row["state"])})


def write(document_id: str, before: Saved, after: Saved) -> bool:
    """Replace the text, state and version that were read, all in one transaction.

    False when somebody else was faster, or the document is gone; nothing is changed then.
    """
    now = timezone.now()
    with transaction.atomic():
        same = Document.objects.filter(pk=document_id, sid=before.sid, version=before.version)
        changed = same.update(
            content=after.content,
            state=after.state,
            sid=after.sid,
            version=after.version,
            updated_at=now,
        )
        if not changed:
            return False
        if after.content != before.content:
            DocumentVersion.objects.create(
                document_id=document_id, version=after.version, content=after.content
            )
        outdated = Q(version__lte=after.version - VERSIONS_KEPT) | Q(
            created_at__lt=now - VERSION_AGE
        )
        kept = DocumentVersion.objects.filter(document_id=document_id)
        kept.filter(outdated).exclude(version=after.version).delete()
    return True
