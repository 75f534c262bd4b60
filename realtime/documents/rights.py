"""What the users in a room may do with its document: read anew at most once a second, in one query.

A change that came through Django's signals is looked at at once (`forget`). While the database is
away, where nobody can change a right either, the last known ones count.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from django.db import Error as DatabaseError

from realtime.documents import access
from realtime.documents.database import in_database
from realtime.domain.permissions import Permission

log = logging.getLogger(__name__)

FRESH_SECONDS: Final = 0.8  # a change takes effect within a second
ANSWER_SECONDS: Final = 2.0


class Rights:
    """The permissions of the users in one room."""

    def __init__(self, document_id: str) -> None:
        self._document_id = document_id
        self._known: dict[str, tuple[Permission | None, float]] = {}
        self.is_forgotten = False

    def forget(self) -> None:
        """Believe nothing any more: something may have changed."""
        self.is_forgotten = True

    def may_write(self, user_id: str | None) -> bool:
        permission = self._permission(user_id)
        return permission is not None and permission.may_write

    def may_read(self, user_id: str | None) -> bool:
        return self._permission(user_id) is not None

    def _permission(self, user_id: str | None) -> Permission | None:
        if user_id is None:
            return Permission.OWNER
        return self._known.get(user_id, (None, 0.0))[0]

    async def know(self, user_ids: Iterable[str]) -> bool:
        """Look up those that are not known freshly; False when the document is gone."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        outdated = [
            user_id
            for user_id in user_ids
            if self.is_forgotten or self._known.get(user_id, (None, 0.0))[1] + FRESH_SECONDS < now
        ]
        self.is_forgotten = False
        if not outdated:
            return True
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await in_database(access.permissions_on, self._document_id, outdated)
        except (DatabaseError, TimeoutError):
            log.warning("rights_unknown document_id=%s", self._document_id)
            found = {u: p for u in outdated if (p := self._permission(u)) is not None}
        if found is None:
            return False
        self._known |= {user_id: (found.get(user_id), loop.time()) for user_id in outdated}
        return True

    def keep(self, user_ids: set[str]) -> None:
        """Forget those who have left."""
        self._known = {u: known for u, known in self._known.items() if u in user_ids}
