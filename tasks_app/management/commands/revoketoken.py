"""`manage.py revoketoken TOKEN_OR_PREFIX`: the token stops working at once."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tasks_app.services.tokens import revoke_token


class Command(BaseCommand):
    help = "Revoke an API token, named whole or by its first 8 characters (which lists show)."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("token_or_prefix")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not revoke_token(options["token_or_prefix"]):
            raise CommandError("There is no such token; nothing was revoked.")
        self.stdout.write("Revoked.")
