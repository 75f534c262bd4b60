"""What a prompt template becomes, before it is put in force: for staff."""

from __future__ import annotations

from typing import Annotated

from django.http import HttpRequest, JsonResponse
from ninja import Router
from pydantic import BaseModel, Field

from tasks_app.database import query
from tasks_app.generation.configuration import current
from tasks_app.generation.errors import InvalidRequest
from tasks_app.generation.kinds import KINDS
from tasks_app.generation.options import LONGEST_TEMPLATE
from tasks_app.generation.preview import preview, template_of
from tasks_app.rest.auth import caller_of
from tasks_app.rest.errors import ApiError
from tasks_app.rest.schemas import ERRORS, Message

router = Router(tags=["task configuration"])

FOR_STAFF = "Only staff with the permission tasks_app.view_task may preview prompt templates."


class PreviewRequest(BaseModel):
    """A template, or a kind whose template in force is shown; the rest stands for a sample's."""

    template: Annotated[str | None, Field(max_length=LONGEST_TEMPLATE)] = None
    kind: str | None = None
    messages: list[Message] | None = None
    prompt: str | None = None
    type: str | None = None
    responses: list[str] | None = None


class PreviewAnswer(BaseModel):
    """The text as a model would get it; `errors` names what in the template is no variable."""

    text: str
    errors: list[str]


@router.post("/tasks/config/preview", response={200: PreviewAnswer, **ERRORS})
async def show_preview(request: HttpRequest, body: PreviewRequest) -> JsonResponse:
    """Render a prompt template on a sample, or on what is given; nothing is changed."""
    viewer = caller_of(request).viewer
    if not viewer.can_view_all:
        raise ApiError(403, FOR_STAFF)
    template = await _template(body)
    given = body.model_dump(exclude={"template", "kind"})
    shown = await query(preview, template, user_id=viewer.user_id, given=given)
    return JsonResponse({"text": shown.text, "errors": shown.errors})


async def _template(body: PreviewRequest) -> str:
    if body.kind is not None and body.kind not in KINDS:
        there_are = ", ".join(KINDS)
        raise InvalidRequest(f"There is no kind of that name; there are: {there_are}.", "kind")
    if body.template:
        return body.template
    if body.kind is None:
        raise InvalidRequest("Send a template, or a kind to see its template in force.", "template")
    return template_of(body.kind, await current())
