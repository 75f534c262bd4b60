"""Finds what installed apps define in their `tasks` modules: task definitions, periodic jobs."""

from __future__ import annotations

from importlib import import_module

from django.apps import apps
from django.utils.module_loading import module_has_submodule


def load_task_modules() -> None:
    """Import every installed app's `tasks` module, so that its definitions are known."""
    for config in apps.get_app_configs():
        if config.module is not None and module_has_submodule(config.module, "tasks"):
            import_module(f"{config.name}.tasks")
