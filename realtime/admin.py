"""The realtime layer in the admin."""

from __future__ import annotations

from realtime import admin_documents

__all__ = ["admin_documents"]
