"""Announces that a user's rights may have changed, so that open streams look at them again."""

from __future__ import annotations

import logging

from django.db import transaction

from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys, scripts

log = logging.getLogger(__name__)


def announce(user_id: str) -> None:
    """Tell every process, once the change is committed; "" when it may be anybody's.

    When Redis does not answer nothing is raised: open streams look from time to time by themselves.
    """
    transaction.on_commit(lambda: _tell(user_id), robust=True)


def _tell(user_id: str) -> None:
    try:
        client.run(scripts.announce(keys.current().prefix, user_id))
    except StoreUnavailable:
        log.warning("revocation_unannounced user_id=%s", user_id)
