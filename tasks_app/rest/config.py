"""The task configuration: anyone signed in may read it, staff change it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpRequest, JsonResponse
from ninja import Router
from pydantic import BaseModel, ConfigDict

from tasks_app.generation.configuration import TaskConfig, current, update
from tasks_app.generation.rights import Rights, rights_of
from tasks_app.rest.auth import caller_of
from tasks_app.rest.errors import ApiError
from tasks_app.rest.schemas import ERRORS

router = Router(tags=["task configuration"])

FOR_STAFF = (
    "Only staff with the permissions tasks_app.view_task and tasks_app.change_task may change the "
    "task configuration."
)


class ConfigUpdate(BaseModel):
    """Any of the fields that `GET /api/v1/tasks/config` shows; the others stay as they are."""

    model_config = ConfigDict(extra="allow")


@router.get("/tasks/config", response={200: TaskConfig, **ERRORS})
async def read_config(request: HttpRequest) -> JsonResponse:
    """Show the task configuration; an empty prompt template stands for the built-in prompt.

    Models that the caller may not use are left out.
    """
    config = await current()
    rights = await rights_of(caller_of(request).viewer.user_id)
    return JsonResponse(_without_hidden(config, rights).resource())


@router.post("/tasks/config/update", response={200: TaskConfig, **ERRORS})
async def update_config(request: HttpRequest, body: ConfigUpdate) -> JsonResponse:
    """Change some fields, all or none of them; in force on every instance within a second.

    422 names every field that does not exist or whose value is refused.
    """
    viewer = caller_of(request).viewer
    if not (viewer.can_view_all and viewer.can_change_all):
        raise ApiError(403, FOR_STAFF)
    return JsonResponse((await update(body.model_dump())).resource())


def _without_hidden(config: TaskConfig, rights: Rights) -> TaskConfig:
    if not rights.closed_models:
        return config
    return replace(
        config,
        TASK_MODEL=_shown(config.TASK_MODEL, rights),
        TASK_MODEL_EXTERNAL=_shown(config.TASK_MODEL_EXTERNAL, rights),
        TASK_KIND_OVERRIDES={
            kind: _shown_override(override, rights)
            for kind, override in config.TASK_KIND_OVERRIDES.items()
        },
        MODEL_CONCURRENCY={
            model: limit
            for model, limit in config.MODEL_CONCURRENCY.items()
            if rights.may_use_model(model)
        },
    )


def _shown(model: str, rights: Rights) -> str:
    return model if rights.may_use_model(model) else ""


def _shown_override(override: dict[str, Any], rights: Rights) -> dict[str, Any]:
    is_hidden = not rights.may_use_model(override.get("model", ""))
    return {name: value for name, value in override.items() if not (is_hidden and name == "model")}
