from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tasks_app.generation import catalog as module
from tasks_app.generation import openai_provider
from tasks_app.generation.builtin import MODEL_ID
from tasks_app.generation.catalog import Catalog, aclose_catalog, get_catalog
from tasks_app.generation.errors import ProviderError, UnknownModel
from tasks_app.generation.openai_provider import OpenAIProvider
from tests.support.eventually import eventually
from tests.support.fake_provider import KEY, FakeProvider
from tests.tasks_app.generation.conftest import config


@pytest.fixture
async def other() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(key=KEY) as provider:
        provider.models = ["other-model", "fake-echo"]
        yield provider


@pytest.fixture
async def catalog(fake: FakeProvider, other: FakeProvider) -> AsyncIterator[Catalog]:
    made = Catalog([OpenAIProvider(config(fake)), OpenAIProvider(config(other))])
    yield made
    await made.aclose()


async def test_lists_the_models_of_all_providers_once_each(catalog: Catalog, fake: FakeProvider):
    ids = [model.id for model in await catalog.models()]
    assert len(ids) == len(set(ids))
    assert {"other-model", "fake-echo", "fake-500-tokens"} <= set(ids)


async def test_the_first_provider_serves_a_model_that_both_offer(
    catalog: Catalog, fake: FakeProvider, other: FakeProvider
):
    provider, model = await catalog.find("fake-echo")
    assert model.provider == provider.name
    assert provider.name in fake.base_url
    provider, _ = await catalog.find("other-model")
    assert provider.name in other.base_url


async def test_many_callers_share_one_question(catalog: Catalog, fake: FakeProvider):
    await asyncio.gather(*(catalog.models() for _ in range(20)), catalog.find("fake-echo"))
    await catalog.models()
    assert fake.models_asked == 1


async def test_an_unknown_model_is_named_with_the_known_ones(catalog: Catalog):
    with pytest.raises(UnknownModel, match=r"no model 'nothing'.*fake-10-tokens.* more") as caught:
        await catalog.find("nothing")
    assert caught.value.error_type == "model_not_found"
    assert caught.value.permanent
    assert "other-model" in caught.value.known


async def test_a_new_model_is_found_without_waiting(
    catalog: Catalog, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
):
    await catalog.models()
    fake.models.append("brand-new")
    monkeypatch.setattr(module, "RECHECK_S", 0.0)
    await catalog.find("brand-new")


async def test_a_provider_that_is_down_does_not_hide_the_others(
    catalog: Catalog, other: FakeProvider
):
    other.models_status = 503
    assert "fake-echo" in [model.id for model in await catalog.models()]
    with pytest.raises(UnknownModel, match="Not reached at the moment: 127"):
        await catalog.find("other-model")


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """An address that takes connections and answers nothing."""
    leaving = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await leaving.wait()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        leaving.set()


async def test_a_silent_provider_holds_nobody_up_who_asks_for_anothers_model(
    fake: FakeProvider, silent: str, monkeypatch: pytest.MonkeyPatch
):
    quiet = OpenAIProvider(replace(config(fake, timeout=100.0), base_url=silent))
    catalog = Catalog([OpenAIProvider(config(fake)), quiet])
    monkeypatch.setattr(openai_provider, "MODELS_TIMEOUT_S", 100.0)
    await catalog.find("fake-echo")
    await catalog.aclose()


async def test_a_silent_provider_that_comes_first_is_waited_for_once(
    fake: FakeProvider, silent: str, monkeypatch: pytest.MonkeyPatch
):
    quiet = OpenAIProvider(replace(config(fake, timeout=100.0), base_url=silent))
    catalog = Catalog([quiet, OpenAIProvider(config(fake))])
    monkeypatch.setattr(openai_provider, "MODELS_TIMEOUT_S", 0.1)
    await catalog.find("fake-echo")
    await catalog.models()  # this question is over for all
    monkeypatch.setattr(openai_provider, "MODELS_TIMEOUT_S", 100.0)
    monkeypatch.setattr(module, "RECHECK_S", 0.0)
    fake.models.append("brand-new")
    await catalog.find("brand-new")
    await catalog.aclose()


def test_nobody_waits_long_to_learn_that_a_model_is_unknown(settings):
    assert openai_provider.MODELS_TIMEOUT_S <= 2
    assert settings.PROVIDER_CONNECT_TIMEOUT <= 2


async def test_a_provider_that_goes_down_keeps_its_models(
    catalog: Catalog, fake: FakeProvider, other: FakeProvider, monkeypatch: pytest.MonkeyPatch
):
    await catalog.models()
    fake.models_status = other.models_status = 500
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    assert "other-model" in [model.id for model in await catalog.models()]
    await catalog.find("other-model")


async def test_a_stale_catalog_answers_at_once_and_asks_in_the_background(
    catalog: Catalog, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
):
    await catalog.models()
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    await catalog.find("fake-echo")
    await eventually(lambda: asked(fake, 2))


async def test_when_nobody_can_be_asked_the_providers_error_is_raised(fake: FakeProvider):
    catalog = Catalog([OpenAIProvider(config(fake, key="wrong"))])
    for ask in (catalog.models(), catalog.find("fake-echo")):
        with pytest.raises(ProviderError, match="answered 401") as caught:
            await ask
        assert caught.value.permanent
    await catalog.aclose()


async def test_a_cancelled_caller_does_not_disturb_the_others(catalog: Catalog):
    first = asyncio.create_task(catalog.models())
    second = asyncio.create_task(catalog.models())
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert first.cancelled()


# --- from the settings --------------------------------------------------------------------------


async def test_without_providers_the_built_in_model_serves(offline: None):
    assert [model.id for model in await get_catalog().models()] == [MODEL_ID]
    _, model = await get_catalog().find(MODEL_ID)
    assert (model.type, model.owned_by) == ("local", "signalbox")
    assert model.resource()["object"] == "model"


async def test_settings_are_read_at_use(configured: FakeProvider, settings):
    first = get_catalog()
    assert get_catalog() is first
    settings.OPENAI_API_TYPE = ["local"]
    second = get_catalog()
    assert second is not first
    _, model = await second.find("fake-echo")
    assert model.type == "local"
    await aclose_catalog()
    assert get_catalog() is not second


def test_loops_that_are_closed_are_forgotten():
    async def look() -> None:
        get_catalog()

    for _ in range(3):
        asyncio.run(look())
    assert sum(1 for loop in module._catalogs if loop.is_closed()) <= 1


async def test_a_key_goes_to_its_own_provider_only(
    configured: FakeProvider, other: FakeProvider, settings
):
    other.key = ""
    settings.OPENAI_API_BASE_URL = [configured.base_url, other.base_url]
    settings.OPENAI_API_KEY = [KEY]
    provider, _ = await get_catalog().find("other-model")
    with pytest.raises(ProviderError, match="404"):
        await anext(provider.stream({"model": "other-model"}))
    assert "authorization" not in other.last.headers


async def asked(fake: FakeProvider, times: int) -> bool:
    return fake.models_asked >= times
