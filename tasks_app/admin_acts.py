"""What the admin does to tasks: stop, retry, delete; says what came of it, logs who did it."""
# ruff: noqa: ARG002 Django names the parameters of what is overridden here

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import ngettext

from tasks_app import api
from tasks_app.admin_rows import MOST_AT_ONCE, TaskRows
from tasks_app.models import Task

if TYPE_CHECKING:
    TaskModelAdmin = admin.ModelAdmin[Task]
else:
    TaskModelAdmin = admin.ModelAdmin


# Each is a field of the form that asks first, and Django takes no more than 1,000 of those.
MOST_DELETED = 500
ONLY_SO_MANY = (
    f"Only the newest {MOST_DELETED} are deleted at once; "
    "`manage.py tasks purge` removes any number."
)
ONLY_THESE = "only registered ones that failed or were canceled can."


class TaskActs(TaskModelAdmin):
    """The actions of the list; the buttons of a task's page do the same."""

    actions = ("stop_selected", "retry_selected", "delete_selected")

    @admin.action(description="Stop selected tasks", permissions=["change"])
    def stop_selected(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        if isinstance(queryset, TaskRows):
            self.stop(request, queryset.ids())

    @admin.action(description="Retry selected tasks", permissions=["change"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        if isinstance(queryset, TaskRows):
            self.retry(request, queryset.ids())

    @admin.action(description="Delete selected tasks", permissions=["delete"])
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Task]
    ) -> HttpResponse | None:
        """Ask first, as Django does everywhere; leave out what has not finished."""
        if not isinstance(queryset, TaskRows):
            return None
        ids = queryset.ids()
        finished = [task.id for task in api.summaries_sync(ids) if task.is_finished]
        if (left := len(ids) - len(finished)) and "post" not in request.POST:
            told = ngettext(
                "%d task has not finished and cannot be deleted: stop it first.",
                "%d tasks have not finished and cannot be deleted: stop them first.",
                left,
            )
            self.message_user(request, told % left, messages.WARNING)
        if not finished:
            return None
        if len(finished) > MOST_DELETED:
            self.message_user(request, ONLY_SO_MANY, messages.WARNING)
        chosen: QuerySet[Task] = queryset.filter(pk__in=finished[:MOST_DELETED])
        return delete_selected(self, request, chosen)

    def get_deleted_objects(
        self, objs: QuerySet[Task] | Sequence[Task], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Say what goes: nothing in the database hangs on a task."""
        named = [f"{row.record.name} {row.pk}: {row.record.status.value}" for row in objs]
        return named, {str(self.opts.verbose_name_plural): len(named)}, set(), []

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        api.purge_tasks_sync([row.pk for row in queryset])

    def delete_model(self, request: HttpRequest, obj: Task) -> None:
        api.purge_tasks_sync([obj.pk])

    def stop(self, request: HttpRequest, task_ids: Sequence[str]) -> None:
        codes = api.stop_tasks_sync(task_ids, by=request.user.get_username())
        asked = [
            task_id
            for task_id, code in zip(task_ids, codes, strict=True)
            if code in {api.StopCode.CANCELED, api.StopCode.CANCELING}
        ]
        _log(request, ((task_id, "Stopped.") for task_id in asked))
        if asked:
            told = ngettext("%d task was told to stop.", "%d tasks were told to stop.", len(asked))
            self.message_user(request, told % len(asked), messages.SUCCESS)
        if left := len(task_ids) - len(asked):
            over = ngettext("%d task had already finished.", "%d tasks had already finished.", left)
            self.message_user(request, over % left, messages.WARNING)

    def retry(self, request: HttpRequest, task_ids: Sequence[str]) -> list[api.Task]:
        """Retry the tasks; return the new ones."""
        made = [one for one in api.retry_tasks_sync(task_ids) if isinstance(one, api.Task)]
        self._tell_retried(request, made)
        if left := len(task_ids) - len(made):
            told = ngettext("%d task cannot be retried: ", "%d tasks cannot be retried: ", left)
            self.message_user(request, told % left + ONLY_THESE, messages.WARNING)
        return made

    def retry_all_failed(self, request: HttpRequest) -> None:
        """Retry what failed for good, the newest MOST_AT_ONCE, each that was not retried before."""
        retried = api.retry_failed_sync(limit=MOST_AT_ONCE)
        self._tell_retried(request, retried.tasks)
        if not retried.tasks:
            nothing = "No task was retried: every failed one had been retried before, or cannot be."
            self.message_user(request, nothing, messages.WARNING)

    def _tell_retried(self, request: HttpRequest, made: Sequence[api.Task]) -> None:
        _log(request, ((str(new.retried_from), f"Retried as {new.id}.") for new in made))
        if made:
            told = ngettext("%d task is retried.", "%d tasks are retried.", len(made))
            self.message_user(request, told % len(made), messages.SUCCESS)


def _log(request: HttpRequest, changes: Iterable[tuple[str, str]]) -> None:
    """Write each task's change into Django's history."""
    kind = ContentType.objects.get_for_model(Task)
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=str(request.user.pk),
            content_type=kind,
            object_id=task_id,
            object_repr=task_id,
            action_flag=CHANGE,
            change_message=message,
        )
        for task_id, message in changes
    )
