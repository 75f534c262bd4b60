"""`manage.py tasks VERB`: what the admin can do with tasks, from a terminal."""

from __future__ import annotations

import asyncio
import io
import math
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError

from tasks_app import api
from tasks_app.errors import AlreadyFinished, TaskNotFound, TasksError
from tasks_app.management import report
from tasks_app.management.tail import JsonTail, Tail, Waiting

INTERRUPTED = 130  # what a shell reports for Ctrl-C
MOST = 100_000  # tasks that one retry of all failed ones starts, unless told otherwise
READER_GONE = 141  # and for a broken pipe
BY, REASON = "system", "command"  # how a stop from here is recorded: no Django user is known


class Command(BaseCommand):
    help = "Look at tasks, stop, retry and remove them, wait for them, follow their output."
    # A stop must not wait for the checks of the whole project.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

        one = verbs.add_parser("list", help="the newest tasks, one line each")
        one.add_argument("--status", choices=[state.value for state in api.TaskState])
        one.add_argument("--name", help="only tasks of this definition")
        one.add_argument("--queue", help="only tasks of this queue")
        one.add_argument("--item", help="only tasks about this item")
        one.add_argument("--limit", type=_count, default=50, help="at most so many (50)")

        one = verbs.add_parser("show", help="everything that is known of one task")
        one.add_argument("id", metavar="ID")

        one = verbs.add_parser("stop", help="stop one task, or all unfinished ones of an item")
        which = one.add_mutually_exclusive_group(required=True)
        which.add_argument("id", metavar="ID", nargs="?")
        which.add_argument("--item", help="stop all unfinished tasks about this item")
        one.add_argument(
            "--wait", type=_seconds, default=1.0, metavar="SECONDS",
            help="how long to wait for the confirmation of what runs (1)",
        )  # fmt: skip

        one = verbs.add_parser("wait", help="wait until a task has finished")
        one.add_argument("id", metavar="ID")
        one.add_argument(
            "--timeout", type=_seconds, default=math.inf, metavar="SECONDS", help="give up then"
        )

        one = verbs.add_parser("tail", help="follow a task's output until its end")
        one.add_argument("id", metavar="ID")

        _add_operating(verbs)
        self._parsers = verbs.choices
        for verb in verbs.choices.values():
            verb.add_argument("--json", action="store_true", help="JSON, for programs")

    def handle(self, *_args: Any, **options: Any) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # Output may hold characters that this terminal's encoding does not have.
                stream.reconfigure(errors="backslashreplace")
        try:
            getattr(self, f"_{options['verb']}")(options)
            sys.stdout.flush()  # here, where a reader that has gone can be told from an error
        except TaskNotFound as error:
            raise CommandError(f"There is no task {options.get('id')!r}.") from error
        except TasksError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has enough; Python's own flush at exit must not complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(READER_GONE)

    def _list(self, options: dict[str, Any]) -> None:
        only = api.Filter(
            status=options["status"],
            name=options["name"],
            queue=options["queue"],
            item_id=options["item"],
        )
        page = _run(_newest(only, options["limit"]))
        if options["json"]:
            self.stdout.write(report.page_json(page))
            return
        for line in report.task_table(page.tasks, self.style):
            self.stdout.write(line)
        if page.next_cursor is not None:
            self.stderr.write(f"There are older ones; these are the newest {len(page.tasks)}.")

    def _show(self, options: dict[str, Any]) -> None:
        task, output = _run(_details(options["id"]))
        if options["json"]:
            self.stdout.write(report.details_json(task, output))
            return
        for line in report.details(task, output):
            self.stdout.write(line)

    def _stop(self, options: dict[str, Any]) -> None:
        if options["id"] is None:
            self._stop_item(options)
            return
        try:
            task = _run(api.stop_task(options["id"], by=BY, reason=REASON, wait=options["wait"]))
        except AlreadyFinished as error:
            raise CommandError(f"The task {options['id']} had already finished.") from error
        self.stdout.write(report.task_json(task) if options["json"] else report.stopped(task))

    def _stop_item(self, options: dict[str, Any]) -> None:
        tasks = _run(_stop_item(options["item"], options["wait"]))
        if options["json"]:
            self.stdout.write(report.tasks_json(tasks))
            return
        for task in tasks:
            self.stdout.write(report.stopped(task))
        if not tasks:
            self.stdout.write("There was nothing to stop.")

    def _wait(self, options: dict[str, Any]) -> None:
        err: TextIO = options.get("stderr") or sys.stderr
        if err.isatty():
            task = _run(_watch(options["id"], Waiting(err), options["timeout"]))
        else:
            task = _run(api.wait_task(options["id"], options["timeout"]))
        if options["json"]:
            self.stdout.write(report.task_json(task))
        elif task.status is api.TaskState.SUCCEEDED:
            self.stdout.write(report.end(task))
        _fail_unless_succeeded(task)

    def _tail(self, options: dict[str, Any]) -> None:
        # Not self.stdout: Django's wrapper ends each write with a line end.
        out: TextIO = options.get("stdout") or sys.stdout
        err: TextIO = options.get("stderr") or sys.stderr
        tail = JsonTail(out) if options["json"] else Tail(out, err)
        task = _run(_watch(options["id"], tail, math.inf))
        if task.status is api.TaskState.SUCCEEDED and not options["json"]:
            err.write(f"{report.end(task)}\n")
        _fail_unless_succeeded(task)

    def _retry(self, options: dict[str, Any]) -> None:
        narrowed = [options["name"], options["queue"], options["limit"]]
        if options["all_failed"] is bool(options["ids"]):
            self._refuse("retry", "name tasks, or say --all-failed")
        if options["ids"] and any(narrowed):
            self._refuse("retry", "--name, --queue and --limit go with --all-failed")
        if options["all_failed"]:
            self._retry_all(options)
            return
        ids = list(dict.fromkeys(options["ids"]))
        answers = dict(zip(ids, api.retry_tasks_sync(ids), strict=True))
        if options["json"]:
            self.stdout.write(report.retried_json(answers))
        failures = 0
        for task_id, answer in answers.items():
            if not isinstance(answer, api.Task):
                self.stderr.write(report.refusal(task_id, answer))
                failures += 1
            elif not options["json"]:
                self.stdout.write(f"The task {task_id} is retried as {answer.id}.")
        _fail_if_any(failures, ids, "retried")

    def _retry_all(self, options: dict[str, Any]) -> None:
        only = api.Filter(name=options["name"], queue=options["queue"])
        retried = api.retry_failed_sync(only, options["limit"] or MOST)
        if options["json"]:
            self.stdout.write(report.all_retried_json(retried))
            return
        self.stdout.write(f"{report.tasks(len(retried.tasks), 'failed task')} retried.")
        if left := report.left_out(retried):
            self.stderr.write(left)

    def _purge(self, options: dict[str, Any]) -> None:
        by_kind = bool(options["status"]) or options["older_than"] is not None
        if by_kind is bool(options["ids"]):
            self._refuse("purge", "name tasks, or say --status or --older-than (0: of any age)")
        ids = list(dict.fromkeys(options["ids"])) or api.finished_ids_sync(
            states={api.TaskState(state) for state in options["status"] or ()},
            older_than=options["older_than"] or 0.0,
        )
        if ids and not options["yes"] and not self._confirms(len(ids)):
            raise CommandError("Nothing was removed.")
        codes = dict(zip(ids, api.purge_tasks_sync(ids), strict=True))
        removed = [i for i, code in codes.items() if code is api.PurgeCode.REMOVED]
        if options["json"]:
            self.stdout.write(report.purged_json(codes))
        else:
            self.stdout.write(f"{report.tasks(len(removed), 'task')} removed.")
        if by_kind:
            return  # what is gone meanwhile is as it was wanted
        for task_id, code in codes.items():
            if code is not api.PurgeCode.REMOVED:
                self.stderr.write(report.not_purged(task_id, code))
        _fail_if_any(len(ids) - len(removed), ids, "removed")

    def _confirms(self, count: int) -> bool:
        if not sys.stdin.isatty():
            return True
        self.stderr.write(f"Remove {report.tasks(count, 'task')} for good? [y/N] ", str, ending="")
        self.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def _stats(self, options: dict[str, Any]) -> None:
        stats = api.read_stats_sync()
        if options["json"]:
            self.stdout.write(report.stats_json(stats))
            return
        for line in report.stats(stats):
            self.stdout.write(line)

    def _refuse(self, verb: str, why: str) -> None:
        """Leave with the verb's usage and status 2."""
        self._parsers[verb].error(why)


def _add_operating(verbs: Any) -> None:
    one = verbs.add_parser("retry", help="start failed or canceled tasks again, as new ones")
    one.add_argument("ids", metavar="ID", nargs="*")
    one.add_argument(
        "--all-failed", action="store_true",
        help="all tasks that failed for good and were not retried before",
    )  # fmt: skip
    one.add_argument("--name", help="of those only tasks of this definition")
    one.add_argument("--queue", help="of those only tasks of this queue")
    one.add_argument(
        "--limit", type=_count, metavar="N", help=f"at most so many, the newest ({MOST})"
    )

    one = verbs.add_parser("purge", help="remove finished tasks now, whatever their retention")
    one.add_argument("ids", metavar="ID", nargs="*")
    one.add_argument(
        "--status", action="append", choices=sorted(api.FINAL),
        help="those that ended so (repeatable)",
    )  # fmt: skip
    one.add_argument(
        "--older-than", type=_seconds, metavar="SECONDS", help="those that ended so long ago"
    )
    one.add_argument("--yes", action="store_true", help="do not ask on a terminal")

    verbs.add_parser("stats", help="queues, counts and workers at this moment")


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run the one coroutine of a command, and close what it opened."""

    async def whole() -> Any:
        try:
            return await work
        finally:
            await api.shutdown()

    return asyncio.run(whole())


async def _newest(only: api.Filter, limit: int) -> api.Page:
    """Collect pages until there are enough tasks: one page looks at a bounded number only."""
    tasks: list[api.Task] = []
    cursor: str | None = None
    while True:
        page = await api.list_tasks(only=only, cursor=cursor, limit=limit - len(tasks))
        tasks += page.tasks
        cursor = page.next_cursor
        if cursor is None or len(tasks) == limit:
            return api.Page(tasks=tasks, next_cursor=cursor)


async def _details(task_id: str) -> tuple[api.Task, api.Output]:
    task = await api.get_task(task_id)
    return task, await api.read_output(task_id)


async def _stop_item(item_id: str, wait: float) -> list[api.Task]:
    deadline = asyncio.get_running_loop().time() + wait
    ids = await api.stop_item(item_id, by=BY, reason=REASON)
    left = [max(0.0, deadline - asyncio.get_running_loop().time()) for _ in ids]
    return list(await asyncio.gather(*map(api.wait_task, ids, left)))


async def _watch(task_id: str, watcher: Tail | JsonTail | Waiting, timeout: float) -> api.Task:  # noqa: ASYNC109 a public deadline
    """Show the task's events until its end or the deadline; return the task as it then is."""
    try:
        async with asyncio.timeout(None if math.isinf(timeout) else timeout):
            async with aclosing(api.follow(task_id)) as events:
                async for event in events:
                    watcher.show(event)
    except TimeoutError:
        pass
    finally:
        watcher.close()
    return await api.get_task(task_id)


def _fail_if_any(failures: int, ids: Sequence[str], done: str) -> None:
    if failures:
        raise CommandError(f"{failures} of {report.tasks(len(ids), 'task')} could not be {done}.")


def _fail_unless_succeeded(task: api.Task) -> None:
    if task.status is not api.TaskState.SUCCEEDED:
        raise CommandError(report.end(task))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds, at least 0")
    return seconds


def _count(text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= count <= 100_000:  # noqa: PLR2004 no more tasks than a terminal can want
        raise ArgumentTypeError(f"{text!r} is not a number of tasks, 1 to 100000")
    return count
