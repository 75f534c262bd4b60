"""Addresses of the pages."""

from __future__ import annotations

from django.urls import path

from realtime import pages

urlpatterns = [path("", pages.board, name="board")]
