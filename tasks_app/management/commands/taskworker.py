"""`manage.py taskworker`: one worker instance."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from argparse import ArgumentParser
from importlib import import_module
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import module_has_submodule

from tasks_app import api
from tasks_app.worker.worker import Worker

log = logging.getLogger("tasks_app.worker")


class Command(BaseCommand):
    help = (
        "Executes queued tasks, obeys stops, promotes delayed tasks, recovers orphans. "
        "SIGTERM or Ctrl-C: finishes or hands back what runs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--queue",
            action="append",
            metavar="Q",
            help="serve this queue (repeatable; default: default)",
        )
        parser.add_argument("--concurrency", type=int, default=100, help="tasks at a time (100)")
        parser.add_argument(
            "--grace", type=float, default=10.0, metavar="SECONDS",
            help="how long running tasks may take to finish at shutdown (10)",
        )  # fmt: skip
        parser.add_argument("--name", default="", help="shown with each task (default: host name)")

    def handle(self, **options: Any) -> None:
        if options["concurrency"] < 1:
            raise CommandError("--concurrency is at least 1.")
        if options["grace"] < 0:
            raise CommandError("--grace is a number of seconds, at least 0.")
        load_task_modules()
        asyncio.run(work(options))


def load_task_modules() -> None:
    """Import every installed app's `tasks` module, so that its definitions are known."""
    for config in apps.get_app_configs():
        if config.module is not None and module_has_submodule(config.module, "tasks"):
            import_module(f"{config.name}.tasks")


async def work(options: dict[str, Any]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    worker = Worker(
        queues=options["queue"] or ["default"],
        concurrency=options["concurrency"],
        grace=options["grace"],
        name=options["name"],
    )
    log.info(
        "worker_started instance=%s queues=%s concurrency=%s",
        worker.instance, ",".join(worker.queues), worker.concurrency,
    )  # fmt: skip
    try:
        await worker.run(stopping)
    finally:
        await api.shutdown()
    log.info("worker_stopped instance=%s", worker.instance)
    if worker.is_leaving_work_behind:
        # Python would wait for its threads, and asyncio for its tasks, perhaps for ever, while
        # other workers already run what was handed back.
        log.warning("worker_left_functions_running instance=%s", worker.instance)
        logging.shutdown()
        os._exit(0)
