"""What somebody may do with a document."""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """Each includes the ones before it; the owner's also to delete it and to say who may open it.

    Staff who may act on everything have the owner's, staff who may only look have READ.
    """

    READ = "read"
    WRITE = "write"
    OWNER = "owner"

    @property
    def may_write(self) -> bool:
        return self is not Permission.READ


_RANK = list(Permission)


def best(*permissions: Permission | None) -> Permission | None:
    """Return the one that includes the others; None when there is none."""
    return max((p for p in permissions if p is not None), key=_RANK.index, default=None)
