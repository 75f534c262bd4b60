"""Django's Tasks API is taken from where this Django has it."""

from __future__ import annotations

import importlib

import django
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tasks_app import compat


def test_the_package_is_this_djangos() -> None:
    built_in = django.VERSION >= (6,)
    assert ("django.tasks" if built_in else "django_tasks") == compat.PACKAGE
    assert (None if built_in else "django_tasks") == compat.APP
    assert ("django_tasks" in settings.INSTALLED_APPS) is not built_in


@pytest.mark.parametrize("name", compat.__all__)
def test_every_name_is_there(name: str) -> None:
    assert hasattr(compat, name)


def test_they_are_the_packages_own() -> None:
    base = importlib.import_module(f"{compat.PACKAGE}.base")
    signals = importlib.import_module(f"{compat.PACKAGE}.signals")
    assert compat.DjangoTask is base.Task
    assert compat.TaskResult is base.TaskResult
    assert compat.task_finished is signals.task_finished
    assert issubclass(compat.GenericTask, base.Task)
    assert issubclass(compat.InvalidTaskBackendError, ImproperlyConfigured)
    assert compat.InvalidTaskError.__mro__[1] is compat.TaskResultDoesNotExist.__mro__[1]
