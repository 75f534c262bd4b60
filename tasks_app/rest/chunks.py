"""A chat completion as a stream: the task's events become OpenAI's chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from tasks_app import api
from tasks_app.errors import StoreUnavailable, TasksError
from tasks_app.generation.completion import chunk, event_chunk, usage_chunk
from tasks_app.rest import attend, sse
from tasks_app.rest.errors import ApiError, from_end, from_tasks_error, unexpected
from tasks_app.rest.right import Right

KEEP_ALIVE_SECONDS = 12.0  # without a token the response begins, or is kept alive, with a comment
DONE = "data: [DONE]\n\n"


class Translator:
    """Says a task's events as chunks; raises ApiError where the answer breaks off."""

    def __init__(self, task: api.Task, model: str, *, with_usage: bool) -> None:
        self._id = task.id
        self._model = model
        self._created = int(task.created_at.timestamp()) if task.created_at else 0
        self._with_usage = with_usage
        self._is_begun = False

    def frames(self, event: api.Event) -> Iterator[str]:
        match event.type:
            case "token" | "delta":
                yield from self._say(
                    event_chunk(*self._head, event.type, event.data, self._created)
                )
            case "snapshot":
                yield from self._snapshot(event.data)
            case "restart" if self._is_begun:
                raise ApiError(502, "The answer broke off: its worker died.", error_type="restart")
            case "end":
                yield from self._end(event.data)

    @property
    def _head(self) -> tuple[str, str]:
        return self._id, self._model

    def _say(self, piece: dict[str, Any] | None) -> Iterator[str]:
        if not self._is_begun:
            self._is_begun = True
            role = {"role": "assistant", "content": ""}
            yield sse.data(chunk(*self._head, role, created=self._created))
        if piece is not None:
            yield sse.data(piece)

    def _snapshot(self, data: dict[str, Any]) -> Iterator[str]:
        """Begin with what the snapshot holds; in the middle it would repeat what was sent."""
        if self._is_begun:
            raise ApiError(502, "The answer broke off: output was lost.", error_type="output_lost")
        if data["text"]:
            text = {"content": data["text"]}
            yield from self._say(chunk(*self._head, text, created=self._created))

    def _end(self, data: dict[str, Any]) -> Iterator[str]:
        if data["status"] != api.TaskState.SUCCEEDED.value:
            raise from_end(data)
        result = data["result"]
        if not self._is_begun:
            yield from self._whole(result)
        for choice in result["choices"]:
            last = chunk(*self._head, {}, choice["finish_reason"], self._created)
            last["choices"][0]["index"] = choice["index"]
            if result.get("fallback"):
                last["fallback"] = True
            yield sse.data(last)
        if self._with_usage:
            yield sse.data(usage_chunk(*self._head, result.get("usage"), self._created))
        yield DONE

    def _whole(self, result: dict[str, Any]) -> Iterator[str]:
        """Say an answer that came without tokens in one piece."""
        for choice in result["choices"]:
            said = {key: value for key, value in choice["message"].items() if key != "role"}
            piece = chunk(*self._head, said, created=self._created)
            piece["choices"][0]["index"] = choice["index"]
            yield from self._say(piece)


async def frames(task: api.Task, translator: Translator, right: Right) -> AsyncGenerator[str]:
    """Yield the frames of the streamed answer; the task is stopped if they are not read to the end.

    Until the first frame a failure is raised, so that it can be a real HTTP error; after it the
    failure is the last frame. Every silence is used to see whether somebody will claim the task.
    """
    follower = attend.Follower(task.id)
    is_over, is_begun, reason = False, False, "client_gone"
    try:
        async for event in _events_or_silence(task, follower, right):
            is_over = event is not None and event.type == "end"
            said = [sse.comment("waiting")] if event is None else translator.frames(event)
            for frame in said:
                is_begun = True
                yield frame
    except (TasksError, ApiError) as error:
        reason = attend.reason_of(error)
        if not is_begun:
            raise
        yield failure(error)
    except Exception as error:  # the edge of a response that has begun: no other way to say it
        if not is_begun:
            raise
        yield failure(unexpected(error))
    finally:
        await follower.aclose()
        if is_over:
            attend.release(task.id)
        else:
            await attend.leave(task.id, reason)


async def _events_or_silence(
    task: api.Task, follower: attend.Follower, right: Right
) -> AsyncGenerator[api.Event | None]:
    """Yield the events up to the end, and None whenever the connection needs a sign of life."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + attend.LONGEST_CALL_SECONDS
    quiet_since = loop.time()
    while loop.time() < deadline:
        arrived = await follower.next(attend.CHECK_SECONDS)
        await right.check()
        if isinstance(arrived, attend.Ended):
            raise StoreUnavailable  # the events broke off without an end
        if arrived is None:
            await attend.ensure_served(await api.get_task(task.id))
        if arrived is None and loop.time() - quiet_since < KEEP_ALIVE_SECONDS:
            continue
        quiet_since = loop.time()
        yield arrived
        if arrived is not None and arrived.type == "end":
            return
    raise attend.took_too_long()


def failure(error: TasksError | ApiError) -> str:
    """Return the frame with which a stream that has begun breaks off."""
    known = from_tasks_error(error) if isinstance(error, TasksError) else error
    return sse.data({"error": {"message": known.detail, "type": known.error_type}})
