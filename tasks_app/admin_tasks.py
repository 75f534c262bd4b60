"""Tasks in the admin, live from Redis: the list and one task's page."""
# ruff: noqa: ARG002 Django names the parameters of what is overridden here

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from tasks_app import admin_parts as parts
from tasks_app import api
from tasks_app.admin_acts import TaskActs
from tasks_app.admin_rows import TaskRows, row_with_output
from tasks_app.errors import StoreUnavailable
from tasks_app.models import Task

UNFINISHED = "unfinished"
View = Callable[..., HttpResponse]


class StateFilter(admin.SimpleListFilter):
    """Narrows the list to one state, or to all that is not finished."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [
            (UNFINISHED, "not finished"),
            *((state.value, state.value) for state in api.TaskState),
        ]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value()
        if wanted is None or not isinstance(queryset, TaskRows):
            return queryset
        if wanted == UNFINISHED:
            states = frozenset(api.TaskState) - api.FINAL
        else:
            states = frozenset(state for state in api.TaskState if state.value == wanted)
        return queryset.matching(api.Match(states=states)) if states else queryset


def needs_redis(view: View) -> View:
    """Answer 503 with a page that says so when Redis is away."""

    @wraps(view)
    def wrapped(self: TaskAdmin, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(self, request, *args, **kwargs)
        except StoreUnavailable as error:
            context = {
                **self.admin_site.each_context(request),
                "title": "Tasks are not available",
                "opts": self.opts,
                "reason": str(error),
            }
            template = "admin/tasks_app/task/unavailable.html"
            return TemplateResponse(
                request, template, context, status=503, headers={"Retry-After": "5"}
            )

    return wrapped


def needs_right_to_act(view: View) -> View:
    """Let through POST requests of those who may stop and retry tasks."""

    @wraps(view)
    def wrapped(self: TaskAdmin, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        return view(self, request, *args, **kwargs)

    return wrapped


def _user(request: HttpRequest) -> User | AnonymousUser:
    return request.user


def fieldsets(row: Task) -> list[tuple[str | None, dict[str, Any]]]:
    """Return what a task's page shows: facts that are known, the failure's cause near the top."""
    record = row.record
    first = [
        (parts.state, True),
        (parts.error, record.error),
        (parts.stopped, record.stopped_by),
        (parts.name, True),
        (parts.function, True),
        (parts.item_link, True),
        (parts.who_link, True),
        (parts.queue, True),
        (parts.priority, record.priority),
        (parts.parent, record.parent_id),
        (parts.retried_from, record.retried_from),
    ]
    run = [parts.progress_with_message, parts.attempts, parts.ran, parts.timeline]
    if row.children.count:
        run.append(parts.children)
    if record.fault is not None and record.error is not None:
        run.append(parts.traceback)
    data = [parts.arguments, parts.named_arguments, parts.output, parts.result]
    return [
        (None, {"fields": [field for field, is_known in first if is_known]}),
        ("Run", {"fields": run}),
        ("Data", {"fields": data}),
    ]


class TaskAdmin(TaskActs):
    """Everything here is read from Redis when the page is asked for; nothing can be edited."""

    list_display = (
        parts.short_id, parts.state, parts.name, parts.item, parts.who, parts.progress,
        parts.enqueued, parts.ran, parts.attempts, parts.queue,
    )  # fmt: skip
    list_display_links = (parts.short_id,)
    list_filter = (StateFilter,)
    list_per_page = 50
    list_max_show_all = 200
    search_fields = ("id",)
    search_help_text = "The beginning of an id, or a whole name, queue, item or username."
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    change_form_template = "admin/tasks_app/task/change_form.html"
    change_list_template = "admin/tasks_app/task/change_list.html"

    class Media:
        css = {"all": ["tasks_app/admin.css"]}

    # --- what is read --------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> TaskRows:
        return TaskRows(model=Task)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Task], search_term: str
    ) -> tuple[QuerySet[Task], bool]:
        text = search_term.strip()
        if not text or not isinstance(queryset, TaskRows):
            return queryset, False
        named = get_user_model().objects.filter(**{get_user_model().USERNAME_FIELD: text}).first()
        user_id = "" if named is None else str(named.pk)
        match = api.Match(states=queryset.match.states, text=text, user_id=user_id)
        return queryset.matching(match), False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Task | None:
        return row_with_output(object_id)

    def get_fieldsets(self, request: HttpRequest, obj: Task | None = None) -> Any:
        return [] if obj is None else fieldsets(obj)

    # --- who may what --------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        # As far as it has finished: whoever asks for one task asks for a page about it.
        return api.may_delete(_user(request)) and (obj is None or obj.record.is_finished)

    def has_view_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        return api.viewer_for(_user(request)).can_view_all

    def has_change_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        # Changing means stopping and retrying: no field can be edited, a task's page only shows.
        return obj is None and api.viewer_for(_user(request)).can_change_all

    # --- pages ---------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        retry_failed = wrap(self.retry_failed_view)
        stop, retry = wrap(self.stop_view), wrap(self.retry_view)
        return [
            path("retry-failed/", retry_failed, name="tasks_app_task_retry_failed"),
            path("<path:object_id>/stop/", stop, name="tasks_app_task_stop"),
            path("<path:object_id>/retry/", retry, name="tasks_app_task_retry"),
            *super().get_urls(),
        ]

    @needs_redis
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        shows_failed = request.GET.get(StateFilter.parameter_name) == api.TaskState.FAILED
        can_retry = shows_failed and self.has_change_permission(request)
        extra_context = {**(extra_context or {}), "can_retry_failed": can_retry}
        response = super().changelist_view(request, extra_context)
        shown = getattr(response, "context_data", None) or {}
        if "cl" in shown and not shown["cl"].queryset.is_complete:
            self.message_user(request, parts.SEARCH_LIMIT, messages.WARNING)
        return response

    @needs_redis
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, extra_context)

    def render_change_form(self, *args: Any, **kwargs: Any) -> HttpResponse:
        request, context = args
        task = kwargs["obj"].record
        context["title"], context["subtitle"] = f"Task: {task.name}", None
        may_act = self.has_change_permission(request)
        context["can_stop"] = not task.is_finished and may_act
        context["can_retry"] = api.is_retryable(task) and may_act
        context["can_delete"] = self.has_delete_permission(request, kwargs["obj"])
        return super().render_change_form(*args, **kwargs)

    @needs_redis
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().history_view(request, object_id, extra_context)

    @needs_redis
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().delete_view(request, object_id, extra_context)

    @needs_redis
    @needs_right_to_act
    def stop_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop one task: the button on its page."""
        task_id = unquote(object_id)
        if api.find_sync(task_id) is not None:
            self.stop(request, [task_id])
        # For an unknown id the task's page says so, in Django's words.
        return HttpResponseRedirect(reverse("admin:tasks_app_task_change", args=[object_id]))

    @needs_redis
    @needs_right_to_act
    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Retry one task: the button on its page; leads to the new one's."""
        task_id = unquote(object_id)
        if api.find_sync(task_id) is not None:
            for new in self.retry(request, [task_id]):
                object_id = new.id
        return HttpResponseRedirect(reverse("admin:tasks_app_task_change", args=[object_id]))

    @needs_redis
    @needs_right_to_act
    def retry_failed_view(self, request: HttpRequest) -> HttpResponse:
        """Retry all tasks that failed for good: the button above the list of them."""
        self.retry_all_failed(request)
        return HttpResponseRedirect(reverse("admin:tasks_app_task_changelist"))
