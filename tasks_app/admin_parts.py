"""The pieces of HTML that the admin's task pages are made of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from tasks_app.domain.codec import readable
from tasks_app.domain.spans import age, duration, words
from tasks_app.models import Task
from tasks_app.services.browse import SEARCHED

SHOWN_CHARACTERS = 20_000
SHORT_ID = 8
SEARCH_LIMIT = f"Only the newest {SEARCHED:,} tasks were searched; older ones may match too."
NOTHING = "-"
BLOCK = '<pre class="signalbox-text" tabindex="0">{}</pre>'


@admin.display(description="id")
def short_id(row: Task) -> SafeString:
    shown = row.pk if len(row.pk) <= SHORT_ID else f"{row.pk[:SHORT_ID]}…"
    return format_html('<span class="signalbox-id" title="{}">{}</span>', row.pk, shown)


@admin.display(description="state")
def state(row: Task) -> SafeString | str:
    """Return the state, with the reason of a failure or a stop in its title."""
    reason = error(row) or stopped(row)
    if not reason:
        return row.record.status.value
    return format_html('<span title="{}">{}</span>', reason, row.record.status.value)


@admin.display(description="error")
def error(row: Task) -> str:
    """Return the failure's cause first, then its type."""
    found = row.record.error
    return f"{found.get('message', '')} ({found.get('type', '')})" if found else ""


@admin.display(description="traceback")
def traceback(row: Task) -> SafeString | str:
    """Return where the latest failed attempt raised: for those who may see all tasks."""
    fault = row.record.fault
    return _block(fault.traceback if fault else "")


@admin.display(description="stopped")
def stopped(row: Task) -> str:
    by, reason = row.record.stopped_by, row.record.reason
    return f"by {by} ({reason})" if by else ""


@admin.display(description="name")
def name(row: Task) -> str:
    return row.record.name


@admin.display(description="function")
def function(row: Task) -> SafeString:
    return format_html('<span class="signalbox-id">{}</span>', row.record.path)


@admin.display(description="queue")
def queue(row: Task) -> str:
    return row.record.queue


@admin.display(description="item")
def item(row: Task) -> str:
    return row.record.item_id or NOTHING


@admin.display(description="item")
def item_link(row: Task) -> SafeString | str:
    return _search_link(row.record.item_id, row.record.item_id)


@admin.display(description="who")
def who(row: Task) -> str:
    return row.owner or NOTHING


@admin.display(description="who")
def who_link(row: Task) -> SafeString | str:
    return _search_link(row.record.user_id, row.owner)


@admin.display(description="priority")
def priority(row: Task) -> str:
    return str(row.record.priority)


@admin.display(description="progress")
def progress(row: Task) -> SafeString | str:
    done = row.record.progress
    if done is None:
        return NOTHING
    bar = (
        '<span class="signalbox-progress"><progress max="1" value="{}" aria-label="progress">'
        "</progress> {} %</span>"
    )
    return format_html(bar, done, round(done * 100))


@admin.display(description="progress")
def progress_with_message(row: Task) -> SafeString:
    return format_html("{} {}", progress(row), row.record.message)


@admin.display(description="attempts")
def attempts(row: Task) -> str:
    return str(row.record.attempts)


@admin.display(description="enqueued")
def enqueued(row: Task) -> SafeString | str:
    moment = row.record.created_at
    if moment is None:
        return NOTHING
    return format_html('<span title="{}">{} ago</span>', _exact(moment), words(age(row.record)))


@admin.display(description="ran")
def ran(row: Task) -> str:
    return words(duration(row.record)) or NOTHING


@admin.display(description="parent")
def parent(row: Task) -> SafeString | str:
    return _task_link(row.record.parent_id)


@admin.display(description="retried from")
def retried_from(row: Task) -> SafeString | str:
    return _task_link(row.record.retried_from)


@admin.display(description="children")
def children(row: Task) -> SafeString:
    """Return the tasks that this one started, each with its state; the unfinished ones first."""
    shown = row.children.tasks
    rows = ((_task_link(child.id), child.name, child.status.value) for child in shown)
    items = format_html_join("", "<li>{} {} <strong>{}</strong></li>", rows)
    left = row.children.count - len(shown)
    more = format_html('<p class="help">and {} more</p>', left) if left > 0 else ""
    return format_html('<div><ul class="signalbox-children">{}</ul>{}</div>', items, more)


@admin.display(description="positional arguments")
def arguments(row: Task) -> SafeString | str:
    return _json(row.record.payload.get("args"))


@admin.display(description="named arguments")
def named_arguments(row: Task) -> SafeString | str:
    return _json(row.record.payload.get("kwargs"))


@admin.display(description="output")
def output(row: Task) -> SafeString | str:
    read = row.output
    if read.is_whole:
        return _block(read.text)
    head = '<p class="help">The end of {} bytes of output.</p>{}'
    return format_html(head, read.size, _block(read.text))


@admin.display(description="result")
def result(row: Task) -> SafeString | str:
    return _json(row.record.result)


def _exact(moment: datetime) -> str:
    local = localtime(moment)
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d} {local.tzname()}"


def _search_link(text: str | None, label: str | None) -> SafeString | str:
    """Return a link to the list of tasks that have the text."""
    if not text:
        return NOTHING
    query = urlencode({"q": text})
    return format_html(
        '<a href="{}?{}">{}</a>', reverse("admin:tasks_app_task_changelist"), query, label
    )


def _task_link(task_id: str | None) -> SafeString | str:
    if not task_id:
        return NOTHING
    address = reverse("admin:tasks_app_task_change", args=[task_id])
    return format_html('<a href="{}" class="signalbox-id">{}</a>', address, task_id)


def _json(found: Any) -> SafeString | str:
    if found is None or found in ([], {}):
        return NOTHING
    return _block(readable(found))


def _block(text: str) -> SafeString | str:
    """Return the text as it is, with its lines; the end of it, where it is very long."""
    if not text:
        return NOTHING
    if len(text) <= SHOWN_CHARACTERS:
        return format_html(BLOCK, text)
    return format_html(
        '<p class="help">The last {} of {} characters.</p>{}',
        SHOWN_CHARACTERS,
        len(text),
        format_html(BLOCK, text[-SHOWN_CHARACTERS:]),
    )


@admin.display(description="timeline")
def timeline(row: Task) -> SafeString:
    """Return what the record knows of the task's life, in order, with the time between."""
    return format_html(
        '<ol class="signalbox-timeline">{}</ol>',
        format_html_join("", "<li><time>{}</time> {} {}</li>", _steps(row)),
    )


def _steps(row: Task) -> Iterator[tuple[str, str, SafeString | str]]:
    before: datetime | None = None
    for moment, what in _moments(row):
        gap: SafeString | str = ""
        if before is not None:
            length = words(moment - before)
            gap = format_html('<span class="help">after {}</span>', length)
        yield _exact(moment), what, gap
        before = moment


def _moments(row: Task) -> list[tuple[datetime, str]]:
    task = row.record
    ended = f"{task.status.value} {stopped(row)}".rstrip()
    known = (
        (task.created_at, f"enqueued in {task.queue}"),
        (task.run_after, "due"),
        (task.started_at, f"attempt {task.attempts} started on {task.instance or 'a worker'}"),
        (task.finished_at, ended),
    )
    # By time alone: what happened in one millisecond stays in the order of a life.
    return sorted(((at, what) for at, what in known if at is not None), key=lambda step: step[0])
