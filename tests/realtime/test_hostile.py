"""What clients send in error or malice: the frame is refused, others and the server unharmed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from collections.abc import Sequence
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from realtime.domain.limits import MAX_FRAME_BYTES
from tests.realtime.client import Client, dial
from tests.realtime.conftest import SERVERS
from tests.realtime.site import Account, Server, Site
from tests.support.eventually import eventually

ack = 7
LONG_ID, LONG = "a" * 65, "ä" * 201
BAD_FRAMES = {
    "not JSON": ("}{", "bad_frame"),
    "empty": ("", "bad_frame"),
    "binary": (b'{"type": "heartbeat"}', "bad_frame"),
    "empty binary": (b"", "bad_frame"),
    "binary noise": (bytes(range(256)), "bad_frame"),
    "a list": ("[]", "bad_frame"),
    "a number": ("1", "bad_frame"),
    "null": ("null", "bad_frame"),
    "not a number": ('{"type": "heartbeat", "data": NaN}', "bad_frame"),
    "a huge number": ('{"type": "heartbeat", "data": ' + "9" * 5000 + "}", "bad_frame"),
    "deep nesting": ('{"data":' * 100_000 + "1" + "}" * 100_000, "bad_frame"),
    "deep lists": ("[" * 500_000, "bad_frame"),
    "no type": ('{"data": {}}', "bad_frame"),
    "type is a number": ('{"type": 1}', "bad_frame"),
    "type is a list": ('{"type": ["heartbeat"]}', "bad_frame"),
    "ack is text": ('{"type": "heartbeat", "ack": "1"}', "bad_frame"),
    "ack is true": ('{"type": "heartbeat", "ack": true}', "bad_frame"),
    "ack is negative": ('{"type": "heartbeat", "ack": -1}', "bad_frame"),
    "ack is a fraction": ('{"type": "heartbeat", "ack": 1.5}', "bad_frame"),
    "unknown type": ('{"type": "room:enter", "data": {"room": "public:a"}}', "unknown_type"),
    "surrogate type": ('{"type": "\\ud800"}', "unknown_type"),
    "method name": ('{"type": "__init__"}', "unknown_type"),
    "data is a list": ('{"type": "task:subscribe", "data": []}', "invalid"),
    "data is text": ('{"type": "heartbeat", "data": "x"}', "invalid"),
    "no task": ('{"type": "task:subscribe"}', "invalid"),
    "task is a number": ('{"type": "task:subscribe", "data": {"task_id": 1}}', "invalid"),
    "task is too long": (f'{{"type": "task:stop", "data": {{"task_id": "{LONG_ID}"}}}}', "invalid"),
    "task is a path": ('{"type": "task:stop", "data": {"task_id": "../x"}}', "invalid"),
    "task is a pattern": ('{"type": "task:stop", "data": {"task_id": "*"}}', "invalid"),
    "task with a line end": ('{"type": "task:stop", "data": {"task_id": "a\\n"}}', "invalid"),
    "task and item": ('{"type": "task:stop", "data": {"task_id": "a", "item_id": "b"}}', "invalid"),
    "neither task nor item": ('{"type": "task:stop", "data": {}}', "invalid"),
    "empty item": ('{"type": "task:stop", "data": {"item_id": ""}}', "invalid"),
    "surrogate item": ('{"type": "task:stop", "data": {"item_id": "\\udfff"}}', "invalid"),
    "item is too long": (f'{{"type": "task:stop", "data": {{"item_id": "{LONG}"}}}}', "invalid"),
    "token is an object": ('{"type": "user-join", "data": {"auth": {"token": {}}}}', "invalid"),
    "auth is text": ('{"type": "user-join", "data": {"auth": "x"}}', "invalid"),
    "no room": ('{"type": "room:join"}', "invalid"),
    "room is empty": ('{"type": "room:join", "data": {"room": ""}}', "invalid"),
    "room is too long": (f'{{"type": "room:join", "data": {{"room": "{"a" * 81}"}}}}', "invalid"),
    "room with a space": ('{"type": "room:join", "data": {"room": "public: a"}}', "invalid"),
    "room with braces": ('{"type": "room:join", "data": {"room": "public:{a}"}}', "invalid"),
    "room with a line end": ('{"type": "room:leave", "data": {"room": "public:a\\n"}}', "invalid"),
    "no event": ('{"type": "room:send", "data": {"room": "public:a"}}', "invalid"),
    "event is empty": ('{"type": "room:send", "data": {"room": "r", "event": ""}}', "invalid"),
    "event is a number": ('{"type": "room:send", "data": {"room": "r", "event": 1}}', "invalid"),
    "room not joined": ('{"type": "room:send", "data": {"room": "r", "event": "x"}}', "forbidden"),
    "no call": ('{"type": "call:reply", "data": {"data": 1}}', "invalid"),
    "call with a line end": ('{"type": "call:reply", "data": {"call_id": "a\\n"}}', "invalid"),
    "unknown call": ('{"type": "call:reply", "data": {"call_id": "a"}}', "not_found"),
    "event id is a number": (
        '{"type": "task:subscribe", "data": {"task_id": "a", "last_event_id": 1}}',
        "invalid",
    ),
}  # fmt: skip


async def error_of(client: Client) -> str:
    frame = await client.next("error")
    assert len(frame["detail"]) <= 300
    return str(frame["code"])


async def test_bad_frames_get_an_error_frame_and_harm_nobody(site: Site, server: Server) -> None:
    mine, other = site.account(), site.account()
    async with dial(server.url, mine.bearer) as client, dial(server.url, other.bearer) as neighbour:
        for name, (frame, code) in BAD_FRAMES.items():
            await client.connection.send(frame)
            assert await error_of(client) == code, name
            assert await client.is_alive(), name
        assert await neighbour.is_alive()


async def test_an_error_carries_the_ack_of_its_frame(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        for frame in ({"type": "x"}, {"type": 5}, {"type": "task:stop"}):
            await client.connection.send(json.dumps({**frame, "ack": ack}))
            answer = await client.wait_for(lambda frame: frame["type"] == "error")
            assert answer["ack"] == ack
        await client.connection.send("{}")
        answer = await client.wait_for(lambda frame: frame["type"] == "error")
        assert "ack" not in answer


async def test_a_frame_without_ack_is_done_in_silence(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        await client.send("heartbeat")
        await client.send("user-join")
        assert await client.is_alive()
        assert not client.frames


@pytest.mark.parametrize("character", ["x", "ä"])
async def test_frames_up_to_the_limit_pass_and_larger_ones_close_1009(
    site: Site, server: Server, character: str
) -> None:
    shell = json.dumps({"type": "heartbeat", "ack": 1, "data": {"x": ""}})
    room = MAX_FRAME_BYTES - len(shell)
    filling = character * (room // len(character.encode()))
    filling += "y" * (room - len(filling.encode()))
    full = shell.replace('""', f'"{filling}"')
    assert len(full.encode()) == MAX_FRAME_BYTES
    mine, other = site.account(), site.account()
    async with dial(server.url, mine.bearer) as client, dial(server.url, other.bearer) as neighbour:
        await client.connection.send(full)
        await client.wait_for(lambda frame: frame["type"] == "ack")
        await client.connection.send(full + " ")
        assert await client.close_code() == 1009
        assert await neighbour.is_alive()


async def test_nothing_that_clients_send_fills_the_memory(whole_site: Site, redis_url: str) -> None:
    """Round after round of everything bad at once: what one round costs is given back."""
    site = whole_site
    mine, other = site.account(), site.account()
    for kind in SERVERS:
        with site.serving(kind) as server:
            async with dial(server.url, other.bearer) as neighbour:
                for _ in range(3):  # the allocator and its caches settle
                    await bad_round(server, mine)
                before = resident_bytes(server)
                for _ in range(6):
                    await bad_round(server, mine)
                    assert await neighbour.is_alive()
                # A single leaked large frame per round would be twice that.
                assert resident_bytes(server) - before < 30 * 1024 * 1024


async def bad_round(server: Server, account: Account) -> None:
    """Send, each on a socket of its own, what closes the socket and what is refused."""
    tiny = '{"type": "usage", "data": {"model": "x"}}'
    signed_in = [
        ["x" * 10_000_000],
        [tiny] * 10_000,
        ['{"data":' * 100_000 + "1" + "}" * 100_000] * 5,
        [bytes(100_000)] * 20,
        ['{"type": "task:subscribe", "data": {"task_id": "' + "0" * 32 + '"}}'] * 500,
    ]
    floods = [flood(server, account.bearer, frames) for frames in signed_in]
    floods += [flood(server, None, frames) for frames in (["}{"] * 1000, ["x" * 10_000_000])]
    async with asyncio.timeout(60):
        await asyncio.gather(*floods)


async def flood(
    server: Server, headers: dict[str, str] | None, frames: Sequence[str | bytes]
) -> None:
    with contextlib.suppress(ConnectionClosed):
        async with dial(server.url, headers, compression=None) as client:
            for frame in frames:
                await client.connection.send(frame)


def resident_bytes(server: Server) -> int:
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


async def test_ten_megabytes_close_1009(site: Site, server: Server) -> None:
    mine, other = site.account(), site.account()
    async with dial(server.url, mine.bearer) as client, dial(server.url, other.bearer) as neighbour:
        await client.connection.send("x" * 10_000_000)
        assert await client.close_code() == 1009
        assert await neighbour.is_alive()


async def test_too_much_for_the_server_itself_ends_that_socket_only(
    site: Site, server: Server
) -> None:
    mine, other = site.account(), site.account()
    async with dial(server.url, mine.bearer) as client, dial(server.url, other.bearer) as neighbour:
        async with asyncio.timeout(20):
            try:
                await client.connection.send("x" * 30_000_000)
                await client.close_code()
            except ConnectionClosed:
                pass
        assert await neighbour.is_alive()


async def test_a_burst_passes_and_what_is_more_is_rate_limited(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        for number in range(1, 301):
            await client.send("heartbeat", ack=number)
        answers = [await client.wait_for(lambda frame: "ack" in frame) for _ in range(300)]
        assert [answer["ack"] for answer in answers] == list(range(1, 301))
        assert {answer["type"] for answer in answers[:200]} == {"ack"}
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert {answer["data"]["code"] for answer in refused} == {"rate_limited"}
        assert 0 < len(refused) <= 100


async def test_who_stops_after_rate_limited_is_forgiven(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        for _ in range(250):
            await client.send("heartbeat")
        await client.wait_for(lambda frame: frame["type"] == "error")

        async def passes() -> bool:
            return (await client.ask("heartbeat"))["type"] == "ack"

        # One frame a fifth of a second is well below the rate, so the bucket fills.
        await eventually(passes, within=20, every=0.2)


async def test_ten_thousand_frames_close_4429(site: Site, server: Server) -> None:
    mine, other = site.account(), site.account()
    async with dial(server.url, mine.bearer) as client, dial(server.url, other.bearer) as neighbour:

        async def flood() -> None:
            for _ in range(10_000):
                await client.connection.send('{"type": "heartbeat"}')

        flooding = asyncio.create_task(flood())
        assert await client.close_code() == 4429
        await asyncio.gather(flooding, return_exceptions=True)
        assert await neighbour.is_alive()


async def test_a_flood_before_sign_in_is_closed_too(server: Server) -> None:
    async with dial(server.url) as client:
        for _ in range(1000):
            await client.connection.send("}{")
        assert await client.close_code() == 4429


async def test_slow_actions_do_not_let_a_flood_pile_up(site: Site, server: Server) -> None:
    """Frames that ask Redis are counted like all others."""
    mine, other = site.account(), site.account()
    frame = json.dumps({"type": "task:stop", "data": {"task_id": "a" * 32}, "x": "y" * 100_000})
    async with dial(server.url, mine.bearer) as client, dial(server.url, other.bearer) as neighbour:

        async def flood() -> None:
            for _ in range(1000):
                await client.connection.send(frame)

        flooding = asyncio.create_task(flood())
        assert await client.close_code(within=30) == 4429
        await asyncio.gather(flooding, return_exceptions=True)
        assert await neighbour.is_alive()
