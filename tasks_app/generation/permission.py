"""Whether a user may generate: the kind, the model, and how much in a minute."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError

from tasks_app.definition import LONGEST_NAME, TaskDefinition
from tasks_app.domain.records import Viewer
from tasks_app.errors import StoreUnavailable
from tasks_app.generation.catalog import get_catalog
from tasks_app.generation.configuration import TaskConfig, current
from tasks_app.generation.errors import KindForbidden, LimitReached, UnknownModel
from tasks_app.generation.providers import ModelInfo
from tasks_app.generation.rights import Rights, rights_of
from tasks_app.store.allowance import Limits, charge_tokens, take_request

logger = logging.getLogger("signalbox.generation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What was found when a request was admitted: the model, and what was read on the way."""

    model: ModelInfo
    config: TaskConfig
    rights: Rights


async def admit(viewer: Viewer, kind: str, model_id: str) -> Admission:
    """Check that a user may ask for a kind (or `chat`) with a model, and count the request.

    Raises KindForbidden; UnknownModel, which names only models that the user may use;
    LimitReached; ProviderError when no provider could be asked so far.
    """
    config = await current()
    rights = await rights_of(viewer.user_id)
    if not rights.may_use_kind(kind):
        raise KindForbidden
    model = await find_model(model_id, rights)
    limits = _limits(config)
    if limits and (seconds := await take_request(viewer.user_id, limits)):
        what = "requests" if limits.requests else "tokens"
        if limits.requests and limits.tokens:
            what = "requests or tokens"
        raise LimitReached(
            f"You have used the {what} of this minute. Try again in {math.ceil(seconds)} s.",
            seconds,
        )
    return Admission(model=model, config=config, rights=rights)


async def visible_models(user_id: str) -> list[ModelInfo]:
    """Return the known models that a user may use. Raises ProviderError as the catalog does."""
    rights = await rights_of(user_id)
    return rights.visible(await get_catalog().models())


async def find_model(model_id: str, rights: Rights) -> ModelInfo:
    """Return a model; one that the user may not use is as unknown as one that is not there."""
    catalog = get_catalog()
    try:
        if not rights.may_use_model(model_id):
            await catalog.models()  # takes as long as for one that is not there
            raise await catalog.unknown(model_id)
        _, model = await catalog.find(model_id)
    except UnknownModel as error:
        raise _without_hidden(error, rights) from None
    return model


def _without_hidden(error: UnknownModel, rights: Rights) -> UnknownModel:
    known = [name for name in error.known if rights.may_use_model(name)]
    return UnknownModel(error.model_id, known, error.note)


@asynccontextmanager
async def hiding_models(user_id: str | None) -> AsyncIterator[None]:
    """Take the names of models that the user may not use out of an UnknownModel of the block."""
    try:
        yield
    except UnknownModel as error:
        raise _without_hidden(error, await rights_of(user_id)) from None


def limited(
    definition: TaskDefinition[..., Any], model_id: str, config: TaskConfig
) -> TaskDefinition[..., Any]:
    """Return the definition of a task that takes one of the model's places, where it has a limit.

    A task that finds none waits in its queue.
    """
    limit = config.concurrency_of(model_id)
    if limit is None:
        return definition
    key = f"model:{model_id}"
    if len(key) > LONGEST_NAME:
        key = f"model:{hashlib.sha256(model_id.encode('utf-8', 'replace')).hexdigest()}"
    return definition.using(concurrency_key=key, concurrency=limit)


async def charge(user_id: str | None, tokens: int) -> None:
    """Count tokens that a user's task has used against their limit; fails for nobody.

    What is used beyond the limit is owed: until it is made up for, requests are refused.
    """
    if not user_id or tokens <= 0:
        return
    try:
        limits = _limits(await current())
        if limits.tokens:
            await charge_tokens(user_id, limits, tokens)
    except (StoreUnavailable, DatabaseError) as error:
        logger.warning("tokens_not_charged user_id=%s tokens=%s error=%s", user_id, tokens, error)


def _limits(config: TaskConfig) -> Limits:
    return Limits(requests=config.REQUESTS_PER_MINUTE, tokens=config.TOKENS_PER_MINUTE)
