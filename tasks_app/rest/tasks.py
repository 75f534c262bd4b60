"""Tasks over HTTP: list, show, wait, stop, retry, follow; the reference system's paths besides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from ninja import Header, Query, Router

from tasks_app import api
from tasks_app.errors import AlreadyFinished, TasksError
from tasks_app.generation import permission
from tasks_app.rest import attend, places, sse
from tasks_app.rest.auth import caller_of
from tasks_app.rest.errors import ApiError, from_tasks_error
from tasks_app.rest.right import Right, listening
from tasks_app.rest.schemas import (
    ERRORS,
    LOCATION,
    ItemId,
    Stopped,
    TaskIds,
    TaskList,
    TaskQuery,
    TaskResource,
    UnfinishedTasks,
)
from tasks_app.tasks import KIND_OF

router = Router(tags=["tasks"])
reference = Router(tags=["paths of the reference system"])

LONGEST_WAIT_SECONDS = 60
STOP_WAIT_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
LONGEST_STREAM_SECONDS = 3600.0  # then the client comes back with its Last-Event-ID
FIRST_EVENT_SECONDS = 5.0
MOST_STREAMS = 50  # per user and process
NOTHING_TO_STOP = "There was nothing that you may stop."
RETRY_HINT = "retry: 1000\n\n"
CREATED = {"responses": {201: {"headers": {"Location": LOCATION}}}}
EVENT_STREAM = {
    "responses": {
        200: {"description": "The events, up to `end`", "content": {"text/event-stream": {}}},
        204: {"description": "The task is over, and its end was received before"},
    }
}


@router.get("/tasks", response={200: TaskList, **ERRORS})
async def list_tasks(request: HttpRequest, query: Query[TaskQuery]) -> JsonResponse:
    """List tasks, newest first: one's own; staff see all."""
    page = await api.list_tasks(
        viewer=caller_of(request).viewer,
        only=api.Filter(
            status=query.status.value if query.status else None,
            name=query.name,
            queue=query.queue,
            item_id=query.item_id,
        ),
        cursor=query.cursor,
        limit=query.limit,
    )
    shown = [task.resource() for task in await api.with_results(page.tasks)]
    return JsonResponse({"tasks": shown, "next_cursor": page.next_cursor})


@router.get("/tasks/{task_id}", response={200: TaskResource, **ERRORS})
async def show_task(
    request: HttpRequest,
    task_id: str,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_SECONDS, allow_inf_nan=False)] = 0.0,
) -> JsonResponse:
    """Show a task; with `wait` once it has finished, or after so many seconds."""
    task = await api.get_task(task_id, caller_of(request).viewer)
    if wait and not task.is_finished:
        task = await api.wait_task(task_id, wait)
    return JsonResponse(task.resource())


@router.post("/tasks/{task_id}/stop", response={200: TaskResource, **ERRORS})
async def stop_task(request: HttpRequest, task_id: str) -> JsonResponse:
    """Stop a task: `canceled` if acknowledged within a second, else `canceling`."""
    viewer = caller_of(request).viewer
    task = await api.stop_task(task_id, by=viewer.username, viewer=viewer, wait=STOP_WAIT_SECONDS)
    return JsonResponse(task.resource())


@router.post(
    "/tasks/{task_id}/retry", openapi_extra=CREATED, response={201: TaskResource, **ERRORS}
)
async def retry_task(request: HttpRequest, task_id: str) -> JsonResponse:
    """Retry a registered task that failed or was canceled: a new task with its arguments.

    Generation is asked for anew: the caller must still be allowed to, and it counts as a request.
    """
    viewer = caller_of(request).viewer
    await _admit_again(await api.get_task(task_id, viewer), viewer)
    task = await api.retry_task(task_id, viewer)
    headers = {"Location": f"/api/v1/tasks/{task.id}"}
    return JsonResponse(task.resource(), status=201, headers=headers)


async def _admit_again(task: api.Task, viewer: api.Viewer) -> None:
    kind = KIND_OF.get(task.path)
    if kind is None or not api.is_retryable(task) or not viewer.may_act_on(task.user_id):
        return
    arguments = [task.payload.get("kwargs", {}).get("body"), *task.payload.get("args", ())]
    body = next((one for one in arguments if isinstance(one, dict)), {})
    await permission.admit(viewer, kind, str(body.get("model")))


@router.get("/tasks/{task_id}/events", openapi_extra=EVENT_STREAM, response=ERRORS)
async def follow_task(
    request: HttpRequest,
    task_id: str,
    last_event_id: Annotated[str, Header(alias="Last-Event-ID")] = "",
    last_event: Annotated[str, Query(alias="last_event_id")] = "",
) -> HttpResponseBase:
    """Follow a task's output as server-sent events, from the beginning or after an event.

    The id of the last event may come as a header or as `?last_event_id=`.
    """
    viewer = caller_of(request).viewer
    task = await api.get_task(task_id, viewer)
    place = places.take("event streams", viewer.user_id, MOST_STREAMS)
    follower = attend.Follower(task_id, last_event_id or last_event or None)
    try:
        first: api.Event | attend.Ended | None = None
        if task.is_finished:
            first = await follower.next(FIRST_EVENT_SECONDS)
        if not isinstance(first, attend.Ended):
            right = Right(caller_of(request), lambda viewer: viewer.may_see(task.user_id))
            frames = listening(right, _event_frames(follower, first, right))
            return await sse.stream(places.holding(place, frames))
    except BaseException:
        await follower.aclose()
        place.release()
        raise
    await follower.aclose()
    place.release()
    return HttpResponse(status=204)  # an EventSource then stops coming back


async def _event_frames(
    follower: attend.Follower, first: api.Event | attend.Ended | None, right: Right
) -> AsyncGenerator[str]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LONGEST_STREAM_SECONDS
    try:
        yield RETRY_HINT
        arrived = first or await follower.next(HEARTBEAT_SECONDS)
        while not isinstance(arrived, attend.Ended) and loop.time() < deadline:
            await right.check()
            if arrived is None:
                yield sse.comment("alive")
            else:
                yield sse.event(arrived.id, arrived.type, arrived.data)
            arrived = await follower.next(HEARTBEAT_SECONDS)
    except (TasksError, ApiError) as error:
        # The client comes back with its Last-Event-ID, and is then told by a status.
        known = from_tasks_error(error) if isinstance(error, TasksError) else error
        yield sse.comment(known.detail)
    finally:
        await follower.aclose()


# --- the paths of the reference system ----------------------------------------------------------


@reference.get("/tasks", response={200: UnfinishedTasks, **ERRORS})
async def unfinished(request: HttpRequest) -> JsonResponse:
    """List the ids of unfinished tasks."""
    return JsonResponse({"tasks": await api.unfinished_ids(caller_of(request).viewer)})


@reference.post("/tasks/stop/{task_id}", response={200: Stopped, **ERRORS})
async def stop_by_id(request: HttpRequest, task_id: str) -> JsonResponse:
    """Stop a task; `status` is false when it has already finished."""
    viewer = caller_of(request).viewer
    try:
        await api.stop_task(task_id, by=viewer.username, viewer=viewer)
    except AlreadyFinished as error:
        return JsonResponse({"status": False, "message": str(error)})
    return JsonResponse({"status": True, "message": f"Task {task_id} was asked to stop."})


# Before the list: an item's id may hold slashes, so the list's address fits this one too.
@reference.post("/tasks/chat/{path:item_id}/stop", response={200: Stopped, **ERRORS})
async def stop_by_item(request: HttpRequest, item_id: ItemId) -> JsonResponse:
    """Stop all unfinished tasks of an item."""
    viewer = caller_of(request).viewer
    stopped = await api.stop_item(item_id, by=viewer.username, viewer=viewer)
    count = f"{len(stopped)} task{'s' if len(stopped) > 1 else ''}"
    message = f"Asked {count} to stop." if stopped else NOTHING_TO_STOP
    return JsonResponse({"status": True, "message": message})


# An id that ends in "/stop" fits the address above, where only POST means to stop.
@reference.get(
    "/tasks/chat/{path:item_id}/stop",
    response={200: TaskIds, **ERRORS},
    include_in_schema=False,
)
async def unfinished_of_item_named_stop(request: HttpRequest, item_id: str) -> JsonResponse:
    """List the ids of the unfinished tasks of the item whose id ends in `/stop`."""
    return await unfinished_of_item(request, f"{item_id}/stop")


@reference.get("/tasks/chat/{path:item_id}", response={200: TaskIds, **ERRORS})
async def unfinished_of_item(request: HttpRequest, item_id: ItemId) -> JsonResponse:
    """List the ids of an item's unfinished tasks."""
    ids = await api.unfinished_ids(caller_of(request).viewer, item_id)
    return JsonResponse({"task_ids": ids})
