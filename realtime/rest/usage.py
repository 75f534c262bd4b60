"""Which models are in use; settings name this router (REST_ROUTERS)."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from ninja import Router
from pydantic import BaseModel

from realtime.services import pools
from tasks_app.rest.extend import ERRORS

router = Router()


class ModelsInUse(BaseModel):
    model_ids: list[str]


@router.get("/usage", response={200: ModelsInUse, **ERRORS}, tags=["paths of the reference system"])
async def usage(request: HttpRequest) -> JsonResponse:  # noqa: ARG001 ninja passes it
    """List the models that are in use now, by anybody: at most 1,000, the ones used last."""
    return JsonResponse({"model_ids": (await pools.models_in_use()).model_ids})
