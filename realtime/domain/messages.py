"""The frames that a client of `/ws/` sends, one schema each, and parsing them; building frames.

What the server sends is in server_frames.py. docs/websocket.md takes its tables from both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from realtime.domain.limits import MAX_MODEL_CHARACTERS

TaskId = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_-]{1,64}\z")]
RoomName = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_.:-]{1,80}\z")]
CallId = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_-]{1,64}\z")]
MAX_ACK = 2**53 - 1  # the largest integer that a browser keeps exact
MAX_DETAIL = 300
# `1e999` is JSON, and infinite in Python: not allowed to go out again as what JSON does not know.
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class FrameError(Exception):
    """A frame is refused: `code` is the contract's, `detail` says what is wrong and what to do.

    With `close_code` the socket is closed after the answer.
    """

    def __init__(
        self, code: str, detail: str, *, ack: int | None = None, close_code: int | None = None
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail[:MAX_DETAIL]
        self.ack = ack
        self.close_code = close_code


class ClientFrame(BaseModel):
    """The data of one client frame; unknown fields are ignored, wrong types are not converted.

    The documentation takes a frame's docstring, and as `answer` what its `ack` carries.
    """

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    answer: ClassVar[str] = "`{}`"


class Auth(ClientFrame):
    token: Annotated[str, Field(min_length=1, max_length=512, repr=False)]


class UserJoin(ClientFrame):
    """Signs in, where the handshake did not, and tells who you are."""

    answer: ClassVar[str] = '`{"id", "name", "session_id"}`'

    auth: Annotated[Auth | None, Field(description='`{"token"}`')] = None


class Heartbeat(ClientFrame):
    """Keeps the session alive in the session pool, and asks for a sign of life."""


class TaskSubscribe(ClientFrame):
    """Sends a task's events from there on, up to its `end`."""

    answer: ClassVar[str] = '`{"task_id"}`, before the first event'

    task_id: TaskId
    last_event_id: Annotated[str | None, Field(description="any text")] = None


class TaskUnsubscribe(ClientFrame):
    """Ends that again; no event of the task follows."""

    answer: ClassVar[str] = '`{"task_id"}`'

    task_id: TaskId


class TaskStop(ClientFrame):
    """Stops a task, or those of an item: give one of the two."""

    answer: ClassVar[str] = (
        'the task resource without `result` · `{"task_ids"}`, those that were asked to stop'
    )

    task_id: TaskId | None = None
    item_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _names_one_thing(self) -> TaskStop:
        if (self.task_id is None) == (self.item_id is None):
            raise ValueError("give either task_id or item_id")
        return self


class RoomJoin(ClientFrame):
    """Enters a room, if you may; its presence and events follow."""

    answer: ClassVar[str] = '`{"room"}`'

    room: RoomName


class RoomLeave(ClientFrame):
    """Leaves it; no event of the room follows."""

    answer: ClassVar[str] = '`{"room"}`'

    room: RoomName


class RoomSend(ClientFrame):
    """Sends an event to all sockets in a room that you have joined, your own included."""

    answer: ClassVar[str] = '`{"room"}`'

    room: RoomName
    event: Annotated[str, Field(min_length=1, max_length=100)]
    data: Annotated[Any, Field(description="any JSON")] = None


class CallReply(ClientFrame):
    """Answers a `call`; only the session that was asked, once, and in time."""

    answer: ClassVar[str] = '`{"call_id"}`'

    call_id: CallId
    data: Annotated[Any, Field(description="any JSON")] = None


def _writable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("not text that UTF-8 can write") from None
    return text


class Usage(ClientFrame):
    """Says that this session uses a model now."""

    model: Annotated[
        str, Field(min_length=1, max_length=MAX_MODEL_CHARACTERS), AfterValidator(_writable)
    ]


FRAMES: dict[str, type[ClientFrame]] = {
    "user-join": UserJoin,
    "heartbeat": Heartbeat,
    "usage": Usage,
    "task:subscribe": TaskSubscribe,
    "task:unsubscribe": TaskUnsubscribe,
    "task:stop": TaskStop,
    "room:join": RoomJoin,
    "room:leave": RoomLeave,
    "room:send": RoomSend,
    "call:reply": CallReply,
}


@dataclass(frozen=True, slots=True)
class Incoming:
    """A frame that was understood: what it asks for, and the number its answer carries."""

    frame: ClientFrame
    ack: int | None


def parse(text: str, *, is_signed_in: bool = True) -> Incoming:
    """Read one client frame; before sign-in only `user-join` is taken.

    Raises FrameError `bad_frame`, `unknown_type`, `invalid` or `not_signed_in`.
    """
    envelope = _load(text)
    ack = _ack(envelope)
    kind = envelope.get("type")
    if not isinstance(kind, str):
        raise FrameError("bad_frame", 'A frame needs a "type" that is text.', ack=ack)
    model = FRAMES.get(kind)
    if model is None:
        raise FrameError("unknown_type", f"There is no frame type {kind[:80]!a}.", ack=ack)
    if not is_signed_in and model is not UserJoin:
        raise FrameError("not_signed_in", 'Sign in first: send "user-join".', ack=ack)
    data = envelope.get("data")
    try:
        return Incoming(model.model_validate({} if data is None else data), ack)
    except ValidationError as error:
        raise FrameError("invalid", _describe(error), ack=ack) from None


def ack_of(text: str) -> int | None:
    """Return the `ack` of a frame that is refused unread; None where it has no valid one."""
    try:
        return _ack(_load(text))
    except FrameError:
        return None


def _load(text: str) -> dict[str, Any]:
    try:
        envelope = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise FrameError("bad_frame", "A frame is one JSON object.") from None
    if not isinstance(envelope, dict):
        raise FrameError("bad_frame", "A frame is one JSON object.")
    return envelope


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _ack(envelope: dict[str, Any]) -> int | None:
    number = envelope.get("ack")
    if number is None:
        return None
    if type(number) is not int or not 0 <= number <= MAX_ACK:
        raise FrameError("bad_frame", '"ack" is a whole number from 0 to 2^53 - 1.')
    return number


def _describe(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'.'.join(('data', *map(str, problem['loc'])))}: {problem['msg']}"
        for problem in problems[:5]
    )


def encode(kind: str, data: Any, ack: int | None = None) -> str:
    """Return a server frame as JSON text that is always valid UTF-8.

    Raises ValueError or TypeError for what JSON cannot hold, also when it is nested too deeply.
    """
    return to_json(
        {"type": kind, "data": data} if ack is None else {"type": kind, "ack": ack, "data": data}
    )


def to_json(value: Any) -> str:
    """Return a value as `encode` writes it; raises the same."""
    try:
        text = _encoder.encode(value)
        if text.isascii():
            return text
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate from somebody's JSON: only escapes can carry it
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return text


def outgoing(text: str) -> dict[str, Any]:
    """Return the ASGI message that carries a frame; one is enough for any number of sockets."""
    return {"type": "websocket.send", "text": text}


def refusal(error: FrameError) -> str:
    return encode("error", {"code": error.code, "detail": error.detail}, error.ack)
