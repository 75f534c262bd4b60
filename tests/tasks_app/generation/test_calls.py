from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from tasks_app.domain.retry import Retry
from tasks_app.generation.calls import stream_answer
from tasks_app.generation.catalog import Catalog
from tasks_app.generation.completion import CompletionBuilder
from tasks_app.generation.errors import ProviderError
from tasks_app.generation.openai_provider import OpenAIProvider
from tests.support.eventually import eventually
from tests.support.fake_provider import FakeProvider
from tests.tasks_app.generation.conftest import ask, config

# Enough attempts that on a slow machine too the budget, not their number, is the limit.
QUICK = Retry(max_attempts=5000, base=0.01, cap=0.05)


@pytest.fixture
async def catalog(fake: FakeProvider) -> AsyncIterator[Catalog]:
    made = Catalog([OpenAIProvider(config(fake, timeout=0.5))])
    yield made
    await made.aclose()


async def collect(catalog: Catalog, model: str, *, budget: float = 2.0) -> str:
    built = CompletionBuilder("t", model)
    pieces = stream_answer(catalog, ask(model), budget=budget, policy=QUICK)
    async with aclosing(pieces):
        async for piece in pieces:
            built.add(piece)
    return built.text


@pytest.mark.parametrize("model", ["fake-503-times-2", "fake-503-times-1"])
async def test_what_fails_before_the_first_token_is_tried_again(
    catalog: Catalog, fake: FakeProvider, model: str
):
    assert (await collect(catalog, model)).startswith("w0 w1 ")
    assert len(fake.calls) == int(model[-1]) + 1


@pytest.mark.parametrize(
    "model", ["fake-400", "fake-401", "fake-404", "fake-html", "fake-error-200"]
)
async def test_what_will_be_the_same_next_time_is_asked_once(
    catalog: Catalog, fake: FakeProvider, model: str
):
    with pytest.raises(ProviderError):
        await collect(catalog, model)
    assert len(fake.calls) == 1


@pytest.mark.parametrize("model", ["fake-half-3", "fake-reset-3", "fake-error-mid-3"])
async def test_nothing_is_tried_again_after_the_first_token(
    catalog: Catalog, fake: FakeProvider, model: str
):
    with pytest.raises(ProviderError):
        await collect(catalog, model)
    assert len(fake.calls) == 1


@pytest.mark.parametrize("model", ["fake-503", "fake-empty", "fake-429"])
async def test_the_budget_ends_the_attempts(catalog: Catalog, fake: FakeProvider, model: str):
    with pytest.raises(ProviderError, match=r"Tried \d+ times") as caught:
        await collect(catalog, model, budget=0.3)
    assert caught.value.permanent
    assert len(fake.calls) > 1


async def test_without_a_budget_there_is_one_attempt(catalog: Catalog, fake: FakeProvider):
    with pytest.raises(ProviderError, match="answered 503: Scripted 503 for") as caught:
        await collect(catalog, "fake-503", budget=0.0)
    assert "Tried" not in str(caught.value)
    assert len(fake.calls) == 1


async def test_a_hanging_provider_is_not_asked_again_beyond_the_budget(
    catalog: Catalog, fake: FakeProvider
):
    with pytest.raises(ProviderError, match="did not answer in time"):
        await collect(catalog, "fake-hang", budget=0.2)
    assert len(fake.calls) == 1


async def test_a_short_retry_after_is_obeyed(catalog: Catalog, fake: FakeProvider):
    fake.models.append("fake-429-after-0.2")
    with pytest.raises(ProviderError, match="Tried"):
        await collect(catalog, "fake-429-after-0.2", budget=0.5)
    first, second, *_ = [call.received_at for call in fake.calls]
    assert second - first >= 0.19
    assert len(fake.calls) == 3


@pytest.mark.parametrize(
    ("model", "budget"), [("fake-429-after-3600", 9e9), ("fake-429-after-1", 0.5)]
)
async def test_a_longer_retry_after_fails_at_once_and_names_the_time(
    catalog: Catalog, fake: FakeProvider, model: str, budget: float
):
    with pytest.raises(ProviderError, match=f"asks to wait {model[15:]} s") as caught:
        await collect(catalog, model, budget=budget)
    assert caught.value.retry_after == float(model[15:])
    assert len(fake.calls) == 1


async def test_a_provider_that_comes_back_is_found(
    catalog: Catalog, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
):
    fake.models_status = 503
    waiting = asyncio.create_task(collect(catalog, "fake-10-tokens", budget=30))
    await eventually(lambda: asked(fake))
    fake.models_status = 200
    assert (await waiting).startswith("w0")


async def test_cancelling_the_pause_between_two_attempts_ends_it(
    catalog: Catalog, fake: FakeProvider
):
    patient = Retry(base=30, cap=30, jitter=False)
    pieces = stream_answer(catalog, ask("fake-503"), budget=60, policy=patient)
    waiting = asyncio.ensure_future(anext(pieces))
    await eventually(lambda: called(fake))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await pieces.aclose()


async def asked(fake: FakeProvider) -> bool:
    return fake.models_asked > 0


async def called(fake: FakeProvider) -> bool:
    return len(fake.calls) > 0
