"""`manage.py up`: everything in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandError

from tasks_app.supervisor.child import Child, OneShot, Program
from tasks_app.supervisor.console import Console
from tasks_app.supervisor.embedded import EmbeddedRedis
from tasks_app.supervisor.errors import StartRefused
from tasks_app.supervisor.first_run import SignIn, ensure_superuser
from tasks_app.supervisor.ports import check_free, port_number, until_listening, url
from tasks_app.supervisor.redis_server import RedisServer
from tasks_app.supervisor.supervisor import supervise

MAX_WORKERS = 256
WORKER_GRACE = 10
WORKER_KILL_SECONDS = 18.0  # its grace, handing back what is left, and closing
WEB_KILL_SECONDS = 10.0
START_SECONDS = 60.0
BUILD = "buildfrontend"  # the pages' own command, where they are installed; it says what it does
BUILD_KILL_SECONDS = 3.0


class Command(BaseCommand):
    help = (
        "Starts Redis unless REDIS_URL or REDIS_SENTINELS is set, migrates, makes the first "
        "superuser, and runs the web server and task workers until Ctrl-C."
    )
    requires_migrations_checks = False

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument(
            "--port", type=port_number, default=settings.PORT, help="PORT in the environment, 8000"
        )
        parser.add_argument("--workers", type=_count, default=1, help="task workers (1)")

    def handle(self, *_args: Any, **options: Any) -> None:
        console = Console(sys.stdout)
        try:
            check_free(options["host"], options["port"])
            redis = _embedded_redis(console)
            call_command("migrate", interactive=False, verbosity=0)
            sign_in = ensure_superuser()
            asyncio.run(_run(console, redis, sign_in, options))
        except StartRefused as refused:
            raise CommandError(str(refused)) from refused
        except KeyboardInterrupt:  # before the children: nothing is left to stop
            sys.exit(130)


async def _run(
    console: Console, redis: EmbeddedRedis | None, sign_in: SignIn, options: dict[str, Any]
) -> None:
    host, port = options["host"], options["port"]
    told = False

    async def started() -> None:
        nonlocal told
        if not await until_listening(host, port, within=START_SECONDS):
            console.say(f"the web server does not answer yet after {START_SECONDS:g} s")
        console.say(f"Signalbox is at {url(host, port)}")
        console.say(sign_in.sentence())
        console.say("Ctrl-C stops everything")
        told = True

    children = [Child(program, console) for program in _programs(host, port, options["workers"])]
    if BUILD in get_commands():  # last, and waited for by nobody
        children.append(OneShot(_ours("frontend", BUILD_KILL_SECONDS, BUILD, "--nice"), console))
    try:
        await supervise(redis=redis, children=children, console=console, started=started)
    finally:
        if not told and sign_in.password:  # a generated password is never shown again
            console.say(sign_in.sentence())


def _embedded_redis(console: Console) -> EmbeddedRedis | None:
    if not settings.EMBEDDED_REDIS:
        return None
    place = RedisServer(data=settings.EMBEDDED_REDIS_DIR, socket=settings.EMBEDDED_REDIS_SOCKET)
    return EmbeddedRedis(place, console)


def _ours(name: str, grace: float, *words: str) -> Program:
    manage = (sys.executable, str(settings.BASE_DIR / "manage.py"))
    return Program(name=name, command=(*manage, *words), grace=grace, folder=settings.BASE_DIR)


def _programs(host: str, port: int, workers: int) -> list[Program]:
    return [
        _ours("web", WEB_KILL_SECONDS, "web", "--host", host, "--port", str(port)),
        *(
            _ours(
                f"worker-{number}", WORKER_KILL_SECONDS,
                "taskworker", "--name", f"worker-{number}", "--grace", str(WORKER_GRACE),
            )
            for number in range(1, workers + 1)
        ),
    ]  # fmt: skip


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_WORKERS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers, 1…{MAX_WORKERS}")
    return int(text)
