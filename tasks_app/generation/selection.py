"""Chooses the model of a task about a chat, and says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks_app.generation.catalog import get_catalog
from tasks_app.generation.configuration import TaskConfig
from tasks_app.generation.permission import find_model
from tasks_app.generation.providers import ProviderType
from tasks_app.generation.rights import Rights, rights_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The model that serves a task, the reason in a few words, and what is sent beside."""

    model: str
    reason: str
    params: Mapping[str, Any] = field(default_factory=dict)


async def choose(
    chat_model: str,
    *,
    kind: str,
    user_id: str | None,
    config: TaskConfig,
    rights: Rights | None = None,
) -> Choice:
    """Choose the model of a task about a chat with `chat_model`.

    The first of these that is known and that the user may use: the user's own preference, the
    kind's override, the task model for local or external chats, and last the chat's own model.
    The reason names those that were passed over, but for models that the user may not know of.
    `rights` spares reading them again. Raises
    UnknownModel for the chat's model, ProviderError when no provider could be asked so far.
    """
    rights = await rights_of(user_id) if rights is None else rights
    chat = await find_model(chat_model, rights)
    known = {model.id for model in await get_catalog().models()}
    passed: list[str] = []
    for model, reason in _candidates(chat.type, kind, config, rights):
        if not rights.may_use_model(model):
            passed.append(f"{reason} is not permitted")  # its name is not the user's to read
        elif model not in known:
            passed.append(f"{reason} {model} is not available")
        else:
            return _choice(model, reason, passed, config.params(kind))
    return _choice(chat_model, "chat model", passed, config.params(kind))


def _candidates(
    chat_type: ProviderType, kind: str, config: TaskConfig, rights: Rights
) -> Iterator[tuple[str, str]]:
    local = chat_type == "local"
    task_model = config.TASK_MODEL if local else config.TASK_MODEL_EXTERNAL
    for model, reason in (
        (rights.task_model, "user preference"),
        (config.override(kind).model, "kind override"),
        (task_model, f"task model ({chat_type})"),
    ):
        if model:
            yield model, reason


def _choice(model: str, reason: str, passed: list[str], params: dict[str, Any]) -> Choice:
    because = f"{reason}: {'; '.join(passed)}" if passed else reason
    return Choice(model=model, reason=because, params=params)
