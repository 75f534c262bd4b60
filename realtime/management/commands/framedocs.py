"""Makes the tables of docs/websocket.md anew, for who has changed a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.domain import frame_tables

PAGE = Path("docs") / "websocket.md"


class Command(BaseCommand):
    help = "Makes the tables of frames in docs/websocket.md from the schemas."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; fail if the page is out of date"
        )

    def handle(self, *_: Any, check: bool, **__: Any) -> None:
        path = Path(settings.BASE_DIR) / PAGE
        try:
            page = path.read_text(encoding="utf-8")
            filled = frame_tables.fill(page)
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        if filled == page:
            self.stdout.write(f"{PAGE} is up to date.")
        elif check:
            raise CommandError(f"{PAGE} is out of date: run manage.py framedocs.")
        else:
            path.write_text(filled, encoding="utf-8")
            self.stdout.write(f"{PAGE} was changed.")
