from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from tasks_app.generation import openai_provider
from tasks_app.generation.completion import CompletionBuilder
from tasks_app.generation.errors import ProviderError
from tasks_app.generation.openai_provider import OpenAIProvider
from tests.support.eventually import eventually
from tests.support.fake_provider import KEY, SPLIT_TEXT, FakeProvider
from tests.tasks_app.generation.conftest import ask, config


async def collect(provider: OpenAIProvider, model: str, **more: object) -> CompletionBuilder:
    built = CompletionBuilder("t", model)
    async with aclosing(provider.stream(ask(model, **more))) as pieces:
        async for piece in pieces:
            built.add(piece)
    return built


async def fault(provider: OpenAIProvider, model: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await collect(provider, model)
    assert KEY not in str(caught.value)
    return caught.value


# --- it streams ---------------------------------------------------------------------------------


async def test_streams_every_token_in_order(provider: OpenAIProvider):
    built = await collect(provider, "fake-50-tokens")
    assert built.text.split() == [f"w{number}" for number in range(50)]
    assert built.result()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("fake-plain", "All at once."),
        ("fake-no-done", "w0 w1 w2 "),
        ("fake-crlf", "one two"),
        ("fake-split", SPLIT_TEXT),
        ("fake-no-stream-options", "w0 w1 w2 "),
    ],
)
async def test_reads_the_dialects_of_real_servers(provider: OpenAIProvider, model: str, text: str):
    assert (await collect(provider, model)).text == text


async def test_asks_for_a_stream_with_usage_and_keeps_own_fields_to_itself(
    fake: FakeProvider, provider: OpenAIProvider
):
    built = await collect(
        provider, "fake-usage", temperature=0.2, stream=False, chat_id="c", metadata={"a": 1}
    )
    body = fake.last.body
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["temperature"] == 0.2
    assert not {"chat_id", "metadata"} & set(body)
    assert fake.last.headers["authorization"] == f"Bearer {KEY}"
    assert built.usage == {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}


async def test_one_connection_serves_one_call_after_the_other(
    fake: FakeProvider, provider: OpenAIProvider
):
    for _ in range(3):
        await collect(provider, "fake-3-tokens")
    await provider.models()
    assert fake.connections == 1


async def test_half_a_surrogate_pair_in_a_message_reaches_the_provider(
    fake: FakeProvider, provider: OpenAIProvider
):
    await collect(provider, "fake-3-tokens", messages=[{"role": "user", "content": "\ud83d"}])
    assert fake.last.body["messages"][0]["content"] == "\ud83d"


async def test_lists_models_with_their_type(provider: OpenAIProvider):
    listed = await provider.models()
    assert "fake-500-tokens" in [model.id for model in listed]
    assert {(model.type, model.owned_by) for model in listed} == {("external", "fake")}


# --- it fails clearly ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "kind", "permanent", "words"),
    [
        ("fake-400", "provider_error", True, "answered 400: Scripted 400"),
        ("fake-401", "provider_error", True, "answered 401: Scripted 401 for [key]"),
        ("fake-403", "provider_error", True, "answered 403"),
        ("fake-404", "provider_error", True, "answered 404"),
        ("fake-429", "provider_error", False, "answered 429"),
        ("fake-500", "provider_error", False, "answered 500"),
        ("fake-redirect", "provider_error", True, "redirect"),
        ("fake-html", "invalid_answer", True, "HTML"),
        ("fake-nonsense", "invalid_answer", True, "not the OpenAI protocol"),
        ("fake-flood", "invalid_answer", True, "more than is accepted"),
        ("fake-error-200", "provider_error", True, "Context too long."),
        ("fake-error-mid-2", "provider_error", False, "GPU on fire."),
        ("fake-empty", "empty_answer", False, "empty answer"),
        ("fake-empty-body", "empty_answer", False, "empty answer"),
        ("fake-filtered", "content_filter", True, "content filter"),
        ("fake-half-2", "provider_disconnected", False, "in the middle"),
        ("fake-half-utf8", "provider_disconnected", False, "in the middle"),
        ("fake-reset-2", "provider_disconnected", False, "in the middle"),
    ],
)
async def test_each_fault_is_one_clear_error(
    provider: OpenAIProvider, model: str, kind: str, permanent: bool, words: str
):
    error = await fault(provider, model)
    assert (error.error_type, error.permanent) == (kind, permanent)
    assert words in str(error)
    assert "127.0.0.1:" in str(error)


async def test_a_wrong_key_is_named_but_not_shown(fake: FakeProvider):
    provider = OpenAIProvider(config(fake, key="sk-wrong-and-secret"))
    for call in (provider.models(), anext(provider.stream(ask("fake-3-tokens")))):
        with pytest.raises(ProviderError, match="answered 401: Incorrect API key") as caught:
            await call
        assert caught.value.permanent
        assert "sk-wrong" not in str(caught.value)
    assert "sk-wrong" not in repr(config(fake, key="sk-wrong-and-secret"))
    await provider.aclose()


async def test_retry_after_is_read(provider: OpenAIProvider):
    error = await fault(provider, "fake-429-after-12")
    assert error.retry_after == 12


@pytest.mark.parametrize("model", ["fake-hang", "fake-hang-headers", "fake-hang-after-2"])
async def test_silence_ends_at_the_time_out_and_closes_the_connection(
    fake: FakeProvider, model: str
):
    provider = OpenAIProvider(config(fake, timeout=0.2))
    error = await fault(provider, model)
    assert (error.error_type, error.permanent) == ("provider_timeout", False)
    assert "did not answer in time" in str(error)
    await eventually(lambda: closed(fake))
    await provider.aclose()


async def test_the_password_of_an_address_is_not_shown(fake: FakeProvider):
    address = fake.base_url.replace("//", "//proxy:p%20ssword@")
    provider = OpenAIProvider(replace(config(fake), base_url=address))
    with pytest.raises(ProviderError) as caught:
        await provider.models()
    await provider.aclose()
    said = str(caught.value)
    assert "Incorrect API key provided" in said
    assert "[key]" in said
    assert "cHJveHk6cCBzc3dvcmQ=" not in said


async def test_the_whole_call_has_a_limit(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openai_provider, "WHOLE_CALL_FACTOR", 1)
    provider = OpenAIProvider(config(fake, timeout=0.3))
    error = await fault(provider, "fake-4000-tokens-5-ms")
    assert error.error_type == "provider_timeout"
    await eventually(lambda: closed(fake))
    await provider.aclose()


async def test_a_provider_that_is_away_is_unreachable(fake: FakeProvider):
    async with FakeProvider() as gone:
        pass
    provider = OpenAIProvider(config(gone))
    error = await fault(provider, "fake-3-tokens")
    assert (error.error_type, error.permanent) == ("provider_unreachable", False)
    await provider.aclose()


@pytest.mark.parametrize("address", ["not an address", "ftp://127.0.0.1/v1", "http://[::/v1", ""])
async def test_a_wrong_address_is_a_permanent_fault(fake: FakeProvider, address: str):
    made = config(fake)
    provider = OpenAIProvider(type(made)(base_url=address, key="k", type="local", timeout=1))
    error = await fault(provider, "fake-3-tokens")
    assert error.permanent
    assert "OPENAI_API_BASE_URL" in str(error)
    await provider.aclose()


# --- it stops -----------------------------------------------------------------------------------


async def test_closing_the_iterator_closes_the_connection_at_once(
    fake: FakeProvider, provider: OpenAIProvider
):
    pieces = provider.stream(ask("fake-4000-tokens-5-ms"))
    for _ in range(5):
        await anext(pieces)
    await pieces.aclose()
    await eventually(lambda: closed(fake))
    assert fake.last.tokens < 4000


@pytest.mark.parametrize("model", ["fake-hang", "fake-hang-headers", "fake-hang-after-2"])
async def test_cancelling_closes_the_connection_before_the_coroutine_ends(
    fake: FakeProvider, provider: OpenAIProvider, model: str
):
    running = asyncio.create_task(collect(provider, model))
    await eventually(lambda: started(fake))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await eventually(lambda: closed(fake))


async def test_many_cancelled_calls_leave_no_connection_in_the_pool(
    fake: FakeProvider, provider: OpenAIProvider
):
    for _ in range(20):
        running = asyncio.create_task(collect(provider, "fake-4000-tokens-5-ms"))
        seen = len(fake.calls)
        await eventually(lambda seen=seen: started(fake, seen + 1))
        running.cancel()
        await asyncio.wait({running})
    await eventually(lambda: all_closed(fake))
    transport = provider._client._transport
    assert transport._pool.connections == []


async def closed(fake: FakeProvider) -> bool:
    return fake.last.closed_at is not None


async def all_closed(fake: FakeProvider) -> bool:
    return all(call.closed_at is not None for call in fake.calls)


async def started(fake: FakeProvider, count: int = 1) -> bool:
    return len(fake.calls) >= count
