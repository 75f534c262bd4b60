"""Addresses of the pages."""

from __future__ import annotations

from django.urls import path, re_path

from realtime import pages

urlpatterns = [
    path("", pages.board, name="board"),
    path("documents/", pages.documents, name="documents"),
    path("documents/editor.json", pages.editor, name="editor"),
    re_path(r"^documents/(?P<document_id>[A-Za-z0-9_-]{1,64})/$", pages.document, name="document"),
]
