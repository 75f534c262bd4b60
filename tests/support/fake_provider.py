"""A scripted OpenAI-compatible provider on a real loopback socket; the model's name is the script.

In a test's loop: `async with FakeProvider() as provider: … provider.base_url …`.
As a process: `python -m tests.support.fake_provider --port 8200 --log events.jsonl`; it prints its
base URL on the first line. Each line of the log is `{"event", "t", "model", "tokens", "bytes"}`
with `t` from `time.monotonic()`, which all processes of one Linux machine share; "closed" is the
client's closing before the end, after which nothing more is written.
`/v1/models` lists EXAMPLES below; `--model NAME` adds others, `--only NAME` lists nothing else
(in a test: `provider.models`).

| model                 | what it does                                                             |
|-----------------------|--------------------------------------------------------------------------|
| fake-N-tokens         | N tokens ("w0 w1 …"), one every `pace` seconds (default 0.002)           |
| fake-N-tokens-M-ms    | N tokens, one every M milliseconds                                       |
| fake-echo             | the last message's text as the answer, in one token per word             |
| fake-say:TEXT         | TEXT as the answer                                                       |
| fake-as-told          | the last line said is the model: "fake-40-tokens"; otherwise fake-title  |
| fake-title            | a title as JSON behind a reasoning block                                 |
| fake-title-repair     | useless output first; good JSON when asked to repair                     |
| fake-repair:TEXT      | useless output first; TEXT when asked to repair                          |
| fake-useless          | prose that is no title, always                                           |
| fake-reasoning        | two reasoning deltas, then content                                       |
| fake-tools            | a tool call in pieces                                                    |
| fake-usage            | a short answer with usage                                                |
| fake-plain            | plain JSON although a stream was asked for                               |
| fake-no-done          | finish_reason, but no [DONE]                                             |
| fake-crlf             | CRLF, comments, other fields, a last event without its blank line        |
| fake-split            | SPLIT_TEXT (umlauts, Chinese, an emoji), its bytes sent one by one       |
| fake-half-N           | N tokens, then a clean end without finish_reason or [DONE]               |
| fake-half-utf8        | ends in the middle of a character                                        |
| fake-reset-N          | N tokens, then a connection reset                                        |
| fake-hang             | accepts the request and never answers                                    |
| fake-hang-headers     | sends headers and comments, never a token                                |
| fake-hang-after-N     | N tokens, then silence                                                   |
| fake-empty            | a stream of [DONE] alone                                                 |
| fake-empty-body       | status 200 and not one byte                                              |
| fake-html             | an HTML page with status 200                                             |
| fake-error-200        | an error object with status 200                                          |
| fake-error-mid-N      | N tokens, then an error object in the stream                             |
| fake-nonsense         | events that are no JSON                                                  |
| fake-flood            | one line without an end                                                  |
| fake-filtered         | finish_reason content_filter, no text                                    |
| fake-no-stream-options| 400 as long as stream_options is sent                                    |
| fake-no-json-schema   | 400 for response_format json_schema, otherwise fake-title                |
| fake-no-format        | 400 as long as any response_format is sent, otherwise fake-title         |
| fake-STATUS           | that HTTP status, e.g. fake-500, fake-401 (its message repeats the key)  |
| fake-429-after-S      | 429 with Retry-After: S                                                  |
| fake-STATUS-times-N   | that status N times, then ten tokens                                     |
| fake-redirect         | 302 to somewhere else                                                    |
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

KEY = "sk-fake-key-0123456789"
SPLIT_TEXT = "Grüße 你好 👋"
# One of each script, with the numbers that tests use.
_EXAMPLES = """
fake-10-tokens fake-500-tokens fake-4000-tokens fake-100-tokens-20-ms fake-500-tokens-10-ms
fake-4000-tokens-2-ms fake-echo fake-say:Hello fake-title fake-title-repair fake-useless
fake-reasoning fake-tools fake-usage fake-plain fake-no-done fake-crlf fake-split fake-half-3
fake-half-utf8 fake-reset-3 fake-reset-0 fake-hang fake-hang-headers fake-hang-after-3 fake-empty
fake-empty-body fake-html fake-error-200 fake-error-mid-3 fake-nonsense fake-flood fake-filtered
fake-no-stream-options fake-no-json-schema fake-no-format
fake-400 fake-401 fake-403 fake-404 fake-429 fake-500 fake-503
fake-429-after-1 fake-429-after-3600 fake-503-times-1 fake-503-times-2 fake-redirect
"""
EXAMPLES = _EXAMPLES.split()
STREAM = "text/event-stream; charset=utf-8"


@dataclass
class Call:
    """One request as it was received, and what became of its connection."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    received_at: float = field(default_factory=time.monotonic)
    tokens: int = 0
    sent_bytes: int = 0
    # When the client closed the connection before the answer was complete; None when it did not.
    closed_at: float | None = None
    is_complete: bool = False

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))


class HungUpError(Exception):
    """The script closed the connection itself."""


class FakeProvider:
    def __init__(
        self, *, pace: float = 0.002, log: Path | None = None, key: str = "", port: int = 0
    ) -> None:
        self.pace = pace
        self.key = key
        self.models = list(EXAMPLES)
        self.models_status = 200
        self.models_asked = 0
        self.calls: list[Call] = []
        self.connections = 0
        self._log = log
        self._port = port
        self._seen: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for serving in self._serving:
            serving.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        await self._server.wait_closed()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def last(self) -> Call:
        return self.calls[-1]

    def attempts(self, model: str) -> int:
        """Count this request among those for the same model."""
        self._seen[model] += 1
        return self._seen[model]

    def record(self, event: str, call: Call) -> None:
        if self._log is None:
            return
        line = {
            "event": event,
            "t": time.monotonic(),
            "model": call.model,
            "tokens": call.tokens,
            "bytes": call.sent_bytes,
        }
        with self._log.open("a") as file:
            file.write(json.dumps(line) + "\n")

    # --- HTTP -----------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        self.connections += 1
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, HungUpError):
            pass
        finally:
            self._serving.discard(serving)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        answer = Answer(writer)
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            key = headers.get("authorization", "").partition(" ")[2]
            said = f"Incorrect API key provided: {key}."
            await answer.error(401, said)
        elif method == "GET" and path == "/v1/models":
            self.models_asked += 1
            await self._list_models(answer)
        elif method == "POST" and path == "/v1/chat/completions":
            call = Call(path, headers, json.loads(raw))
            self.calls.append(call)
            await self._play(call, answer, reader)
        else:
            await answer.error(404, f"No such path: {path}")
        return True

    async def _list_models(self, answer: Answer) -> None:
        if self.models_status != 200:
            await answer.error(self.models_status, "models are not available")
            return
        listed = [{"id": name, "object": "model", "owned_by": "fake"} for name in self.models]
        await answer.json(200, {"object": "list", "data": listed})

    async def _play(self, call: Call, answer: Answer, reader: asyncio.StreamReader) -> None:
        """Run the model's script while watching for the client to close the connection."""
        answer.call = call
        self.record("started", call)
        playing = asyncio.ensure_future(_script_of(call.model)(self, call, answer))
        watching = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({playing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                # Nothing may follow a request that is not answered yet: these bytes are the end.
                call.closed_at = time.monotonic()
                self.record("closed", call)
                raise HungUpError
            await playing
            call.is_complete = True
            self.record("finished", call)
            if watching.done():
                raise HungUpError
        except ConnectionError:
            if call.closed_at is None:
                call.closed_at = time.monotonic()
                self.record("closed", call)
            raise
        finally:
            for running in (playing, watching):
                running.cancel()
            await asyncio.wait({playing, watching})
            for ended in (playing, watching):
                if not ended.cancelled():
                    ended.exception()


class Answer:
    """Writes one HTTP/1.1 answer: whole, or in chunks."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.call: Call | None = None

    async def json(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        await self.whole(status, "application/json", json.dumps(body).encode(), headers)

    async def error(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        error = {"message": message, "type": "fake_error", "code": None}
        await self.json(status, {"error": error}, headers)

    async def whole(
        self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self._head(status, kind, {"Content-Length": str(len(body)), **(headers or {})})
        await self._write(body)

    def begin(self, kind: str = STREAM) -> None:
        self._head(200, kind, {"Transfer-Encoding": "chunked"})

    async def send(self, data: bytes) -> None:
        await self._write(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, data: Any) -> None:
        await self.send(b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n")

    async def token(self, text: str) -> None:
        await self.event(piece({"content": text}))
        assert self.call is not None
        self.call.tokens += 1

    async def finish(self, reason: str = "stop", *, is_done: bool = True) -> None:
        await self.event(piece({}, reason))
        if is_done:
            await self.send(b"data: [DONE]\n\n")
        await self.end()

    async def end(self) -> None:
        await self._write(b"0\r\n\r\n")

    def reset(self) -> None:
        """Close with RST: what is lost on a real network."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        raise HungUpError

    def _head(self, status: int, kind: str, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", f"Content-Type: {kind}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        if self.call is not None:
            self.call.sent_bytes += len(data)


def piece(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "fake-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "fake",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
    }


# --- the scripts --------------------------------------------------------------------------------

Script = Callable[[FakeProvider, Call, Answer], Awaitable[None]]


def _script_of(model: str) -> Script:
    for pattern, script in SCRIPTS:
        match = re.fullmatch(pattern, model, re.DOTALL)
        if match:
            return lambda provider, call, answer: script(provider, call, answer, *match.groups())
    return _unknown


async def _unknown(_: FakeProvider, call: Call, answer: Answer) -> None:
    await answer.error(404, f"The model {call.model} does not exist.")


async def _tokens(
    provider: FakeProvider, _: Call, answer: Answer, count: str, pace_ms: str | None = None
) -> None:
    await _send_tokens(provider, answer, int(count), pace_ms)
    await answer.finish()


async def _send_tokens(
    provider: FakeProvider, answer: Answer, count: int, pace_ms: str | None = None
) -> None:
    pace = provider.pace if pace_ms is None else int(pace_ms) / 1000
    answer.begin()
    await answer.event(piece({"role": "assistant", "content": ""}))
    for number in range(count):
        await answer.token(f"w{number} ")
        await asyncio.sleep(pace)


async def _say(_: FakeProvider, __: Call, answer: Answer, text: str) -> None:
    answer.begin()
    for part in re.findall(r"\S+\s*|\s+", text):
        await answer.token(part)
    await answer.finish()


async def _echo(provider: FakeProvider, call: Call, answer: Answer) -> None:
    await _say(provider, call, answer, str(call.body["messages"][-1]["content"]))


async def _as_told(provider: FakeProvider, call: Call, answer: Answer) -> None:
    told = str(call.body["messages"][-1]["content"]).strip().rpartition("\n")[2].strip()
    model = told if told.startswith("fake-") and told != "fake-as-told" else "fake-title"
    await _script_of(model)(provider, call, answer)


async def _title(provider: FakeProvider, call: Call, answer: Answer) -> None:
    text = '<think>What is it about?</think>\n```json\n{"title": "Reise nach Rom"}\n```'
    await _say(provider, call, answer, text)


async def _title_repair(provider: FakeProvider, call: Call, answer: Answer) -> None:
    if len(call.body["messages"]) == 1:
        await _useless(provider, call, answer)
    else:
        await _say(provider, call, answer, '{"title": "Repaired at Last"}')


async def _repair(provider: FakeProvider, call: Call, answer: Answer, text: str) -> None:
    if len(call.body["messages"]) == 1:
        await _useless(provider, call, answer)
    else:
        await _say(provider, call, answer, text)


async def _useless(provider: FakeProvider, call: Call, answer: Answer) -> None:
    await _say(provider, call, answer, "I'm sorry, but I can't name this conversation.")


async def _reasoning(_: FakeProvider, __: Call, answer: Answer) -> None:
    answer.begin()
    await answer.event(piece({"reasoning": "Let me "}))
    await answer.event(piece({"reasoning_content": "think."}))
    await answer.token("Forty-two.")
    await answer.finish()


async def _tools(_: FakeProvider, __: Call, answer: Answer) -> None:
    answer.begin()
    call = {"index": 0, "id": "call_1", "type": "function"}
    await answer.event(piece({"tool_calls": [{**call, "function": {"name": "weather"}}]}))
    for part in ('{"city": ', '"Rom"}'):
        more = {"index": 0, "function": {"arguments": part}}
        await answer.event(piece({"tool_calls": [more]}))
    await answer.finish("tool_calls")


async def _usage(_: FakeProvider, call: Call, answer: Answer) -> None:
    answer.begin()
    await answer.token("Hello")
    await answer.event(piece({}, "stop"))
    if call.body.get("stream_options", {}).get("include_usage"):
        usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
        await answer.event({**piece({}), "choices": [], "usage": usage})
    await answer.send(b"data: [DONE]\n\n")
    await answer.end()


async def _plain(_: FakeProvider, call: Call, answer: Answer) -> None:
    message = {"role": "assistant", "content": "All at once."}
    await answer.json(
        200,
        {
            "id": "fake-plain",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": call.model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
        },
    )


async def _no_done(provider: FakeProvider, _: Call, answer: Answer) -> None:
    await _send_tokens(provider, answer, 3)
    await answer.finish(is_done=False)


async def _crlf(_: FakeProvider, __: Call, answer: Answer) -> None:
    answer.begin()
    first, second = json.dumps(piece({"content": "one "})), json.dumps(piece({"content": "two"}))
    end = json.dumps(piece({}, "stop"))
    text = f": hello\r\n\r\nevent: x\r\nid: 7\r\ndata:{first}\r\n\r\n:\r\ndata: {second}\r\n\r\n"
    for part in (text[:90], text[90:], f"data: {end}"):
        await answer.send(part.encode())
    await answer.end()


async def _split(_: FakeProvider, __: Call, answer: Answer) -> None:
    answer.begin()
    event = json.dumps(piece({"content": SPLIT_TEXT}), ensure_ascii=False)
    for byte in f"data: {event}\n\n".encode():
        await answer.send(bytes([byte]))
        await asyncio.sleep(0)
    await answer.finish()


async def _half(provider: FakeProvider, _: Call, answer: Answer, count: str) -> None:
    await _send_tokens(provider, answer, int(count))
    await answer.end()


async def _half_utf8(provider: FakeProvider, _: Call, answer: Answer) -> None:
    await _send_tokens(provider, answer, 2)
    event = json.dumps(piece({"content": "ü"}), ensure_ascii=False).encode()
    cut = event.index("ü".encode()) + 1
    await answer.send(b"data: " + event[:cut])
    await answer.end()


async def _reset(provider: FakeProvider, _: Call, answer: Answer, count: str) -> None:
    await _send_tokens(provider, answer, int(count))
    answer.reset()


async def _hang(_: FakeProvider, __: Call, ___: Answer) -> None:
    await asyncio.Event().wait()


async def _hang_headers(_: FakeProvider, __: Call, answer: Answer) -> None:
    answer.begin()
    while True:
        await answer.send(b": still here\n\n")
        await asyncio.sleep(0.02)


async def _hang_after(provider: FakeProvider, _: Call, answer: Answer, count: str) -> None:
    await _send_tokens(provider, answer, int(count))
    await asyncio.Event().wait()


async def _empty(_: FakeProvider, __: Call, answer: Answer) -> None:
    answer.begin()
    await answer.event(piece({"role": "assistant", "content": ""}))
    await answer.finish()


async def _empty_body(_: FakeProvider, __: Call, answer: Answer) -> None:
    await answer.whole(200, STREAM, b"")


async def _html(_: FakeProvider, __: Call, answer: Answer) -> None:
    await answer.whole(200, "text/html", b"<!doctype html><title>Login</title>")


async def _error_200(_: FakeProvider, __: Call, answer: Answer) -> None:
    await answer.json(200, {"error": {"message": "Context too long.", "code": 400}})


async def _error_mid(provider: FakeProvider, _: Call, answer: Answer, count: str) -> None:
    await _send_tokens(provider, answer, int(count))
    await answer.event({"error": {"message": "GPU on fire.", "type": "server_error"}})
    await answer.end()


async def _nonsense(_: FakeProvider, __: Call, answer: Answer) -> None:
    answer.begin()
    await answer.send(b"data: [1, 2\n\n")
    await answer.end()


async def _flood(_: FakeProvider, __: Call, answer: Answer) -> None:
    answer.begin()
    while True:
        await answer.send(b"data: " + b"x" * 65_536)


async def _filtered(_: FakeProvider, __: Call, answer: Answer) -> None:
    answer.begin()
    await answer.finish("content_filter")


async def _no_stream_options(provider: FakeProvider, call: Call, answer: Answer) -> None:
    if "stream_options" in call.body:
        await answer.error(400, "Unknown field: stream_options")
    else:
        await _tokens(provider, call, answer, "3")


async def _no_json_schema(provider: FakeProvider, call: Call, answer: Answer) -> None:
    if call.body.get("response_format", {}).get("type") == "json_schema":
        await answer.error(400, "response_format: 'json_schema' is not supported by this model")
    else:
        await _title(provider, call, answer)


async def _no_format(provider: FakeProvider, call: Call, answer: Answer) -> None:
    if "response_format" in call.body:
        await answer.error(400, "Unrecognized request argument supplied: response_format")
    else:
        await _title(provider, call, answer)


async def _status(
    _: FakeProvider, call: Call, answer: Answer, status: str, after: str | None = None
) -> None:
    key = call.headers.get("authorization", "").removeprefix("Bearer ")
    headers = {"Retry-After": after} if after else None
    await answer.error(int(status), f"Scripted {status} for {key}", headers)


async def _status_times(
    provider: FakeProvider, call: Call, answer: Answer, status: str, times: str
) -> None:
    if provider.attempts(call.model) <= int(times):
        await _status(provider, call, answer, status)
    else:
        await _tokens(provider, call, answer, "10")


async def _redirect(_: FakeProvider, __: Call, answer: Answer) -> None:
    await answer.whole(302, "text/plain", b"", {"Location": "http://127.0.0.1:1/v1"})


SCRIPTS: list[tuple[str, Callable[..., Awaitable[None]]]] = [
    (r"fake-(\d+)-tokens", _tokens),
    (r"fake-(\d+)-tokens-(\d+)-ms", _tokens),
    (r"fake-say:(.+)", _say),
    (r"fake-echo", _echo),
    (r"fake-as-told", _as_told),
    (r"fake-title", _title),
    (r"fake-title-repair", _title_repair),
    (r"fake-repair:(.+)", _repair),
    (r"fake-useless", _useless),
    (r"fake-reasoning", _reasoning),
    (r"fake-tools", _tools),
    (r"fake-usage", _usage),
    (r"fake-plain", _plain),
    (r"fake-no-done", _no_done),
    (r"fake-crlf", _crlf),
    (r"fake-split", _split),
    (r"fake-half-(\d+)", _half),
    (r"fake-half-utf8", _half_utf8),
    (r"fake-reset-(\d+)", _reset),
    (r"fake-hang", _hang),
    (r"fake-hang-headers", _hang_headers),
    (r"fake-hang-after-(\d+)", _hang_after),
    (r"fake-empty", _empty),
    (r"fake-empty-body", _empty_body),
    (r"fake-html", _html),
    (r"fake-error-200", _error_200),
    (r"fake-error-mid-(\d+)", _error_mid),
    (r"fake-nonsense", _nonsense),
    (r"fake-flood", _flood),
    (r"fake-filtered", _filtered),
    (r"fake-no-stream-options", _no_stream_options),
    (r"fake-no-json-schema", _no_json_schema),
    (r"fake-no-format", _no_format),
    (r"fake-(\d{3})-after-([\d.]+)", _status),
    (r"fake-(\d{3})-times-(\d+)", _status_times),
    (r"fake-(\d{3})", _status),
    (r"fake-redirect", _redirect),
]


async def _serve(port: int, pace: float, log: Path | None, key: str, models: list[str]) -> None:
    async with FakeProvider(pace=pace, log=log, key=key, port=port) as provider:
        provider.models = models
        print(provider.base_url, flush=True)  # noqa: T201 - the caller reads it
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible provider.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pace", type=float, default=0.002, help="seconds between tokens")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--key", default="", help="refuse every other key with 401")
    parser.add_argument("--model", action="append", default=[], help="list this model too")
    parser.add_argument("--only", action="append", default=[], help="list only such models")
    chosen = parser.parse_args()
    models = chosen.only or [*EXAMPLES, *chosen.model]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(chosen.port, chosen.pace, chosen.log, chosen.key, models))


if __name__ == "__main__":
    main()
