"""The shared dictionary of models: who writes it, what it keeps, who reads it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tasks_app import RedisDict, model_refresh
from tasks_app.errors import LockLost
from tasks_app.generation import catalog as module
from tasks_app.generation import shared_models
from tasks_app.generation.catalog import Catalog, aclose_catalog, get_catalog
from tasks_app.generation.conf import provider_configs
from tasks_app.generation.errors import ProviderError, UnknownModel
from tasks_app.generation.providers import ModelInfo
from tasks_app.store import client, keys
from tasks_app.tasks import chat_completion
from tests.support.eventually import eventually
from tests.support.fake_provider import KEY, FakeProvider
from tests.support.recording import RecordingContext
from tests.tasks_app.generation.conftest import ask
from tests.tasks_app.test_cleanups import Checked, registered
from tests.tasks_app.worker.test_periodic import serving

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
async def other() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(key="sk-other") as provider:
        provider.models = ["other-model", "both"]
        yield provider


@pytest.fixture
async def two(
    configured: FakeProvider, other: FakeProvider, settings: Any
) -> tuple[FakeProvider, FakeProvider]:
    """Two providers in the settings, the second a local one."""
    configured.models = ["first-model", "both"]
    settings.OPENAI_API_BASE_URL = [configured.base_url, other.base_url]
    settings.OPENAI_API_KEY = [KEY, "sk-other"]
    settings.OPENAI_API_TYPE = ["external", "local"]
    return configured, other


async def refresh(checks: int = 1) -> None:
    await model_refresh.refresh_models(Checked(checks=checks))


def model(name: str, provider: str = "p") -> ModelInfo:
    return ModelInfo(id=name, provider=provider, type="external", owned_by="o")


def entry(name: str, provider: str, seen_at: float) -> dict[str, Any]:
    fields = {"id": name, "provider": provider, "type": "external", "owned_by": "o"}
    return {**fields, "seen_at": seen_at}


# --- what is kept ---------------------------------------------------------------------------------


def test_a_provider_that_is_down_keeps_its_models_for_an_hour_and_the_others_theirs() -> None:
    now = 10_000.0
    old = {
        "recent": entry("recent", "down", now - 3599),
        "ancient": entry("ancient", "down", now - 3601),
        "removed": entry("removed", "up", now - 1),
        "elsewhere": entry("elsewhere", "not configured any more", now - 1),
    }
    listings = [("down", None), ("up", [model("new", "up")])]
    made = shared_models.merged(old, listings, now)
    assert made == {"recent": old["recent"], "new": entry("new", "up", now)}


def test_the_first_of_two_providers_has_the_model_that_both_offer() -> None:
    listings = [("a", [model("both", "a")]), ("b", [model("both", "b")])]
    assert shared_models.merged({}, listings, 1.0)["both"]["provider"] == "a"


# --- the job --------------------------------------------------------------------------------------


async def test_the_job_writes_every_providers_models_with_type_and_no_secret(
    two: tuple[FakeProvider, FakeProvider],
) -> None:
    await refresh()
    found = await RedisDict("models").aitems()
    assert found.keys() == {"first-model", "both", "other-model"}
    assert (found["both"]["type"], found["other-model"]["type"]) == ("external", "local")
    assert found["other-model"]["provider"] in two[1].base_url
    assert abs(time.time() - found["both"]["seen_at"]) < 60
    raw = await client.client().hgetall(keys.current().prefix + "models")
    assert KEY not in str(raw)
    assert "sk-other" not in str(raw)


async def test_nothing_is_written_without_the_lock(two: tuple[FakeProvider, FakeProvider]) -> None:
    with pytest.raises(LockLost):
        await refresh(checks=0)
    assert await RedisDict("models").aitems() == {}


async def test_a_worker_runs_it_by_itself(configured: FakeProvider) -> None:
    configured.models = ["first-model"]

    async def is_there() -> bool:
        return "first-model" in await RedisDict("models").aitems()

    async with serving(registered(model_refresh.refresh_models)):
        await eventually(is_there)


async def test_a_provider_that_goes_down_and_one_that_drops_a_model(
    two: tuple[FakeProvider, FakeProvider],
) -> None:
    first, other = two
    await refresh()
    before = (await RedisDict("models").aitems())["other-model"]
    other.models_status = 503
    first.models = ["new-model"]
    await refresh()
    found = await RedisDict("models").aitems()
    # `both` is gone with the first, which served it; the other will name it once it is back.
    assert found.keys() == {"new-model", "other-model"}
    assert found["other-model"] == before


# --- who reads it ---------------------------------------------------------------------------------


async def another_process(settings: Any) -> Catalog:
    """Return a catalog that has asked nobody yet, as in another process."""
    await aclose_catalog()
    return get_catalog()


async def test_another_process_asks_no_provider(
    two: tuple[FakeProvider, FakeProvider], settings: Any
) -> None:
    await refresh()
    catalog = await another_process(settings)
    for fake in two:
        fake.models_status = 500
        fake.models_asked = 0
    assert [found.id for found in await catalog.models()] == ["both", "first-model", "other-model"]
    provider, found = await catalog.find("other-model")
    assert (found.type, provider.name in two[1].base_url) == ("local", True)
    assert [fake.models_asked for fake in two] == [0, 0]


async def test_a_model_that_the_workers_do_not_know_yet_is_asked_for(
    two: tuple[FakeProvider, FakeProvider], settings: Any
) -> None:
    await refresh()
    catalog = await another_process(settings)
    two[1].models.append("brand-new")
    provider, _ = await catalog.find("brand-new")
    assert provider.name in two[1].base_url


async def test_a_model_that_was_removed_is_unknown_once_the_workers_know(
    two: tuple[FakeProvider, FakeProvider], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARED_S", -1.0)
    await refresh()
    catalog = await another_process(settings)
    await catalog.find("other-model")
    two[1].models = []
    await refresh()
    with pytest.raises(UnknownModel, match=r"no model 'other-model'.*first-model"):
        await catalog.find("other-model")


async def test_entries_of_providers_that_this_process_does_not_have_are_no_models(
    configured: FakeProvider,
) -> None:
    await RedisDict("models").areplace(
        {"foreign": entry("foreign", "elsewhere:1", time.time()), "odd": {"id": "odd"}}
    )
    configured.models = ["mine"]
    assert [found.id for found in await get_catalog().models()] == ["mine"]
    with pytest.raises(UnknownModel):
        await get_catalog().find("foreign")


async def test_without_redis_the_providers_are_asked(
    configured: FakeProvider, settings: Any, own_redis: Any
) -> None:
    settings.CACHES = {
        "default": {**settings.CACHES["default"], "LOCATION": own_redis.url, "KEY_PREFIX": "x"}
    }
    own_redis.kill()
    configured.models = ["mine"]
    assert [found.id for found in await get_catalog().models()] == ["mine"]
    await get_catalog().find("mine")


# --- a model that goes while it is used -----------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_a_model_that_was_removed_just_now_is_unknown_and_no_providers_fault(
    configured: FakeProvider, context: RecordingContext
) -> None:
    await refresh()
    configured.models.remove("fake-404")
    with pytest.raises(UnknownModel, match="no model 'fake-404'"):
        await chat_completion.func(context, ask("fake-404"))


@pytest.mark.django_db(transaction=True)
async def test_a_404_of_a_model_that_is_there_stays_the_providers_fault(
    configured: FakeProvider, context: RecordingContext
) -> None:
    with pytest.raises(ProviderError, match="answered 404"):
        await chat_completion.func(context, ask("fake-404"))


# --- the providers' configuration -----------------------------------------------------------------


def test_providers_at_one_address_have_names_of_their_own(settings: Any) -> None:
    settings.OPENAI_API_BASE_URL = [
        "http://u:pw@host:1/a/v1",
        "http://host:1/b/v1",
        "http://host:2",
    ]
    settings.OPENAI_API_KEY = ["k1", "k2", "k3"]
    settings.OPENAI_API_TYPE = []
    configs = provider_configs()
    assert [config.name for config in configs] == ["host:1", "host:1 (2)", "host:2"]
    assert [config.key for config in configs] == ["k1", "k2", "k3"]
    assert not any(secret in repr(configs) for secret in ("pw", "k1", "k2"))


@pytest.mark.django_db(transaction=True)
async def test_the_whole_call_has_a_limit_of_its_own(
    configured: FakeProvider, settings: Any, context: RecordingContext
) -> None:
    settings.PROVIDER_TIMEOUT = 30.0
    settings.PROVIDER_TOTAL_TIMEOUT = 0.3
    with pytest.raises(ProviderError, match="did not answer in time"):
        await chat_completion.func(context, ask("fake-4000-tokens-2-ms"))
    assert context.text.startswith("w0 w1 ")


async def test_each_provider_has_connections_of_its_own(
    two: tuple[FakeProvider, FakeProvider],
) -> None:
    providers = [shelf.provider for shelf in get_catalog()._shelves]
    await asyncio.gather(*(provider.models() for provider in providers))
    assert len({id(provider._client) for provider in providers}) == 2  # type: ignore[attr-defined]
