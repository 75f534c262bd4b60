"""Words tasks for people and programs: the tables, lists and JSON of `manage.py tasks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from django.core.management.color import Style

from tasks_app.api import Output, Page, PurgeCode, Retried, Stats, Task, TaskState
from tasks_app.domain.codec import dumps, readable
from tasks_app.domain.spans import age, duration, span, words
from tasks_app.domain.stats import WorkerStats
from tasks_app.errors import TaskNotFound, TasksError
from tasks_app.services.owners import usernames
from tasks_app.terminal import bar, facts, safe, safe_text, shortened, table

HEADS = ("ID", "STATE", "NAME", "QUEUE", "ITEM", "WHO", "PROGRESS", "ATTEMPTS", "AGE", "RAN")
WORKER_HEADS = (
    "WORKER", "QUEUES", "RUNNING", "LAG P50 MS", "P99", "WORST", "HEARD OF", "UP",
)  # fmt: skip
LONGEST_CELL = 32
SIGNALS = {
    TaskState.RUNNING: "SUCCESS",
    TaskState.SCHEDULED: "WARNING",
    TaskState.QUEUED: "WARNING",
    TaskState.CANCELING: "WARNING",
    TaskState.FAILED: "ERROR",
    TaskState.LOST: "ERROR",
}


def task_table(tasks: Sequence[Task], style: Style) -> list[str]:
    if not tasks:
        return ["No tasks."]
    names = usernames(task.user_id for task in tasks)
    return table(HEADS, [_row(task, names) for task in tasks], _painter(style))


def _row(task: Task, names: dict[str, str]) -> tuple[str, ...]:
    user_id = task.user_id or ""
    return (
        task.id,
        task.status.value,
        shortened(task.name, LONGEST_CELL),
        task.queue,
        shortened(task.item_id or "", LONGEST_CELL),
        names.get(user_id, user_id),
        "" if task.progress is None else f"{task.progress:.0%}",
        str(task.attempts),
        words(age(task)),
        words(duration(task)),
    )


def _painter(style: Style) -> Callable[[str], str]:
    def paint(cell: str) -> str:
        role = SIGNALS.get(TaskState(cell.strip()))
        return getattr(style, role)(cell) if role else cell

    return paint


def details(task: Task, output: Output) -> list[str]:
    """Return what is known of a task: facts, the reason of a failure first, then the long parts."""
    user_id = task.user_id or ""
    lines = facts(
        [
            ("task", task.id),
            ("state", task.status.value),
            ("error", _error(task)),
            ("stopped by", _stopper(task)),
            ("name", task.name),
            ("queue", task.queue),
            ("priority", str(task.priority) if task.priority else ""),
            ("item", task.item_id or ""),
            ("who", usernames([user_id]).get(user_id, user_id)),
            ("progress", "" if task.progress is None else f"{bar(task.progress)}  {task.message}"),
            ("attempts", str(task.attempts)),
            ("worker", task.instance or ""),
            ("enqueued", _moment(task.created_at)),
            ("due", _moment(task.run_after)),
            ("started", _moment(task.started_at)),
            ("finished", _moment(task.finished_at)),
            ("ran", words(duration(task))),
            ("parent", task.parent_id or ""),
            ("retried from", task.retried_from or ""),
        ]
    )
    lines += _part("arguments", readable(task.payload))
    if output.text:
        whole = "" if output.is_whole else f" (the end of {output.size} bytes)"
        lines += _part(f"output{whole}", output.text)
    if task.result is not None:
        lines += _part("result", readable(task.result))
    return lines


def _part(head: str, text: str) -> list[str]:
    return ["", f"{head}:", *(f"  {line}".rstrip() for line in safe_text(text).split("\n"))]


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC" if moment else ""


def _error(task: Task) -> str:
    return f"{task.error.get('message')} ({task.error.get('type')})" if task.error else ""


def _stopper(task: Task) -> str:
    return f"{task.stopped_by} ({task.reason})" if task.stopped_by else ""


def end(task: Task) -> str:
    """Return one sentence about how the task ended, or that it has not."""
    head = f"The task {task.id}"
    ran = f" after {words(duration(task))}" if task.started_at else ""
    match task.status:
        case TaskState.SUCCEEDED:
            return f"{head} succeeded{ran}."
        case TaskState.FAILED:
            return safe(f"{head} failed{ran}: {_error(task)}")
        case TaskState.CANCELED:
            return safe(f"{head} was stopped{ran} by {_stopper(task) or 'somebody'}.")
        case TaskState.LOST:
            return f"{head} was lost{ran}: the process that ran it ended."
    return f"{head} has not finished yet: it is {task.status.value}."


def stopped(task: Task) -> str:
    """Return one sentence about what a stop achieved."""
    if task.status is TaskState.CANCELED:
        return f"The task {task.id} is stopped."
    if task.is_finished:
        return end(task)
    return f"The task {task.id} was told to stop; its worker has not confirmed it yet."


def tasks(count: int, noun: str) -> str:
    """Return e.g. "1 failed task", "12 failed tasks"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def refusal(task_id: str, error: TasksError) -> str:
    """Return one sentence about a task that was not retried."""
    if isinstance(error, TaskNotFound):
        return f"There is no task {task_id!r}."
    return f"The task {task_id} is not retried: {error}"


def left_out(retried: Retried) -> str:
    """Return one line about the failed tasks that were not retried; empty when all were."""
    parts = []
    if retried.before:
        parts.append(f"{tasks(retried.before, 'task')} had been retried before")
    if retried.impossible:
        parts.append(f"{tasks(retried.impossible, 'task')} cannot be retried")
    return f"{'; '.join(parts)}." if parts else ""


def not_purged(task_id: str, code: PurgeCode) -> str:
    """Return one sentence about a task that was not removed."""
    if code is PurgeCode.MISSING:
        return f"There is no task {task_id!r}."
    return f"The task {task_id} has not finished: stop it first."


def stats(found: Stats) -> list[str]:
    """Return the queues, the counts and the workers, each as a small table."""
    lines = ["No task is waiting in a queue."]
    if found.queues:
        queues = [(q.name, str(q.waiting), span(q.oldest_s)) for q in found.queues]
        lines = table(("QUEUE", "WAITING", "OLDEST"), queues)
    rates = [
        f"{rate:.1f} over {tasks(minutes, 'minute')}"
        for minutes, rate in found.finished_per_minute.items()
        if rate is not None
    ]
    lines += ["", *facts(
        [
            ("scheduled", str(found.scheduled)),
            ("held back", f"{found.held} by limits"),
            ("running", str(found.running)),
            ("canceling", str(found.canceling)),
            ("failed", f"{found.failed} kept"),
            ("finished", f"a minute: {', '.join(rates)}" if rates else ""),
        ]
    ), ""]  # fmt: skip
    if not found.workers:
        return [*lines, "No worker is alive."]
    return [*lines, *table(WORKER_HEADS, [_worker(worker) for worker in found.workers])]


def _worker(worker: WorkerStats) -> tuple[str, ...]:
    lag = worker.lag
    return (
        worker.instance,
        shortened(",".join(worker.queues), LONGEST_CELL),
        f"{worker.running} of {worker.concurrency}" if worker.concurrency else "",
        *((f"{ms:.1f}" for ms in (lag.p50_ms, lag.p99_ms, lag.worst_ms)) if lag else ("",) * 3),
        f"{span(worker.silent_s)} ago",
        words(datetime.now(UTC) - worker.started_at) if worker.started_at else "",
    )


def stats_json(found: Stats) -> str:
    return dumps(found.resource())


def retried_json(answers: Mapping[str, Task | TasksError]) -> str:
    """Return the new tasks, and what refused the others."""
    made = [task.resource() for task in answers.values() if isinstance(task, Task)]
    errors = {i: str(error) for i, error in answers.items() if isinstance(error, TasksError)}
    return dumps({"tasks": made, "errors": errors})


def all_retried_json(retried: Retried) -> str:
    made = [task.resource() for task in retried.tasks]
    left = {"retried_before": retried.before, "not_retryable": retried.impossible}
    return dumps({"tasks": made, **left})


def purged_json(codes: Mapping[str, PurgeCode]) -> str:
    """Return the ids by what became of them."""
    heads = {
        "removed": PurgeCode.REMOVED,
        "not_found": PurgeCode.MISSING,
        "unfinished": PurgeCode.UNFINISHED,
    }
    return dumps(
        {head: [i for i, code in codes.items() if code is wanted] for head, wanted in heads.items()}
    )


def task_json(task: Task) -> str:
    return dumps(task.resource())


def tasks_json(tasks: Sequence[Task]) -> str:
    return dumps({"tasks": [task.resource() for task in tasks]})


def page_json(page: Page) -> str:
    tasks = [task.resource(with_result=False) for task in page.tasks]
    return dumps({"tasks": tasks, "next_cursor": page.next_cursor})


def details_json(task: Task, output: Output) -> str:
    return dumps({**task.resource(), "arguments": task.payload, "output": output.text})
