"""How a completion is answered: at its end, as a stream, or by naming the task."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from tasks_app import api
from tasks_app.definition import TaskDefinition
from tasks_app.errors import TasksError
from tasks_app.generation.conf import BACKGROUND_RETRY_SECONDS
from tasks_app.rest import attend, chunks, places, sse
from tasks_app.rest.auth import caller_of
from tasks_app.rest.errors import ApiError, from_end, of_task
from tasks_app.rest.right import Right, listening
from tasks_app.rest.schemas import ERRORS, Completion, CompletionRequest, TaskResource

# Per user and process: a program may answer many people with one token.
MOST_STREAMS = 500
RESPONSES: dict[Any, Any] = {200: Completion, 202: TaskResource, **ERRORS}


async def respond(
    request: HttpRequest,
    definition: TaskDefinition[..., Any],
    body: CompletionRequest,
    *,
    model: str,
) -> HttpResponseBase:
    """Run the task of a completion by `model`, and answer in the way that the client asks for."""
    if prefers_async(request):
        return await _accepted(request, definition, body)
    if body.stream:
        return await _streamed(request, definition, body, model)
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
    request: HttpRequest, definition: TaskDefinition[..., Any], body: CompletionRequest, model: str
) -> HttpResponseBase:
    place = places.take("chat streams", caller_of(request).viewer.user_id, MOST_STREAMS)
    try:
        ask = _ask(request, body, is_streamed=True)
        task = await attend.enqueue(definition, _payload(body), ask)
        translator = chunks.Translator(task, model, with_usage=body.wants_usage)
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
