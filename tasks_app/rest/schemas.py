"""The shapes of requests and answers, as they are checked and as the OpenAPI page shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool

from tasks_app.api import TaskState


def _writable(text: str) -> str:
    """Refuse half a surrogate pair, which no key of Redis can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("This is not text that UTF-8 can write.") from None
    return text


Writable = Annotated[str, AfterValidator(_writable)]
ItemId = Annotated[str, Field(max_length=200), AfterValidator(_writable)]
Name = Annotated[str, Field(max_length=200), AfterValidator(_writable)]


# --- requests: fields of OpenAI's that are not named here are passed on to the provider -------


class Message(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: Annotated[str, Field(min_length=1)]
    content: str | list[Any] | None = None


class Metadata(BaseModel):
    model_config = ConfigDict(extra="allow")

    chat_id: ItemId | None = None


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")

    include_usage: StrictBool | None = None


class CompletionRequest(BaseModel):
    """What every completions call takes; `chat_id` becomes the task's `item_id`."""

    model_config = ConfigDict(extra="allow")

    model: Annotated[str, Field(min_length=1, max_length=500)]
    chat_id: ItemId | None = None
    metadata: Metadata | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None

    @property
    def item_id(self) -> str:
        return self.chat_id or (self.metadata and self.metadata.chat_id) or ""

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class BackgroundTasks(BaseModel):
    """What is made of the conversation once it has been answered, in the background."""

    model_config = ConfigDict(extra="forbid")

    title_generation: StrictBool = False
    tags_generation: StrictBool = False
    follow_up_generation: StrictBool = False


class ChatRequest(CompletionRequest):
    """A request of OpenAI's chat completions, and what is to follow its answer."""

    messages: Annotated[list[Message], Field(min_length=1)]
    background_tasks: BackgroundTasks | None = None


class KindRequest(CompletionRequest):
    """A request of one of the kinds, each of which needs some of these."""

    messages: list[Message] | None = None
    prompt: str | None = None
    type: str | None = None
    responses: list[str] | None = None


class Preferences(BaseModel):
    """What a user may change about themselves."""

    model_config = ConfigDict(extra="forbid")

    task_model: Annotated[str, Field(min_length=1, max_length=500)] | None = None


class TaskQuery(BaseModel):
    """The filters of the list of tasks."""

    status: TaskState | None = None
    name: Name | None = None
    queue: Name | None = None
    item_id: ItemId | None = None
    cursor: Annotated[str | None, Field(pattern=r"^[0-9]{1,18}$")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


# --- answers ----------------------------------------------------------------------------------


class FieldError(BaseModel):
    loc: list[str | int]
    msg: str
    type: str


class Detail(BaseModel):
    """What is wrong and what to do; for 422 a list that names each field."""

    detail: str | list[FieldError]


class TaskError(BaseModel):
    type: str
    message: str


class TaskResource(BaseModel):
    """A task: one requested run of a registered function."""

    id: str
    name: str
    queue: str
    status: TaskState
    item_id: str | None
    user_id: str | None
    priority: int
    attempts: int
    progress: float | None
    message: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    instance: str | None
    result: Any
    error: TaskError | None
    stopped_by: str | None
    reason: str | None
    retried_from: str | None
    parent_id: str | None


class TaskList(BaseModel):
    tasks: list[TaskResource]
    next_cursor: str | None


class TaskIds(BaseModel):
    task_ids: list[str]


class UnfinishedTasks(BaseModel):
    tasks: list[str]


class Stopped(BaseModel):
    status: bool
    message: str


class Model(BaseModel):
    id: str
    object: str
    created: int
    owned_by: str
    type: str


class ModelList(BaseModel):
    object: str
    data: list[Model]


class Me(BaseModel):
    id: str
    username: str
    is_staff: bool
    task_model: str | None


class Completion(BaseModel):
    """OpenAI's `chat.completion`; the kinds mark what stands in for an answer by `fallback`."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None
    fallback: bool | None = None


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


# For the `openapi_extra=` of completions calls: what the shapes of the bodies cannot say.
LOCATION = _header("The address of the task")
_TASK_ID = {"X-Task-Id": _header("The task behind the answer")}
PREFER: dict[str, Any] = {
    "in": "header",
    "name": "Prefer",
    "required": False,
    "description": "`respond-async`: answer 202 at once; the task outlives the request.",
    "schema": {"type": "string"},
}
COMPLETION_EXTRA: dict[str, Any] = {
    "parameters": [PREFER],
    "responses": {
        200: {
            "headers": _TASK_ID,
            "content": {
                "text/event-stream": {
                    "schema": {
                        "type": "string",
                        "description": "With `stream`: `chat.completion.chunk`s, then `[DONE]`.",
                    }
                }
            },
        },
        202: {"headers": {**_TASK_ID, "Location": LOCATION}},
    },
}

# For the `response=` of every operation.
ERRORS: dict[Any, Any] = {
    frozenset({400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503}): Detail
}
