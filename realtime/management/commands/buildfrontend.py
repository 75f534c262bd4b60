"""`manage.py buildfrontend`: makes the bundle of the documents page's editor."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from realtime import bundle

POLITE = 10  # beside a start: the web server and the workers come first


class Command(BaseCommand):
    help = (
        "Installs the npm packages of the documents page's editor and bundles them into the "
        "static files, unless that was done already. `up` does it by itself."
    )
    requires_migrations_checks = False
    requires_system_checks = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--nice", action="store_true", help="leave the processor to others meanwhile"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, _end)
        if options["nice"]:
            os.nice(POLITE)
        if script := bundle.state().script:
            self.stdout.write(f"The editor is up to date: {script}")
            return
        self.stdout.write("Building the editor of the documents page …")
        try:
            script = bundle.build()
        except bundle.BuildFailed as failed:
            raise CommandError(str(failed)) from failed
        self.stdout.write(f"The editor is built: {script}")


def _end(_number: int, _frame: FrameType | None) -> None:
    """Leave by an exception, so that what was started is ended too."""
    sys.exit(128 + signal.SIGTERM)
