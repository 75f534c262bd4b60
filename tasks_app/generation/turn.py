"""What follows a chat's turn in the background: its title, its tags, questions to go on with.

A request of a chat completion names them: `{"background_tasks": {"title_generation": true, …}}`.
They are tasks of their own with the chat's item and owner, below everything else in the queue, and
outlive the turn. A new turn of the same chat, by the same user, stops what is left of the last
one's when it begins, and replaces it when it ends.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from django.db import DatabaseError

from tasks_app.definition import TaskDefinition
from tasks_app.domain.context import Context
from tasks_app.domain.records import Viewer
from tasks_app.errors import AlreadyFinished, TasksError
from tasks_app.generation.conf import BACKGROUND_RETRY_SECONDS
from tasks_app.generation.configuration import TaskConfig, current
from tasks_app.generation.kinds import FOLLOW_UP, TAGS, TITLE, Kind
from tasks_app.generation.permission import limited
from tasks_app.generation.rights import Rights, rights_of
from tasks_app.generation.selection import choose
from tasks_app.services import inspect
from tasks_app.services.enqueue import Ask, enqueue_task
from tasks_app.services.stop import stop_task

logger = logging.getLogger("signalbox.generation")

PRIORITY = -50
MAY_FOLLOW = (TITLE, TAGS, FOLLOW_UP)

Definitions = Mapping[str, TaskDefinition[..., Any]]


class Turn:
    """One turn of a chat; `body` is its request."""

    def __init__(self, context: Context, body: Mapping[str, Any]) -> None:
        wanted = body.get("background_tasks")
        wanted = wanted if isinstance(wanted, Mapping) else {}
        self._kinds = [kind for kind in MAY_FOLLOW if wanted.get(kind.task) is True]
        self._context = context
        self._body = body

    async def begin(self) -> None:
        """Stop what the last turn of this chat still has to do: this one makes it worthless."""
        if self._context.item_id and self._context.user_id:
            async with _never_in_the_way(self._context):
                await self._stop_last()

    async def end(self, made: Mapping[str, Any], definitions: Definitions) -> None:
        """Enqueue what was asked for, about the conversation with its answer.

        A kind that is turned off, or closed to the user, is left out. The answer stands whatever
        happens here.
        """
        if not self._kinds:
            return
        async with _never_in_the_way(self._context):
            config = await current()
            rights = await rights_of(self._context.user_id or None)
            for kind in self._kinds:
                if config.is_enabled(kind.name, "") and rights.may_use_kind(kind.name):
                    await self._enqueue(kind, definitions[kind.name], made, config, rights)

    async def _stop_last(self) -> None:
        user_id = self._context.user_id
        ids = await inspect.unfinished_ids(
            Viewer(user_id=user_id, username=""), self._context.item_id
        )
        for task in await inspect.summaries(ids):
            if task.priority == PRIORITY and task.user_id == user_id and _may_follow(task.name):
                with suppress(AlreadyFinished):
                    await stop_task(task.id, by="system", reason="superseded")

    async def _enqueue(
        self,
        kind: Kind,
        definition: TaskDefinition[..., Any],
        made: Mapping[str, Any],
        config: TaskConfig,
        rights: Rights,
    ) -> None:
        context, model = self._context, str(self._body.get("model"))
        choice = await choose(
            model, kind=kind.name, user_id=context.user_id or None, config=config, rights=rights
        )
        options: dict[str, Any] = {"detached": True}
        if context.item_id:
            digest = hashlib.sha256(context.item_id.encode()).hexdigest()
            options["supersede_key"] = f"turn:{kind.name}:{digest}"
        messages = [*self._body.get("messages", ()), _answer(made)]
        await enqueue_task(
            limited(definition, choice.model, config).using(**options),
            kwargs={
                "body": {"model": model, "messages": messages},
                "retry_seconds": BACKGROUND_RETRY_SECONDS,
            },
            ask=Ask(item_id=context.item_id, user_id=context.user_id, priority=PRIORITY),
        )


@asynccontextmanager
async def _never_in_the_way(context: Context) -> AsyncIterator[None]:
    """Log what goes wrong: the turn itself is worth more than what follows it."""
    try:
        yield
    except (TasksError, DatabaseError) as error:
        logger.warning("background_tasks_left_out task_id=%s error=%s", context.task_id, error)


def _may_follow(name: str) -> bool:
    return any(name.endswith(kind.task) for kind in MAY_FOLLOW)


def _answer(made: Mapping[str, Any]) -> dict[str, Any]:
    choices = made.get("choices") or [{}]
    message = choices[0].get("message") or {}
    return {"role": "assistant", "content": message.get("content") or ""}
