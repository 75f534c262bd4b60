"""Hears from Django that documents or rights to them changed, and tells who has them open.

`QuerySet.update()` and changes by other programs send no signal; open sockets look from time to
time by themselves.
"""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save

from realtime.models import Document, DocumentAccess
from realtime.store import documents as store
from tasks_app import api
from tasks_app.errors import StoreUnavailable

log = logging.getLogger(__name__)

MANY = ""


def connect() -> None:
    """Connect the receivers, once."""
    post_save.connect(_access_changed, sender=DocumentAccess)
    post_delete.connect(_access_changed, sender=DocumentAccess)
    post_save.connect(_document_saved, sender=Document)
    post_delete.connect(_document_deleted, sender=Document)


def _access_changed(instance: DocumentAccess, **_: Any) -> None:
    api.announce_access(MANY if instance.user_id is None else str(instance.user_id))


def _document_saved(created: bool, **_: Any) -> None:
    # Another owner, perhaps. Edits are saved without a signal.
    if not created:
        api.announce_access(MANY)


def _document_deleted(instance: Document, **_: Any) -> None:
    document_id = str(instance.pk)
    transaction.on_commit(lambda: _drop(document_id), robust=True)


def _drop(document_id: str) -> None:
    try:
        store.drop_sync(document_id)
    except StoreUnavailable:
        # Rooms find out by the next question about rights, the periodic job removes the log.
        log.warning("deletion_unannounced document_id=%s", document_id)
