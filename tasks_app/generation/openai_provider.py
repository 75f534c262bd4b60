"""Any OpenAI-compatible provider, asked over HTTP/1.1 and always streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any

import httpx

from tasks_app.generation.completion import choices, has_output, writable
from tasks_app.generation.conf import ProviderConfig
from tasks_app.generation.errors import ProviderError
from tasks_app.generation.faults import Faults
from tasks_app.generation.providers import ModelInfo
from tasks_app.generation.sse import OversizedEventError, SSEParser

# A caller waits for this, be it only to learn that there is no such model.
MODELS_TIMEOUT_S = 2.0
FREE_CONNECTION_TIMEOUT_S = 5.0
# Unless PROVIDER_TOTAL_TIMEOUT says otherwise, the whole call may take this many times
# PROVIDER_TIMEOUT, which bounds each silence in it.
WHOLE_CALL_FACTOR = 10
MAX_CONNECTIONS = 512
LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
LARGEST_ERROR_BYTES = 64 * 1024
LARGEST_MODEL_COUNT = 5_000
LONGEST_MODEL_ID = 500
DRAIN_S = 0.25
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# Fields of our own requests that mean nothing to a provider.
OWN_FIELDS = frozenset({"chat_id", "session_id", "background_tasks", "metadata"})
OK = 200
BAD_REQUEST = 400


class OpenAIProvider:
    """One provider with its connection pool; belongs to the event loop that first uses it."""

    def __init__(self, config: ProviderConfig) -> None:
        self._config = config
        self.name = config.name
        self._faults = Faults(self.name, config.secrets)
        headers = {"Accept-Encoding": "identity"}  # compression would hold tokens back
        if config.key:
            headers["Authorization"] = f"Bearer {config.key.strip()}"
        connect = min(config.connect_timeout, config.timeout)
        self._client = httpx.AsyncClient(
            headers=httpx.Headers(headers, encoding="utf-8"),
            timeout=httpx.Timeout(
                config.timeout,
                connect=connect,
                pool=min(FREE_CONNECTION_TIMEOUT_S, config.timeout),
            ),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=32),
            follow_redirects=False,
            trust_env=config.host not in LOOPBACK,  # HTTPS_PROXY leads nowhere for our own machine
        )

    async def models(self) -> list[ModelInfo]:
        deadline = _now() + min(MODELS_TIMEOUT_S, self._config.timeout)
        response = await self._send("GET", "/models", None, deadline)
        try:
            return self._models(await self._text(response, deadline))
        finally:
            await response.aclose()

    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        limits = _Limits(self._config)
        response = await self._start(body, limits)
        try:
            pieces = self._answer(response, limits)
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        await self._client.aclose()

    # --- the request ----------------------------------------------------------------------------

    async def _start(self, body: dict[str, Any], limits: _Limits) -> httpx.Response:
        request = {key: value for key, value in body.items() if key not in OWN_FIELDS}
        request["stream"] = True
        options = body.get("stream_options")
        asked = options if isinstance(options, dict) else {}
        request["stream_options"] = {**asked, "include_usage": True}
        try:
            return await self._send("POST", "/chat/completions", request, limits.first_token)
        except ProviderError as error:
            # Older servers know no stream_options; only then is the request sent again without.
            if error.status != BAD_REQUEST or "stream_options" not in str(error):
                raise
        del request["stream_options"]
        return await self._send("POST", "/chat/completions", request, limits.first_token)

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None, deadline: float
    ) -> httpx.Response:
        try:
            request = self._client.build_request(
                method,
                self._config.base_url + path,
                # Escaped, so that half a surrogate pair in a message cannot break the request.
                content=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json"} if body else None,
            )
            async with asyncio.timeout_at(deadline):
                response = await self._client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as exc:
            raise self._faults.transport(exc) from exc
        if response.status_code == OK:
            return response
        try:
            said = await self._read(response, deadline, LARGEST_ERROR_BYTES, cut=True)
        finally:
            await response.aclose()
        raise self._faults.http_status(
            response.status_code, response.headers, said, datetime.now(UTC)
        )

    # --- the answer -----------------------------------------------------------------------------

    async def _answer(
        self, response: httpx.Response, limits: _Limits
    ) -> AsyncGenerator[dict[str, Any], None]:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            yield self._plain(await self._text(response, limits.whole_call))
            return
        if kind in {"text/html", "application/xhtml+xml"}:
            raise self._faults.nonsense("<")
        progress = _Progress()
        events = self._events(response, limits, progress)
        async with aclosing(events):
            async for event in events:
                if event.strip() == "[DONE]":
                    progress.is_done = progress.is_over = True
                    continue
                piece = self._decode(event, is_cut=progress.is_over)
                progress.note(piece)
                yield piece
        self._check_end(progress)

    def _check_end(self, progress: _Progress) -> None:
        if progress.is_filtered and not progress.has_output:
            raise self._faults.filtered()
        if progress.has_events and not progress.is_done:
            raise self._faults.half()
        if not progress.has_output:
            # Bytes that were neither events nor comments: not this protocol at all.
            is_foreign = not progress.is_done and progress.head[:1] not in {b"", b":"}
            head = progress.head.decode("utf-8", "replace")
            raise self._faults.nonsense(head) if is_foreign else self._faults.empty()

    async def _events(
        self, response: httpx.Response, limits: _Limits, progress: _Progress
    ) -> AsyncGenerator[str, None]:
        parser = SSEParser()
        size = 0
        received = aiter(response.aiter_bytes())
        try:
            # Comments keep a connection busy: until the first token a deadline of its own holds.
            while piece := await self._next(received, limits.until(progress)):
                progress.head = progress.head or piece[:200].lstrip()
                size += len(piece)
                if size > LARGEST_ANSWER_BYTES:
                    raise self._faults.too_large()
                for event in parser.feed(piece):
                    yield event
                if progress.is_over:
                    await self._drain(received)
                    return
            progress.is_over = True
            for event in parser.finish():
                yield event
        except OversizedEventError as exc:
            raise self._faults.too_large() from exc

    async def _drain(self, received: AsyncIterator[bytes]) -> None:
        """Read the end of the body after [DONE], so that the connection can be used again."""
        with suppress(ProviderError):
            deadline = _now() + DRAIN_S
            while await self._next(received, deadline):
                pass

    async def _next(self, received: AsyncIterator[bytes], deadline: float) -> bytes:
        """Return the next bytes, b"" at the end."""
        try:
            async with asyncio.timeout_at(deadline):
                async for piece in received:
                    if piece:
                        return piece
        except (httpx.HTTPError, TimeoutError) as exc:
            raise self._faults.transport(exc) from exc
        return b""

    async def _read(
        self, response: httpx.Response, deadline: float, largest: int, *, cut: bool = False
    ) -> bytes:
        received = aiter(response.aiter_bytes())
        body = bytearray()
        while piece := await self._next(received, deadline):
            body += piece
            if len(body) > largest:
                if not cut:
                    raise self._faults.too_large()
                return bytes(body[:largest])
        return bytes(body)

    async def _text(self, response: httpx.Response, deadline: float) -> str:
        body = await self._read(response, deadline, LARGEST_ANSWER_BYTES)
        return body.decode("utf-8", "replace")

    def _plain(self, body: str) -> dict[str, Any]:
        """Turn the plain `chat.completion` of a provider that does not stream into one chunk."""
        answer = self._decode(body)
        if not isinstance(answer.get("choices"), list):
            raise self._faults.nonsense(body)
        made = [
            {"index": index, "delta": delta, "finish_reason": reason or "stop"}
            for index, delta, reason in choices(answer)
        ]
        piece = {**answer, "object": "chat.completion.chunk", "choices": made}
        if not has_output(piece):
            raise self._faults.empty()
        return piece

    def _decode(self, text: str, *, is_cut: bool = False) -> dict[str, Any]:
        try:
            decoded = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise self._faults.half() if is_cut else self._faults.nonsense(text) from exc
        if not isinstance(decoded, dict):
            raise self._faults.nonsense(text)
        if decoded.get("error"):
            raise self._faults.error_object(decoded["error"])
        return decoded

    def _models(self, body: str) -> list[ModelInfo]:
        listed = self._decode(body).get("data")
        if not isinstance(listed, list):
            raise self._faults.nonsense(body)
        return [
            ModelInfo(
                id=entry["id"],
                provider=self.name,
                type=self._config.type,
                owned_by=str(entry.get("owned_by") or self.name),
            )
            for entry in listed[:LARGEST_MODEL_COUNT]
            if isinstance(entry, dict) and _is_id(entry.get("id"))
        ]


class _Limits:
    """The moments, on the loop's clock, by which the first token and the end must have come."""

    def __init__(self, config: ProviderConfig) -> None:
        total = config.total_timeout or config.timeout * WHOLE_CALL_FACTOR
        self.whole_call = _now() + total
        self.first_token = _now() + min(config.timeout, total)

    def until(self, progress: _Progress) -> float:
        return self.whole_call if progress.has_output else self.first_token


class _Progress:
    """What has been seen of a streamed answer."""

    def __init__(self) -> None:
        self.head = b""
        self.has_events = False
        self.has_output = False
        self.is_done = False
        self.is_filtered = False
        # Nothing follows: [DONE] was read, or the body ended.
        self.is_over = False

    def note(self, piece: dict[str, Any]) -> None:
        self.has_events = True
        self.has_output = self.has_output or has_output(piece)
        for _, _, reason in choices(piece):
            # A finish reason ends the answer as well as [DONE], which some providers never send.
            self.is_done = self.is_done or reason is not None
            self.is_filtered = self.is_filtered or reason == "content_filter"


def _is_id(found: Any) -> bool:
    """Tell whether a model's id can be asked for, and be a field in Redis."""
    is_text = isinstance(found, str) and 0 < len(found) <= LONGEST_MODEL_ID
    return is_text and writable(found) == found


def _now() -> float:
    return asyncio.get_running_loop().time()
