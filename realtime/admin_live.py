"""Sessions and model usage in the admin, live from Redis: pages to look at, nothing to edit."""
# ruff: noqa: ARG002 Django names the parameters of what is overridden here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from realtime import conf
from realtime.models import ModelUsage, Session
from realtime.services import pools
from tasks_app import api
from tasks_app.errors import StoreUnavailable

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Model]
else:
    AnyModelAdmin = admin.ModelAdmin

PER_PAGE = 100
MOST_PAGES = 1000
MOST_MODELS = 200
UNAVAILABLE = "admin/realtime/unavailable.html"


class LivePage(AnyModelAdmin):
    """One read-only page of what a pool holds, for who may see all tasks."""

    title = ""

    class Media:
        css = {"all": ["tasks_app/admin.css"]}

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return api.viewer_for(request.user).can_view_all

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": self.title,
            "opts": self.opts,
            "media": self.media,
        }
        try:
            context |= self.read(request)
        except StoreUnavailable as error:
            context["reason"] = str(error)
            headers = {"Retry-After": "5"}
            return TemplateResponse(request, UNAVAILABLE, context, status=503, headers=headers)
        template = f"admin/realtime/{self.opts.model_name}/change_list.html"
        return TemplateResponse(request, template, context)

    def read(self, request: HttpRequest) -> dict[str, Any]:
        """Return what the page's template shows; raises StoreUnavailable."""
        raise NotImplementedError


@admin.register(Session)
class SessionAdmin(LivePage):
    """The living sessions, the one heard of last first."""

    title = "Sessions"

    def read(self, request: HttpRequest) -> dict[str, Any]:
        page = _page(request.GET.get("p", ""))
        count, rows = pools.sessions_sync((page - 1) * PER_PAGE, PER_PAGE)
        return {
            "rows": rows,
            "count": count,
            "timeout": conf.session_timeout_seconds(),
            "previous": page - 1,
            "next": page + 1 if page * PER_PAGE < count else None,
        }


@admin.register(ModelUsage)
class ModelUsageAdmin(LivePage):
    """The models in use, the one pinged last first."""

    title = "Model usage"

    def read(self, request: HttpRequest) -> dict[str, Any]:
        count, rows = pools.models_sync(MOST_MODELS)
        timeout = conf.usage_timeout_seconds()
        return {"rows": rows, "count": count, "most": MOST_MODELS, "timeout": timeout}


def _page(text: str) -> int:
    """Read a page's number; anything else that stands there is the first."""
    return min(max(int(text), 1), MOST_PAGES) if text.isascii() and text.isdigit() else 1
