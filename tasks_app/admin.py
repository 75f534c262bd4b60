"""The admin: tasks and periodic jobs live from Redis, the configuration, API tokens, usage."""
# ruff: noqa: ARG002 Django names the parameters of what is overridden here

from __future__ import annotations

from typing import TYPE_CHECKING

from constance.admin import Config
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from tasks_app.admin_config import AccessRuleAdmin, TaskConfigurationAdmin
from tasks_app.admin_periodic import PeriodicJobAdmin
from tasks_app.admin_tasks import TaskAdmin
from tasks_app.admin_usage import ModelUsageAdmin
from tasks_app.models import (
    AccessRule,
    ApiToken,
    ModelUsage,
    PeriodicJob,
    Task,
    TaskConfiguration,
)

if TYPE_CHECKING:
    TokenModelAdmin = admin.ModelAdmin[ApiToken]
else:
    TokenModelAdmin = admin.ModelAdmin

admin.site.register(Task, TaskAdmin)
admin.site.register(PeriodicJob, PeriodicJobAdmin)
admin.site.register(ModelUsage, ModelUsageAdmin)
admin.site.register(TaskConfiguration, TaskConfigurationAdmin)
admin.site.register(AccessRule, AccessRuleAdmin)
admin.site.unregister([Config])  # the library's own page, which has other permissions


@admin.register(ApiToken)
class ApiTokenAdmin(TokenModelAdmin):
    """Tokens are made by `manage.py createtoken`, which alone can show one; here they end."""

    list_display = ("prefix", "user", "name", "created_at", "expires_at", "is_valid")
    list_select_related = ("user",)
    list_filter = ("expires_at",)
    search_fields = ("prefix", "name", "user__username")
    fields = ("prefix", "user", "name", "created_at", "expires_at", "is_valid")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self,
        request: HttpRequest,
        obj: ApiToken | None = None,
    ) -> bool:
        return False

    @admin.display(description="valid", boolean=True)
    def is_valid(self, token: ApiToken) -> bool:
        is_current = token.expires_at is None or token.expires_at > timezone.now()
        return is_current and token.user.is_active
