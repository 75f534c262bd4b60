"""`manage.py createtoken USERNAME`: prints a new API token, once."""

from __future__ import annotations

import argparse
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from tasks_app.services.tokens import MAX_EXPIRES_DAYS, create_token


class Command(BaseCommand):
    help = "Make an API token for a user and print it, alone, once: only its hash is stored."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="", help="what the token is for; lists show it")
        parser.add_argument(
            "--expires", type=_days, default=0, metavar="DAYS", help="0 (the default): never"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        username: str = options["username"]
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}.")
        if not user.is_active:
            raise CommandError(f"The user {username!r} is not active: the token would not work.")
        self.stdout.write(create_token(user, options["name"], options["expires"]))


def _days(text: str) -> int:
    days = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= days <= MAX_EXPIRES_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days, 0…{MAX_EXPIRES_DAYS}")
    return days
