"""The frames that the server sends on `/ws/`, one schema each: for the documentation and the tests.

Frames are built where they arise, without a detour through these; the tests hold every frame that
they receive against its schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from realtime.domain.messages import MAX_DETAIL, CallId, RoomName, TaskId

Code = Literal[
    "bad_frame", "unknown_type", "invalid", "not_signed_in", "forbidden", "not_found", "conflict",
    "rate_limited", "unavailable",
]  # fmt: skip


CODES: tuple[str, ...] = get_args(Code)


class ServerFrame(BaseModel):
    """The data of one server frame; the documentation takes its docstring."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Error(ServerFrame):
    """A frame was refused.

    With `task_id` or `room`, and without an `ack`: a subscription, or being in a room, has ended.
    """

    code: Code
    detail: Annotated[str, Field(min_length=1, max_length=MAX_DETAIL)]
    task_id: TaskId | None = None
    room: RoomName | None = None


class Usage(ServerFrame):
    """The models in use have changed."""

    model_ids: list[str]


class TaskUpdate(ServerFrame):
    """A task of yours has changed, on each of your sockets.

    Changes in quick succession may arrive as one.
    """

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"summary": "the task resource without `result`"}
    )

    id: TaskId
    status: str


class TaskEvent(ServerFrame):
    """An event of a task that you follow, as in `GET /api/v1/tasks/{id}/events`."""

    task_id: TaskId
    id: Annotated[str, Field(description="orders the events")]
    type: str
    data: Annotated[Any, Field(description="as `type` needs it")]


class User(ServerFrame):
    """Somebody, by what others may know of them."""

    id: str
    name: str


class RoomEvent(ServerFrame):
    """Somebody sent this to a room that you are in."""

    room: RoomName
    sender: Annotated[User, Field(alias="from", description='`{"id", "name"}`')]
    event: str
    data: Annotated[Any, Field(description="as it was sent")]


class RoomPresence(ServerFrame):
    """Who is in a room that you are in, when you join and after changes, at most twice a second."""

    room: RoomName
    count: Annotated[int, Field(ge=1, description="different users")]
    users: Annotated[
        list[User], Field(max_length=100, description='`{"id", "name"}` each, 100 at most')
    ]


class Call(ServerFrame):
    """The server asks this session something: answer by `call:reply` within `timeout` seconds."""

    call_id: CallId
    kind: str
    data: Annotated[Any, Field(description="any JSON")]
    timeout: float


class Notification(ServerFrame):
    """The site has something to tell you, on each of your sockets."""

    kind: str
    data: Annotated[Any, Field(description="any JSON")]


FRAMES: dict[str, type[ServerFrame]] = {
    "error": Error,
    "usage": Usage,
    "task:update": TaskUpdate,
    "task:event": TaskEvent,
    "room:event": RoomEvent,
    "room:presence": RoomPresence,
    "call": Call,
    "notification": Notification,
}
