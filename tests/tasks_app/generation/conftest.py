from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tasks_app.generation.catalog import aclose_catalog
from tasks_app.generation.conf import ProviderConfig
from tasks_app.generation.openai_provider import OpenAIProvider
from tasks_app.services import usage
from tests.support.fake_provider import KEY, FakeProvider
from tests.support.recording import RecordingContext


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(key=KEY) as provider:
        yield provider


@pytest.fixture
async def provider(fake: FakeProvider) -> AsyncIterator[OpenAIProvider]:
    made = OpenAIProvider(config(fake))
    yield made
    await made.aclose()


@pytest.fixture
def context() -> RecordingContext:
    return RecordingContext()


@pytest.fixture
async def configured(fake: FakeProvider, settings) -> AsyncIterator[FakeProvider]:
    """Point Django's settings at the fake provider, with little patience."""
    settings.OPENAI_API_BASE_URL = [fake.base_url]
    settings.OPENAI_API_KEY = [KEY]
    settings.OPENAI_API_TYPE = []
    settings.PROVIDER_TIMEOUT = 5.0
    settings.PROVIDER_RETRY_SECONDS = 3.0
    yield fake
    await usage.aclose()  # or it would write while the database is emptied
    await aclose_catalog()


@pytest.fixture
async def offline(settings) -> AsyncIterator[None]:
    """No provider at all: the built-in model serves."""
    settings.OPENAI_API_BASE_URL = []
    yield
    await usage.aclose()
    await aclose_catalog()


def config(fake: FakeProvider, *, timeout: float = 5.0, key: str = KEY) -> ProviderConfig:
    return ProviderConfig(base_url=fake.base_url, key=key, type="external", timeout=timeout)


def ask(model: str, text: str = "Hello", **more: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}
