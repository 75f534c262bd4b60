"""All providers of this process and the models they offer.

Which those are the workers find out for everybody (model_refresh.py). What they have not found
yet, a new model or all of them while no worker is there, a process asks the providers itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from tasks_app.errors import StoreUnavailable
from tasks_app.generation.builtin import BuiltinProvider
from tasks_app.generation.conf import ProviderConfig, provider_configs
from tasks_app.generation.errors import ProviderError, UnknownModel
from tasks_app.generation.openai_provider import OpenAIProvider
from tasks_app.generation.providers import ModelInfo, Provider
from tasks_app.generation.remembered import Remembered
from tasks_app.generation.shared_models import KEPT_S, Listing, read_models

logger = logging.getLogger("signalbox.generation")

SHARED_S = 2.0  # how old this process' copy of the shared dictionary may be
FRESH_S = 10.0  # the same of what it asked itself
# A model that is not known, or a provider that failed, is asked about again after this.
RECHECK_S = 1.0


class Catalog:
    """Knows which provider offers which model; belongs to one event loop.

    A provider that is down keeps its last known models for an hour and does not hide the others.
    Where two providers offer the same model id, the one configured first serves it.
    """

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._shelves = [_Shelf(provider) for provider in providers]
        self._shared = Remembered("shared models", read_models, outages=(StoreUnavailable,))
        self._refreshed_at: float | None = None
        self._refreshing: asyncio.Task[None] | None = None

    async def models(self) -> list[ModelInfo]:
        """Return every known model, each id once; a provider never reached adds none.

        Raises the ProviderError when no provider at all could be asked so far.
        """
        if shared := await self._shared_models():
            return list(shared.values())
        if self._age() > (FRESH_S if self._by_id() else RECHECK_S):
            await self._refresh()
        if fault := self._fault_of_all():
            raise fault
        return list(self._by_id().values())

    async def find(self, model_id: str) -> tuple[Provider, ModelInfo]:
        """Return the model and who serves it.

        Raises UnknownModel (also while some provider is down: its message says which were not
        asked), or the ProviderError itself when no provider at all could be asked so far.
        """
        shared = (await self._shared_models()).get(model_id)
        if shared is not None:
            return self._shelf_of(shared).provider, shared
        found = self._find(model_id)
        if found is None and self._age() > RECHECK_S:
            found = await self._look_for(model_id)
        elif self._age() > FRESH_S:
            # What is known serves at once; a model that has gone is refused by its provider.
            self._start_refresh()
        if found is None:
            raise await self.unknown(model_id)
        return found

    async def unknown(self, model_id: str) -> UnknownModel | ProviderError:
        """Return the error for a model that nobody offers."""
        shared = await self._shared_models()
        if not shared and (fault := self._fault_of_all()):
            return fault
        silent = [shelf.provider.name for shelf in self._shelves if shelf.fault is not None]
        note = f"Not reached at the moment: {', '.join(silent)}." if silent else ""
        return UnknownModel(model_id, list(shared or self._by_id()), note)

    async def ensure_there(self, model_id: str) -> None:
        """Ask the providers anew; raises UnknownModel when one was asked and none has the model."""
        await self._refresh()
        is_asked = any(shelf.fault is None for shelf in self._shelves)
        if is_asked and self._find(model_id) is None:
            raise await self.unknown(model_id)

    async def listings(self) -> list[Listing]:
        """Ask all providers now; answer what each offers, None where it could not be asked."""
        await self._refresh()
        return [
            (shelf.provider.name, None if shelf.fault else list(shelf.models.values()))
            for shelf in self._shelves
        ]

    async def _look_for(self, model_id: str) -> tuple[Provider, ModelInfo] | None:
        """Ask all, and answer as soon as it is certain who serves the model.

        Providers are heard in their order, since the first that offers the model serves it; one
        that could not be reached the last time is heard last.
        """
        refreshing = self._start_refresh()
        for shelf in sorted(self._shelves, key=lambda shelf: shelf.fault is not None):
            await shelf.answered()
            if found := self._find(model_id):
                return found
        await asyncio.shield(refreshing)
        return self._find(model_id)

    async def aclose(self) -> None:
        """Stop asking and close every provider's connections."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait({self._refreshing})
        for shelf in self._shelves:
            await shelf.provider.aclose()

    # --- what is known --------------------------------------------------------------------------

    async def _shared_models(self) -> dict[str, ModelInfo]:
        """Return what the workers found, as far as it is offered by this process' providers."""
        try:
            shared = await self._shared.get(SHARED_S)
        except StoreUnavailable:
            return {}
        place = {shelf.provider.name: index for index, shelf in enumerate(self._shelves)}
        own = [model for model in shared.values() if model.provider in place]
        own.sort(key=lambda model: (place[model.provider], model.id))
        return {model.id: model for model in own}

    def _shelf_of(self, model: ModelInfo) -> _Shelf:
        return next(shelf for shelf in self._shelves if shelf.provider.name == model.provider)

    def _age(self) -> float:
        if self._refreshed_at is None:
            return float("inf")
        return _now() - self._refreshed_at

    def _find(self, model_id: str) -> tuple[Provider, ModelInfo] | None:
        for shelf in self._shelves:
            if model_id in shelf.models:
                return shelf.provider, shelf.models[model_id]
        return None

    def _by_id(self) -> dict[str, ModelInfo]:
        known: dict[str, ModelInfo] = {}
        for shelf in self._shelves:
            for model_id, model in shelf.models.items():
                known.setdefault(model_id, model)
        return known

    def _fault_of_all(self) -> ProviderError | None:
        """Return the first provider's fault when all have one and no model is known."""
        faults = [shelf.fault for shelf in self._shelves if shelf.fault is not None]
        return faults[0] if len(faults) == len(self._shelves) and not self._by_id() else None

    # --- asking the providers -------------------------------------------------------------------

    async def _refresh(self) -> None:
        # Shielded: the one refresh serves many callers and outlives any that is cancelled.
        await asyncio.shield(self._start_refresh())

    def _start_refresh(self) -> asyncio.Task[None]:
        if self._refreshing is None or self._refreshing.done():
            asking = [shelf.ask() for shelf in self._shelves]
            self._refreshing = asyncio.create_task(
                self._all_answered(asking), name="model catalog refresh"
            )
        return self._refreshing

    async def _all_answered(self, asking: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*asking)  # cancelled, it cancels them
        self._refreshed_at = _now()


class _Shelf:
    """One provider, the models it last named, and why it could not be asked, if so."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.models: dict[str, ModelInfo] = {}
        self.fault: ProviderError | None = None
        self._named_at = 0.0  # on the loop's clock
        self._asking: asyncio.Task[None] | None = None

    def ask(self) -> asyncio.Task[None]:
        """Begin to ask the provider; the caller owns what is returned."""
        self._asking = asyncio.create_task(self._ask(), name=f"models of {self.provider.name}")
        return self._asking

    async def answered(self) -> None:
        """Wait until the provider has answered the last question, or failed to."""
        if self._asking is not None:
            await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        try:
            listed = await self.provider.models()
        except ProviderError as error:
            logger.warning("provider_unavailable provider=%s error=%s", self.provider.name, error)
            self.fault = error
            if _now() - self._named_at > KEPT_S:
                self.models = {}
            return
        self.fault = None
        self._named_at = _now()
        self.models = {}
        for model in listed:
            self.models.setdefault(model.id, model)


def _now() -> float:
    return asyncio.get_running_loop().time()


_catalogs: dict[
    asyncio.AbstractEventLoop, tuple[tuple[ProviderConfig, ...], Catalog, list[Catalog]]
] = {}


def get_catalog() -> Catalog:
    """Return the running loop's catalog, built from the settings when it is first asked for.

    Changed settings make a new one; calls under way keep the old one until `aclose_catalog`.
    """
    loop = asyncio.get_running_loop()
    # A catalog holds on to its loop, so weak keys would not let the closed ones go.
    for other in list(_catalogs):  # a copy: loops of other threads may come and go meanwhile
        if other.is_closed():
            _catalogs.pop(other, None)
    configs = provider_configs()
    known = _catalogs.get(loop)
    if known is not None and known[0] == configs:
        return known[1]
    retired = [*known[2], known[1]] if known is not None else []
    catalog = Catalog([OpenAIProvider(config) for config in configs] or [BuiltinProvider()])
    _catalogs[loop] = (configs, catalog, retired)
    return catalog


async def aclose_catalog() -> None:
    """Close the running loop's connections to providers; the next use builds them anew."""
    known = _catalogs.pop(asyncio.get_running_loop(), None)
    if known is None:
        return
    for catalog in [known[1], *known[2]]:
        await catalog.aclose()
