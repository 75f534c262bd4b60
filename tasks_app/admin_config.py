"""The task configuration in the admin, and which groups may use which kinds and models."""
# ruff: noqa: ARG002 Django names the parameters of what is overridden here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from constance.forms import ConstanceForm
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.text import normalize_newlines

from tasks_app import api
from tasks_app.admin_preview import PREVIEW_TEMPLATE, preview_context
from tasks_app.errors import StoreUnavailable
from tasks_app.generation.configuration import current_sync, update_sync
from tasks_app.generation.form_fields import MODELS_LIST
from tasks_app.generation.options import KINDS, OPTIONS, UNUSED
from tasks_app.generation.rights import CHAT
from tasks_app.generation.shared_models import known_ids_sync
from tasks_app.models import AccessRule, TaskConfiguration

if TYPE_CHECKING:
    ConfigurationModelAdmin = admin.ModelAdmin[TaskConfiguration]
    RuleModelAdmin = admin.ModelAdmin[AccessRule]
    RuleModelForm = forms.ModelForm[AccessRule]
else:
    ConfigurationModelAdmin = RuleModelAdmin = admin.ModelAdmin
    RuleModelForm = forms.ModelForm

TEMPLATE = "admin/tasks_app/taskconfiguration/change_list.html"
SECTIONS = (
    ("Models", ("TASK_MODEL", "TASK_MODEL_EXTERNAL", "TASK_MODEL_PARAMS", "TASK_KIND_OVERRIDES")),
    ("Limits", ("REQUESTS_PER_MINUTE", "TOKENS_PER_MINUTE", "MODEL_CONCURRENCY")),
)
NOT_USED = tuple(name for name, option in OPTIONS.items() if option.help == UNUSED)


class OptionsForm(ConstanceForm):  # type: ignore[misc] # the library has no types
    """All fields of the configuration; what was changed is written together, or not at all."""

    def __init__(self, data: Any = None, *, is_frozen: bool = False) -> None:
        super().__init__(current_sync().resource(), data=data)
        for name in OPTIONS:
            field = self.fields[name]
            field.disabled = is_frozen
            field.label = name.replace("_", " ").capitalize()
            field.help_text = f"{field.help_text} ({name})"

    def save(self) -> list[str]:
        """Write the fields that differ from what is in force; return their names."""
        before = current_sync().resource()
        given = {name: _plain(self.cleaned_data[name]) for name in OPTIONS}
        changed = {name: value for name, value in given.items() if value != before[name]}
        update_sync(changed)
        return list(changed)


def _plain(value: Any) -> Any:
    return normalize_newlines(value) if isinstance(value, str) else value


class TaskConfigurationAdmin(ConfigurationModelAdmin):
    """One page with all fields."""

    class Media:
        css = {"all": ["admin/css/forms.css", "tasks_app/admin.css"]}

    def has_view_permission(
        self, request: HttpRequest, obj: TaskConfiguration | None = None
    ) -> bool:
        return api.viewer_for(request.user).can_view_all

    def has_change_permission(
        self, request: HttpRequest, obj: TaskConfiguration | None = None
    ) -> bool:
        return api.viewer_for(request.user).can_change_all

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: TaskConfiguration | None = None
    ) -> bool:
        return False

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.preview_view)
        name = "tasks_app_taskconfiguration_preview"
        return [path("preview/", view, name=name), *super().get_urls()]

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Show what the prompt templates become: those of the form as it stands, not yet saved."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, PREVIEW_TEMPLATE, context | preview_context(request))

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Lead from the list of recent actions to the page."""
        return HttpResponseRedirect(reverse("admin:tasks_app_taskconfiguration_changelist"))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may_change = self.has_change_permission(request)
        if not self.has_view_permission(request) or (request.method == "POST" and not may_change):
            raise PermissionDenied
        data = request.POST if request.method == "POST" else None
        form = OptionsForm(data, is_frozen=not may_change)
        if form.is_bound and form.is_valid():
            self._note(request, form.save())
            return HttpResponseRedirect(request.path)
        return TemplateResponse(request, TEMPLATE, self._context(request, form, may_change))

    def _note(self, request: HttpRequest, changed: list[str]) -> None:
        if changed:
            message = [{"changed": {"fields": changed}}]
            self.log_change(request, TaskConfiguration(pk="config"), message)
            messages.success(request, f"Changed: {', '.join(changed)}.")
        else:
            messages.info(request, "Nothing was changed.")

    def _context(self, request: HttpRequest, form: OptionsForm, may_change: bool) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": "Task configuration",
            "opts": self.opts,
            "media": self.media + form.media,
            "form": form,
            "adminform": AdminForm(form, _sections(), {}, model_admin=self),
            "has_change_permission": may_change,
            "models_list": MODELS_LIST,
            "models": _known_models(),
        }


def _sections() -> list[tuple[str, dict[str, Any]]]:
    named = {*NOT_USED, *(name for _, names in SECTIONS for name in names)}
    rest = tuple(name for name in OPTIONS if name not in named)
    sections = (*SECTIONS, ("Kinds", rest), ("Not used here", NOT_USED))
    return [
        (title, {"fields": list(names), "classes": ["collapse"] if names is NOT_USED else []})
        for title, names in sections
    ]


def _known_models() -> list[str]:
    try:
        return known_ids_sync()
    except StoreUnavailable:
        return []  # the page works without Redis; nothing is offered then


class AccessRuleForm(RuleModelForm):
    """Refuses a rule about a kind that does not exist."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        is_kind = cleaned.get("subject") == AccessRule.Subject.KIND
        if is_kind and cleaned.get("name", "") not in (CHAT, *KINDS):
            self.add_error(
                "name", f"There is no such kind; there are: {', '.join((CHAT, *KINDS))}."
            )
        return cleaned


class AccessRuleAdmin(RuleModelAdmin):
    """Leaves kinds and models to groups."""

    form = AccessRuleForm
    list_display = ("name", "subject", "who")
    list_filter = ("subject",)
    search_fields = ("name",)
    filter_horizontal = ("groups",)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="groups")
    def who(self, rule: AccessRule) -> str:
        return ", ".join(str(group) for group in rule.groups.all()) or "staff alone"
