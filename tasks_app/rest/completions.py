"""OpenAI-compatible calls: the models, and chat completions, plain, streamed or async."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from ninja import Router

from tasks_app.generation import permission
from tasks_app.generation.rights import CHAT
from tasks_app.rest.answering import RESPONSES, respond
from tasks_app.rest.auth import caller_of
from tasks_app.rest.schemas import COMPLETION_EXTRA, ERRORS, ChatRequest, ModelList
from tasks_app.tasks import chat_completion

router = Router(tags=["completions"])


@router.get("/models", response={200: ModelList, **ERRORS})
async def models(request: HttpRequest) -> JsonResponse:
    """List the models of all providers that the caller may use."""
    found = await permission.visible_models(caller_of(request).viewer.user_id)
    return JsonResponse({"object": "list", "data": [model.resource() for model in found]})


@router.post("/chat/completions", response=RESPONSES, openapi_extra=COMPLETION_EXTRA)
async def create_chat_completion(request: HttpRequest, body: ChatRequest) -> HttpResponseBase:
    """Answer a conversation, as OpenAI's API does.

    With `"stream": true` as server-sent chunks. `chat_id` (also in `metadata`) is the task's
    `item_id`. The answer's `X-Task-Id` names the task; it is stopped when the client goes away.
    `Prefer: respond-async` answers 202 at once and lets the task outlive the request.
    """
    admitted = await permission.admit(caller_of(request).viewer, CHAT, body.model)
    definition = permission.limited(chat_completion, body.model, admitted.config)
    return await respond(request, definition, body, model=body.model)
