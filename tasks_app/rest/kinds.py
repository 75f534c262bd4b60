"""The kinds of generation: one path for all, with the reference system's shapes."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import Router

from tasks_app.generation import permission
from tasks_app.generation.configuration import current
from tasks_app.generation.errors import KindDisabled
from tasks_app.generation.generate import check
from tasks_app.generation.kinds import KINDS, receive
from tasks_app.generation.selection import choose
from tasks_app.rest.answering import RESPONSES, respond
from tasks_app.rest.auth import caller_of
from tasks_app.rest.errors import ApiError, detail_response
from tasks_app.rest.schemas import COMPLETION_EXTRA, Completion, Detail, KindRequest
from tasks_app.tasks import OF_KIND

router = Router(tags=["completions"])

# A kind that is turned off may answer 200 as well.
KIND_RESPONSES: dict[Any, Any] = {**RESPONSES, 200: Completion | Detail}


@router.post("/tasks/{kind}/completions", response=KIND_RESPONSES, openapi_extra=COMPLETION_EXTRA)
async def create_kind_completion(
    request: HttpRequest, kind: str, body: KindRequest
) -> HttpResponseBase:
    """Generate something about a conversation or a text; the content is the kind's JSON.

    `title` `{"title"}`, `follow_up` `{"follow_ups"}`, `tags` `{"tags"}`, `image_prompt`
    `{"prompt"}`, `queries` (`type` web_search or retrieval) `{"queries"}`: from `messages`.
    `auto` `{"text"}` and `emoji` (text): from `prompt`. `moa` (text): from `prompt` and
    `responses`. `"fallback": true` marks what stands in for a model's useless answer. A kind that
    is turned off answers `{"detail"}`: 200 for title, follow_up and tags, 400 for the others.
    """
    known = KINDS.get(kind)
    if known is None:
        raise ApiError(404, f"There is no kind of that name; there are: {', '.join(KINDS)}.")
    subject = receive(known, body.model_dump(exclude_unset=True))
    try:
        check(known, subject, await current())
    except KindDisabled as error:
        return detail_response(known.disabled_status, error.detail)
    viewer = caller_of(request).viewer
    admitted = await permission.admit(viewer, kind, body.model)
    choice = await choose(
        body.model,
        kind=kind,
        user_id=viewer.user_id,
        config=admitted.config,
        rights=admitted.rights,
    )
    definition = permission.limited(OF_KIND[kind], choice.model, admitted.config)
    return await respond(request, definition, body, model=choice.model)
