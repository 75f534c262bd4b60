"""Documents in the admin: whose they are, who may open them, and their versions.

The text itself is not edited here: it belongs to those who have it open.
"""
# ruff: noqa: ARG002 Django names the parameters of what is overridden here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from realtime.documents.restoring import restore_version
from realtime.models import Document, DocumentAccess, DocumentVersion
from tasks_app import api
from tasks_app.errors import StoreUnavailable

if TYPE_CHECKING:
    DocumentModelAdmin = admin.ModelAdmin[Document]
    VersionModelAdmin = admin.ModelAdmin[DocumentVersion]
    AccessTabularInline = admin.TabularInline[DocumentAccess, Document]
else:
    DocumentModelAdmin = VersionModelAdmin = admin.ModelAdmin
    AccessTabularInline = admin.TabularInline

EDITABLE = ("title", "owner")


class AccessInline(AccessTabularInline):
    """Users and groups that a document is shared with."""

    model = DocumentAccess
    extra = 0
    autocomplete_fields = ("user", "group")


@admin.register(Document)
class DocumentAdmin(DocumentModelAdmin):
    """A change of owner or access takes effect on open editors within a second."""

    list_display = ("__str__", "id", "owner", "version", "updated_at")
    list_select_related = ("owner",)
    search_fields = ("id", "title", "owner__username")
    inlines = (AccessInline,)
    autocomplete_fields = ("owner",)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        return super().get_queryset(request).defer("state")

    def get_fields(self, request: HttpRequest, obj: Document | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("id", *EDITABLE)
        return (*EDITABLE, "id", "version", "created_at", "updated_at", "versions", "saved_text")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Document | None = None
    ) -> tuple[str, ...]:
        if obj is None:
            return ()
        return tuple(name for name in self.get_fields(request, obj) if name not in EDITABLE)

    def save_model(self, request: HttpRequest, obj: Document, form: Any, change: bool) -> None:
        # Only what was changed: text and state may have been saved since the page was shown.
        if change:
            obj.save(update_fields=[name for name in form.changed_data if name in EDITABLE])
        else:
            obj.save(force_insert=True)

    @admin.display(description="saved text")
    def saved_text(self, document: Document) -> str:
        return format_html('<pre style="white-space: pre-wrap">{}</pre>', document.content)

    @admin.display(description="versions")
    def versions(self, document: Document) -> str:
        address = reverse("admin:realtime_documentversion_changelist")
        return format_html(
            '<a href="{}?document__id__exact={}">Show its versions</a>', address, document.pk
        )


@admin.register(DocumentVersion)
class DocumentVersionAdmin(VersionModelAdmin):
    """Versions are made by saves: here they are looked at, and restored."""

    list_display = ("document_id", "version", "created_at", "characters")
    list_filter = (("document", admin.RelatedOnlyFieldListFilter),)
    search_fields = ("document__id", "document__title")
    fields = ("document", "version", "created_at", "text")
    readonly_fields = fields
    actions = ("restore",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: DocumentVersion | None = None
    ) -> bool:
        return False

    def has_restore_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("realtime.change_document"))

    @admin.display(description="characters")
    def characters(self, version: DocumentVersion) -> int:
        return len(version.content)

    @admin.display(description="text")
    def text(self, version: DocumentVersion) -> str:
        return format_html('<pre style="white-space: pre-wrap">{}</pre>', version.content)

    @admin.action(description="Restore this version", permissions=["restore"])
    def restore(self, request: HttpRequest, queryset: QuerySet[DocumentVersion]) -> None:
        found = list(queryset.values_list("document_id", "version")[:2])
        if len(found) != 1:
            self.message_user(request, "Choose one version.", messages.ERROR)
            return
        ask = api.Ask(item_id=found[0][0], user_id=str(request.user.pk))
        try:
            api.enqueue_sync(restore_version, args=list(found[0]), ask=ask)
        except StoreUnavailable as error:
            self.message_user(request, error.detail, messages.ERROR)
        else:
            self.message_user(request, "A worker lays the text into the document.")
