"""The documentation of the frames and the frames themselves do not drift apart."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from realtime.domain import frame_tables, messages, server_frames
from tests.realtime.site import ROOT

PAGE = ROOT / "docs" / "websocket.md"


def test_the_page_is_up_to_date() -> None:
    call_command("framedocs", check=True)


def test_the_page_names_every_frame_and_every_code() -> None:
    page = PAGE.read_text()
    for kind in (*messages.FRAMES, *server_frames.FRAMES):
        assert f"| `{kind}` |" in page
    for code in server_frames.CODES:
        assert f"| `{code}` |" in page


def test_what_is_out_of_date_is_made_anew() -> None:
    page = PAGE.read_text()
    old = page.replace("| `room:join` |", "| `room:enter` |")
    assert old != page
    assert frame_tables.fill(old) == page


def test_a_page_without_a_place_for_the_tables_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        frame_tables.fill("# A page")
