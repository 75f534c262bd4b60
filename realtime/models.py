"""The faces that sessions and model usage have towards the admin: they live in Redis."""

from __future__ import annotations

from typing import TypeVar

from django.db import models

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
