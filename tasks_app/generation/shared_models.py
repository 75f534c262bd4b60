"""The shared dictionary of models: what the workers last heard from the providers.

Each entry has the model's id, provider, type and owner, and when its provider last named it:
never an address with a password, never a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tasks_app.generation.providers import ModelInfo
from tasks_app.store.mappings import RedisDict

DICTIONARY = "models"
# So long the models of a provider that cannot be asked are kept.
KEPT_S = 3600.0

Entries = Mapping[str, Mapping[str, Any]]
# What one provider offers, None where it could not be asked; providers in their order.
Listing = tuple[str, Sequence[ModelInfo] | None]


async def read_entries() -> dict[str, Any]:
    """Return all entries as they are. Raises StoreUnavailable."""
    return await RedisDict(DICTIONARY).aitems()


async def read_models() -> dict[str, ModelInfo]:
    """Return the models by id. Raises StoreUnavailable."""
    entries = (await read_entries()).items()
    return {model_id: model for model_id, entry in entries if (model := _model(entry))}


def known_ids_sync() -> list[str]:
    """Return the ids of all models, sorted, for synchronous code. Raises StoreUnavailable."""
    return sorted(RedisDict(DICTIONARY))


async def replace(entries: Entries) -> None:
    """Put new entries in the place of all old ones, in one step. Raises StoreUnavailable."""
    await RedisDict(DICTIONARY).areplace(entries)


def merged(old: Entries, listings: Sequence[Listing], now: float) -> dict[str, dict[str, Any]]:
    """Return the entries after the providers were asked at `now` (seconds since 1970).

    Where two providers offer a model, the first one's entry stands. A provider that could not be
    asked keeps its old entries for an hour after it last named them.
    """
    made: dict[str, dict[str, Any]] = {}
    for provider, models in listings:
        found = _kept(old, provider, now) if models is None else _entries(models, now)
        for model_id, entry in found:
            made.setdefault(model_id, entry)
    return made


def _entries(models: Sequence[ModelInfo], now: float) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((model.id, {**asdict(model), "seen_at": now}) for model in models)


def _kept(old: Entries, provider: str, now: float) -> Iterator[tuple[str, dict[str, Any]]]:
    for model_id, entry in old.items():
        if entry.get("provider") == provider and now - entry.get("seen_at", 0.0) < KEPT_S:
            yield model_id, dict(entry)


def _model(entry: Mapping[str, Any]) -> ModelInfo | None:
    known = {name: value for name, value in entry.items() if name != "seen_at"}
    try:
        return ModelInfo(**known)
    except TypeError:
        return None  # written by another version
