"""Periodic jobs in the admin, live from Redis: a page to look at, nothing to edit."""
# ruff: noqa: ARG002 Django names the parameters of what is overridden here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from tasks_app import api
from tasks_app.admin_tasks import needs_redis
from tasks_app.domain.spans import span
from tasks_app.models import PeriodicJob

if TYPE_CHECKING:
    PeriodicModelAdmin = admin.ModelAdmin[PeriodicJob]
else:
    PeriodicModelAdmin = admin.ModelAdmin


class PeriodicJobAdmin(PeriodicModelAdmin):
    """One page with all jobs: they are few, and code defines them."""

    class Media:
        css = {"all": ["tasks_app/admin.css"]}

    def has_view_permission(self, request: HttpRequest, obj: PeriodicJob | None = None) -> bool:
        return api.viewer_for(request.user).can_view_all

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: PeriodicJob | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: PeriodicJob | None = None) -> bool:
        return False

    @needs_redis
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Periodic jobs",
            "opts": self.opts,
            "media": self.media,
            "rows": [_row(job) for job in api.periodic_jobs_sync()],
        }
        return TemplateResponse(request, "admin/tasks_app/periodicjob/change_list.html", context)


def _row(job: api.JobReport) -> dict[str, Any]:
    return {"job": job, "took": "" if job.duration is None else span(job.duration)}
