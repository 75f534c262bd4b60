"""`manage.py taskworker`: one worker instance."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tasks_app import api
from tasks_app.discovery import load_task_modules
from tasks_app.periodic_jobs import registered_jobs
from tasks_app.worker.periodic import PeriodicService
from tasks_app.worker.worker import Worker

log = logging.getLogger("tasks_app.worker")


class Command(BaseCommand):
    help = (
        "Executes queued tasks, obeys stops, promotes delayed tasks, recovers orphans, "
        "runs the periodic jobs in turn with all other workers. "
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
        parser.add_argument(
            "--no-periodic", action="store_true",
            help="leave periodic jobs, clean-ups among them, to other workers",
        )  # fmt: skip

    def handle(self, **options: Any) -> None:
        if options["concurrency"] < 1:
            raise CommandError("--concurrency is at least 1.")
        if options["grace"] < 0:
            raise CommandError("--grace is a number of seconds, at least 0.")
        load_task_modules()
        _freeze()
        asyncio.run(work(options))


def _freeze() -> None:
    """Take what was loaded at the start out of the garbage collector's sight.

    It lives as long as the process; looking through it again and again stopped the event loop for
    some 75 ms each time, with all tasks on it (tests/benchmarks/loop_lag.py).
    """
    gc.collect()
    gc.freeze()


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
    jobs = [] if options["no_periodic"] else registered_jobs()
    periodic = PeriodicService(jobs, instance=worker.instance)
    log.info(
        "worker_started instance=%s queues=%s concurrency=%s periodic_jobs=%s",
        worker.instance, ",".join(worker.queues), worker.concurrency, len(jobs),
    )  # fmt: skip
    running = asyncio.create_task(periodic.run(stopping), name="signalbox-periodic")
    try:
        await worker.run(stopping)
    finally:
        stopping.set()  # also when the worker failed
        await asyncio.wait({running})
        await api.shutdown()
    log.info("worker_stopped instance=%s", worker.instance)
    if worker.is_leaving_work_behind or periodic.is_leaving_work_behind:
        # Python would wait for its threads, and asyncio for its tasks, perhaps for ever, while
        # other workers already run what was handed back.
        log.warning("worker_left_functions_running instance=%s", worker.instance)
        logging.shutdown()
        os._exit(0)
