"""What must outlive Redis, and the face that tasks have towards Django's permissions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import models

from tasks_app.domain import records

if TYPE_CHECKING:
    from tasks_app.services.browse import Children, Output

Row = TypeVar("Row", bound=models.Model)


class ApiToken(models.Model):
    """A bearer token of a user: only its hash is stored, and the prefix that lists show."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(max_length=100, blank=True, default="")
    prefix = models.CharField(max_length=8, unique=True, editable=False)
    hash = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API token"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}".rstrip()


class ModelUsage(models.Model):
    """What one user's tasks of one kind asked of one model on one day (UTC), added up."""

    day = models.DateField()
    # As in tasks: any text, "" for tasks without an owner; deleted users keep their sums.
    user_id = models.CharField("user", max_length=200, blank=True, default="")
    kind = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    calls = models.PositiveBigIntegerField(default=0)
    failures = models.PositiveBigIntegerField(default=0)
    prompt_tokens = models.PositiveBigIntegerField(default=0)
    completion_tokens = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0)
    first_tokens = models.PositiveBigIntegerField("calls with output", default=0)
    first_token_seconds = models.FloatField(default=0)

    class Meta:
        verbose_name = "usage of a model"
        verbose_name_plural = "usage of models"
        ordering = ["-day", "user_id", "kind", "model"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["day", "user_id", "kind", "model"], name="one_row_per_day_and_use"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.user_id} {self.kind} {self.model}"


class UserPreference(models.Model):
    """What a user has chosen for themselves: the model of the tasks about their chats."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="generation_preference",
    )
    task_model = models.CharField(max_length=500, blank=True, default="")

    def __str__(self) -> str:
        return str(self.user_id)


class AccessRule(models.Model):
    """Leaves a kind of generation, or a model, to some groups; without a rule it is everyone's."""

    class Subject(models.TextChoices):
        KIND = "kind"
        MODEL = "model"

    subject = models.CharField(max_length=8, choices=Subject.choices)
    name = models.CharField(
        max_length=500,
        help_text="The kind (chat, or as in /api/v1/tasks/{kind}/completions) or the model's id.",
    )
    groups = models.ManyToManyField(
        "auth.Group",
        blank=True,
        related_name="+",
        help_text="Who may use it; nobody but staff, where no group is chosen.",
    )

    class Meta:
        ordering = ["subject", "name"]
        constraints = [
            models.UniqueConstraint(fields=["subject", "name"], name="one_rule_for_each_subject")
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.name}"


class NoRows(models.Manager[Row]):
    """Answers every query with nothing: whoever walks all models (dumpdata) finds no table."""

    def get_queryset(self) -> models.QuerySet[Row]:
        return super().get_queryset().none()


class Task(models.Model):
    """A task as permissions and the admin see it: it has no table, tasks live in Redis."""

    id = models.CharField(max_length=64, primary_key=True)

    objects = NoRows["Task"]()

    # What Redis says, the owner's name, the text so far and the tasks that it started: set by
    # whoever makes the instance.
    record: records.Task
    owner: str
    output: Output
    children: Children

    class Meta:
        managed = False
        default_permissions = ("view", "change", "delete")

    def __str__(self) -> str:
        return str(self.pk)


class PeriodicJob(models.Model):
    """A periodic job as the admin's index sees it: it has no table, code defines jobs.

    Who may look at all tasks may look at these: it has no permissions of its own.
    """

    name = models.CharField(max_length=200, primary_key=True)

    objects = NoRows["PeriodicJob"]()

    class Meta:
        managed = False
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.pk)


class TaskConfiguration(models.Model):
    """The task configuration as the admin's index sees it: django-constance keeps its values.

    Who may look at all tasks may look at it, and who may act on them change it.
    """

    name = models.CharField(max_length=20, primary_key=True)

    objects = NoRows["TaskConfiguration"]()

    class Meta:
        managed = False
        default_permissions = ()
        verbose_name = verbose_name_plural = "task configuration"

    def __str__(self) -> str:
        return "Task configuration"
