"""`manage.py web`: one web instance."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string

from tasks_app.rest import attend
from tasks_app.supervisor.errors import StartRefused
from tasks_app.supervisor.ports import check_free, port_number, url
from tasks_app.supervisor.web_server import build_server


class Command(BaseCommand):
    help = "Serves HTTP and WebSockets: daphne with this project's limits."
    requires_migrations_checks = False

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument(
            "--port", type=port_number, default=settings.PORT, help="PORT in the environment, 8000"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        try:
            check_free(host, port)
        except StartRefused as refused:
            raise CommandError(str(refused)) from refused
        application = import_string(settings.ASGI_APPLICATION)
        server = build_server(
            application, host=host, port=port, output=sys.stdout, drain=attend.shut_down
        )
        self.stdout.write(f"web_started url={url(host, port)}")
        self.stdout.flush()  # whoever reads it through a pipe waits for it
        server.run()
        if server.failed or server.abort_start:
            raise CommandError(f"Cannot listen on {host} port {port}.")
