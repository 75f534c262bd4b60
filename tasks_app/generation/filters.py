"""A project's own functions that see, change or refuse what goes to a model and what comes back.

`SIGNALBOX_FILTERS` names them by dotted path, in the order in which they are asked. Each is a
function marked with `@inlet`, `@stream` or `@outlet`, or a class with methods of these names,
which is made once without arguments and may limit itself by `kinds = {"title", …}`:

- `inlet(request, call)`: the request as the provider will get it, a dict; before the call.
- `stream(text, call)`: each piece of text as it arrives, cut anywhere; before anybody sees it.
  It may keep some back: it is asked once more, with "" and `call.is_over`, when all has come.
- `outlet(text, call)`: a model's whole text; before it is read or handed on.

Each returns what is to stand in its place, or None to let it pass (a request may be changed in
place). Raising Refused ends the task and tells the user why. All may be `async def`; a plain
inlet or outlet runs in a thread, a plain `stream` on the event loop: it must not wait.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from django.conf import settings
from django.db import close_old_connections
from django.utils.module_loading import import_string

from tasks_app.generation.completion import writable
from tasks_app.generation.errors import FilterFailed, Refused

__all__ = ["Call", "Refused", "inlet", "outlet", "stream"]

logger = logging.getLogger("signalbox.generation")

STAGES = ("inlet", "stream", "outlet")
LONGEST_SECONDS = 30.0  # that one filter may take for one request, text or piece of text

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True, kw_only=True)
class Call:
    """For whom and for what a model is asked; `state` is the call's own, for what filters remember.

    `kind` is "chat" or the name of a kind. A repair asks again within the same call; `is_over`
    tells a `stream` filter that nothing follows.
    """

    kind: str
    model: str
    task_id: str = ""
    item_id: str = ""
    user_id: str = ""
    state: dict[str, Any] = field(default_factory=dict)
    is_over: bool = False


# --- marking functions ---------------------------------------------------------------------------


def inlet(*kinds: str) -> Callable[[F], F]:
    """Mark a function as a filter of requests, for these kinds or, without any, for all."""
    return _marking("inlet", kinds)


def stream(*kinds: str) -> Callable[[F], F]:
    """Mark a function as a filter of pieces of text, for these kinds or for all."""
    return _marking("stream", kinds)


def outlet(*kinds: str) -> Callable[[F], F]:
    """Mark a function as a filter of whole texts, for these kinds or for all."""
    return _marking("outlet", kinds)


def _marking(stage: str, kinds: Iterable[str]) -> Callable[[F], F]:
    if callable(kinds) or any(not isinstance(kind, str) for kind in kinds):
        raise TypeError(f"Write @{stage}() or @{stage}('title', …), with parentheses.")
    chosen = frozenset(kinds)

    def mark(function: F) -> F:
        function.signalbox_stage = stage  # type: ignore[attr-defined]
        function.kinds = chosen  # type: ignore[attr-defined]
        return function

    return mark


# --- loading -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One loaded filter: what it does at each stage, and for which kinds (none: for all)."""

    path: str
    stages: Mapping[str, Callable[..., Any]]
    kinds: frozenset[str]

    def serves(self, stage: str, kind: str) -> bool:
        return stage in self.stages and (not self.kinds or kind in self.kinds)


def paths() -> tuple[str, ...]:
    """Return what SIGNALBOX_FILTERS names; raises ValueError when it is no list of paths."""
    named = getattr(settings, "SIGNALBOX_FILTERS", ())
    if not isinstance(named, list | tuple) or not all(isinstance(path, str) for path in named):
        raise ValueError("SIGNALBOX_FILTERS must be a list of dotted paths.")
    return tuple(named)


def load(path: str) -> Filter:
    """Import one filter; raises ValueError, saying what is wrong with it."""
    try:
        found = import_string(path)
    except Exception as error:  # importing runs the project's own code, which may raise anything
        raise ValueError(f"{path!r} cannot be imported: {error!r}") from error
    stage = getattr(found, "signalbox_stage", None)
    if stage is not None:
        return Filter(path=path, stages={stage: found}, kinds=found.kinds)
    return _loaded_class(path, found)


def _loaded_class(path: str, found: Any) -> Filter:
    try:
        made = found() if isinstance(found, type) else found
    except Exception as error:  # the project's own code: whatever it raises is said by its name
        raise ValueError(f"{path!r} cannot be made without arguments: {error!r}") from error
    stages = {name: getattr(made, name) for name in STAGES if callable(getattr(made, name, None))}
    if not stages:
        raise ValueError(
            f"{path!r} is no filter: it must be a function marked with @inlet(), @stream() or "
            "@outlet() of tasks_app.generation.filters, or a class with methods of these names."
        )
    kinds = getattr(made, "kinds", ())
    if isinstance(kinds, str) or not isinstance(kinds, Iterable):
        raise ValueError(f"{path!r}: kinds must be a set of kinds, such as {{'title'}}.")  # noqa: TRY004 one error for all
    return Filter(path=path, stages=stages, kinds=frozenset(kinds))


@lru_cache(maxsize=8)
def _loaded(named: tuple[str, ...]) -> tuple[Filter, ...]:
    return tuple(load(path) for path in named)


# --- running -------------------------------------------------------------------------------------


class Chain:
    """The filters of one call, in their order.

    Raises Refused with a filter's reason for the user, and FilterFailed for all else that goes
    wrong in one, also when it cannot be loaded; its cause is in the log and in the traceback.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        try:
            chosen = _loaded(paths())
        except ValueError as error:
            logger.exception("filters_not_loaded")
            raise FilterFailed from error
        self._stages = {
            stage: [one for one in chosen if one.serves(stage, call.kind)] for stage in STAGES
        }

    async def inlet(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request as the filters want it to be."""
        for one in self._stages["inlet"]:
            request = await self._run(one, "inlet", request, _request)
        return request

    async def stream(self, text: str) -> str:
        """Return what is shown of a piece of text."""
        self.call.is_over = False
        return await self._streamed(text)

    async def rest(self) -> str:
        """Return what the stream filters have kept back until the end."""
        self.call.is_over = True
        return await self._streamed("")

    async def _streamed(self, text: str) -> str:
        for one in self._stages["stream"]:
            text = await self._run(one, "stream", text, _text)
        return text

    async def outlet(self, text: str) -> str:
        """Return what stands for a whole text."""
        for one in self._stages["outlet"]:
            text = await self._run(one, "outlet", text, _text)
        return text

    def has(self, stage: str) -> bool:
        return bool(self._stages[stage])

    async def _run(self, one: Filter, stage: str, value: Any, checked: Callable[[Any], Any]) -> Any:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                made = await _called(one.stages[stage], stage, value, self.call)
            return checked(value if made is None else made)
        except Refused:
            logger.info("filter_refused filter=%s task_id=%s", one.path, self.call.task_id)
            raise
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            # Nobody stopped the task: the filter did.
            raise self._failed(one, stage, error) from error
        # The project's own code, which may even try to exit: its failure is not the user's to see.
        except (Exception, SystemExit) as error:
            raise self._failed(one, stage, error) from error

    def _failed(self, one: Filter, stage: str, error: BaseException) -> FilterFailed:
        logger.error(
            "filter_failed filter=%s stage=%s task_id=%s",
            one.path, stage, self.call.task_id, exc_info=error,
        )  # fmt: skip
        return FilterFailed()


def _request(made: Any) -> dict[str, Any]:
    """Return an inlet's request; raises TypeError or ValueError when it cannot be sent."""
    if not isinstance(made, dict):
        raise TypeError(f"An inlet returned {type(made).__name__}, not dict.")
    messages = made.get("messages")
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise TypeError("An inlet left a request whose messages are no list of objects.")
    json.dumps(made)
    return made


def _text(made: Any) -> str:
    """Return a filter's text, as it can be kept; raises TypeError when it is none."""
    if not isinstance(made, str):
        raise TypeError(f"A filter of texts returned {type(made).__name__}, not str.")
    return writable(made)


async def _called(function: Callable[..., Any], stage: str, value: Any, call: Call) -> Any:
    if stage != "stream" and not inspect.iscoroutinefunction(function):
        made = await asyncio.to_thread(_in_thread, function, value, call)
    else:
        made = function(value, call)
    return await made if inspect.isawaitable(made) else made


def _in_thread(function: Callable[..., Any], value: Any, call: Call) -> Any:
    # A filter may use the database: a thread's connection is nobody else's to close.
    close_old_connections()
    try:
        return function(value, call)
    except StopIteration as error:  # which a future cannot hold: its waiter would wait for ever
        raise RuntimeError("StopIteration") from error
    finally:
        close_old_connections()
