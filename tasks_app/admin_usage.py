"""What models were used for, by day, user, kind and model: to be looked at and filtered."""
# ruff: noqa: ARG002 Django names the parameters of what is overridden here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from tasks_app.domain.spans import span
from tasks_app.models import ModelUsage
from tasks_app.services.owners import usernames

if TYPE_CHECKING:
    UsageModelAdmin = admin.ModelAdmin[ModelUsage]
else:
    UsageModelAdmin = admin.ModelAdmin

SUMMED = ("calls", "failures", "prompt_tokens", "completion_tokens")


class ModelUsageAdmin(UsageModelAdmin):
    """Read-only: tasks write it."""

    list_display = (
        "day", "user", "kind", "model", "calls", "failures", "prompt_tokens", "completion_tokens",
        "duration", "first_output",
    )  # fmt: skip
    list_filter = ("kind", "model")
    date_hierarchy = "day"
    search_fields = ("kind", "model")
    search_help_text = "Kind, model, or a user's name."
    list_display_links = None

    class Media:
        css = {"all": ["tasks_app/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ModelUsage | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ModelUsage | None = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ModelUsage], search_term: str
    ) -> tuple[QuerySet[ModelUsage], bool]:
        """Find by user name too: rows hold ids, since tasks may name owners that are no users."""
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        if term := search_term.strip():
            users = get_user_model()
            named = users.objects.filter(**{f"{users.USERNAME_FIELD}__icontains": term})
            ids = [str(pk) for pk in named.values_list("pk", flat=True)[:1000]]
            found |= queryset.filter(user_id__in=[*ids, term])
        return found, may_repeat

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the rows, and the sums of all that the filters leave."""
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            changes = response.context_data.get("cl")
            if changes is not None:
                sums = changes.queryset.order_by().aggregate(**{n: Sum(n) for n in SUMMED})
                response.context_data["totals"] = {n: sums[n] or 0 for n in SUMMED}
                names = usernames(row.user_id for row in changes.result_list)
                for row in changes.result_list:
                    row.owner = names.get(row.user_id, row.user_id)
        return response

    @admin.display(description="user", ordering="user_id")
    def user(self, row: ModelUsage) -> str:
        return getattr(row, "owner", row.user_id) or "-"

    @admin.display(description="mean duration")
    def duration(self, row: ModelUsage) -> str:
        return span(row.seconds / row.calls) if row.calls else "-"

    @admin.display(description="mean time to first output")
    def first_output(self, row: ModelUsage) -> str:
        return span(row.first_token_seconds / row.first_tokens) if row.first_tokens else "-"
