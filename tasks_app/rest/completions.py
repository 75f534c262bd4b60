"""OpenAI-compatible calls: chat completions and the generation kinds, plain, streamed or async."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from ninja import Router

from tasks_app import api
from tasks_app.definition import TaskDefinition
from tasks_app.errors import TasksError
from tasks_app.generation.catalog import get_catalog
from tasks_app.generation.conf import BACKGROUND_RETRY_SECONDS
from tasks_app.generation.rights import CHAT
from tasks_app.rest import attend, chunks, places, sse
from tasks_app.rest.auth import caller_of
from tasks_app.rest.errors import ApiError, from_end, of_task
from tasks_app.rest.right import Right, listening
from tasks_app.rest.schemas import (
    CHAT_EXTRA,
    COMPLETION_EXTRA,
    ERRORS,
    ChatRequest,
    Completion,
    CompletionRequest,
    ModelList,
    TaskResource,
)
from tasks_app.services import permission
from tasks_app.tasks import chat_completion, title_generation

router = Router(tags=["completions"])

KINDS: dict[str, TaskDefinition[..., Any]] = {"title": title_generation}
# Per user and process: a program may answer many people with one token.
MOST_STREAMS = 500
RESPONSES: dict[Any, Any] = {200: Completion, 202: TaskResource, **ERRORS}


@router.get("/models", response={200: ModelList, **ERRORS})
async def models(request: HttpRequest) -> JsonResponse:
    """List the models of all providers that the caller may use."""
    found = await permission.visible_models(caller_of(request).viewer.user_id)
    return JsonResponse({"object": "list", "data": [model.resource() for model in found]})


@router.post("/chat/completions", response=RESPONSES, openapi_extra=CHAT_EXTRA)
async def create_chat_completion(request: HttpRequest, body: ChatRequest) -> HttpResponseBase:
    """Answer a conversation, as OpenAI's API does.

    With `"stream": true` as server-sent chunks. `chat_id` (also in `metadata`) is the task's
    `item_id`. The answer's `X-Task-Id` names the task; it is stopped when the client goes away.
    `Prefer: respond-async` answers 202 at once and lets the task outlive the request.
    """
    admitted = await permission.admit(caller_of(request).viewer, CHAT, body.model)
    definition = permission.limited(chat_completion, body.model, admitted.config)
    if prefers_async(request):
        return await _accepted(request, definition, body)
    if body.stream:
        return await _streamed(request, definition, body)
    return await _answered(await attend.enqueue(definition, _payload(body), _ask(request, body)))


@router.post("/tasks/{kind}/completions", response=RESPONSES, openapi_extra=COMPLETION_EXTRA)
async def create_kind_completion(
    request: HttpRequest, kind: str, body: CompletionRequest
) -> HttpResponseBase:
    """Generate something about a conversation: `title` answers `{"title": …}` as the content."""
    definition = KINDS.get(kind)
    if definition is None:
        raise ApiError(404, f"There is no kind of that name; there is: {', '.join(KINDS)}.")
    await get_catalog().find(body.model)
    if prefers_async(request):
        return await _accepted(request, definition, body)
    return await _answered(await attend.enqueue(definition, _payload(body), _ask(request, body)))


def prefers_async(request: HttpRequest) -> bool:
    """Tell whether the Prefer header asks not to wait for the end (RFC 7240)."""
    preferences = request.headers.get("Prefer", "").lower().split(",")
    return any(part.partition(";")[0].strip() == "respond-async" for part in preferences)


def _payload(body: CompletionRequest) -> dict[str, Any]:
    # Only what the client sent: a default that we add could mean something to a provider.
    return body.model_dump(exclude_unset=True)


def _ask(
    request: HttpRequest,
    body: CompletionRequest,
    *,
    is_streamed: bool = False,
    is_attended: bool = True,
) -> api.Ask:
    return api.Ask(
        item_id=body.item_id,
        user_id=caller_of(request).viewer.user_id,
        restartable=not is_streamed,
        require_worker=is_attended,
    )


async def _streamed(
    request: HttpRequest, definition: TaskDefinition[..., Any], body: ChatRequest
) -> HttpResponseBase:
    place = places.take("chat streams", caller_of(request).viewer.user_id, MOST_STREAMS)
    try:
        ask = _ask(request, body, is_streamed=True)
        task = await attend.enqueue(definition, _payload(body), ask)
        translator = chunks.Translator(task, body.model, with_usage=body.wants_usage)
        right = Right(caller_of(request), lambda viewer: viewer.user_id == task.user_id)
        frames = listening(right, chunks.frames(task, translator, right))
        frames = places.holding(place, frames)
        try:
            return await sse.stream(frames, **{"X-Task-Id": task.id})
        except (ApiError, TasksError) as error:
            raise of_task(error, task.id) from error
    except BaseException:
        place.release()
        raise


async def _accepted(
    request: HttpRequest, definition: TaskDefinition[..., Any], body: CompletionRequest
) -> JsonResponse:
    ask = _ask(request, body, is_attended=False)
    kwargs = {"body": _payload(body), "retry_seconds": BACKGROUND_RETRY_SECONDS}
    task = await api.enqueue_task(definition, kwargs=kwargs, ask=ask)
    headers = {
        "Location": f"/api/v1/tasks/{task.id}",
        "X-Task-Id": task.id,
        "Preference-Applied": "respond-async",
    }
    return JsonResponse(task.resource(), status=202, headers=headers)


async def _answered(task: api.Task) -> JsonResponse:
    try:
        ended = await attend.until_end(task)
        if ended.status is not api.TaskState.SUCCEEDED:
            raise from_end(ended.resource())
    except (ApiError, TasksError) as error:
        raise of_task(error, task.id) from error
    return JsonResponse(ended.result, headers={"X-Task-Id": task.id})
