"""Documents: what the database keeps of them, who may open them, and what they were.

And the faces that sessions and model usage, which live in Redis, have towards the admin.
"""

from __future__ import annotations

from typing import TypeVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from realtime.domain.permissions import Permission

is_document_id = RegexValidator(
    r"\A(?!config\Z)[A-Za-z0-9_-]{1,64}\Z",
    "1 to 64 letters, digits, - and _; not config, which is reserved.",
)


class Document(models.Model):
    """A collaborative text as it was last saved; what was edited since is in Redis.

    `state` is the Yjs state (an update, version 1) that `content` was derived from; empty until
    somebody opens a document that was made from its text alone. `sid` is the id of the last entry
    of the update log that `state` has.
    """

    id = models.CharField(max_length=64, primary_key=True, validators=[is_document_id])
    title = models.CharField(max_length=200, blank=True, default="")
    content = models.TextField(blank=True, default="", editable=False)
    state = models.BinaryField(default=b"")
    sid = models.CharField(max_length=40, default="0-0", editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="documents"
    )

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["-created_at", "-id"], name="document_newest")]

    def __str__(self) -> str:
        return self.title or str(self.pk)


class DocumentAccess(models.Model):
    """That a user, or every member of a group, may read a document, or write it too."""

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="access")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="document_access",
    )
    group = models.ForeignKey(
        Group, on_delete=models.CASCADE, null=True, blank=True, related_name="document_access"
    )
    permission = models.CharField(
        max_length=5, choices=[(p.value, p.value) for p in (Permission.READ, Permission.WRITE)]
    )

    class Meta:
        verbose_name_plural = "document access"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=True) ^ models.Q(group__isnull=True),
                name="document_access_of_user_or_group",
                violation_error_message="Name either a user or a group.",
            ),
            models.UniqueConstraint(fields=["document", "user"], name="document_access_user"),
            models.UniqueConstraint(fields=["document", "group"], name="document_access_group"),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.group}: {self.permission}"


class DocumentVersion(models.Model):
    """The text of a document as one save left it; the oldest go by number and age."""

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    content = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(fields=["document", "version"], name="document_version")
        ]

    def __str__(self) -> str:
        return f"{self.document_id} version {self.version}"


Row = TypeVar("Row", bound=models.Model)


class NoRows(models.Manager[Row]):
    """Answers every query with nothing: whoever walks all models (dumpdata) finds no table."""

    def get_queryset(self) -> models.QuerySet[Row]:
        return super().get_queryset().none()


class Session(models.Model):
    """A session as the admin's index sees it: it has no table.

    Who may look at all tasks may look at these: it has no permissions of its own.
    """

    id = models.CharField(max_length=64, primary_key=True)

    objects = NoRows["Session"]()

    class Meta:
        managed = False
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.pk)


class ModelUsage(models.Model):
    """A model in use, likewise."""

    id = models.CharField(max_length=500, primary_key=True)

    objects = NoRows["ModelUsage"]()

    class Meta:
        managed = False
        default_permissions = ()
        verbose_name_plural = "model usage"

    def __str__(self) -> str:
        return str(self.pk)
