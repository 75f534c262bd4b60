"""The realtime layer in the admin: sessions and model usage live from Redis, and documents."""

from __future__ import annotations

from realtime import admin_documents, admin_live

__all__ = ["admin_documents", "admin_live"]
