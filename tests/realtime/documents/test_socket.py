"""The documents' socket, with real servers: what Yjs clients see of each other, and refusals."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from realtime.documents import protocol
from realtime.documents.protocol import Entry
from tests.realtime.documents.conftest import Shared, request, socket_url
from tests.realtime.documents.editor import Editor
from tests.realtime.site import Server, Site
from tests.support.eventually import eventually


async def test_two_editors_on_two_servers_see_the_same(
    servers: dict[str, Server], shared: Shared
) -> None:
    one, other = Editor(), Editor()
    async with (
        one.online(
            socket_url(servers["daphne"], shared.id), additional_headers=shared.owner.bearer
        ),
        other.online(
            socket_url(servers["uvicorn"], shared.id), additional_headers=shared.writer.bearer
        ),
    ):
        one.type("Hello ")
        await other.has("Hello ")
        other.type("wörld 😀")
        await one.has("Hello wörld 😀")


async def test_what_was_written_offline_is_merged(server: Server, shared: Shared) -> None:
    one, other = Editor(), Editor()
    url = socket_url(server, shared.id) + "/"
    async with other.online(url, additional_headers=shared.writer.bearer):
        async with one.online(url, additional_headers=shared.owner.bearer):
            one.type("shared ")
            await other.has("shared ")
        one.type("offline ")
        other.type("online ")
        async with one.online(url, additional_headers=shared.owner.bearer):
            await other.has(str(one.text))
            assert sorted(str(other.text).split()) == ["offline", "online", "shared"]


async def test_a_late_joiner_gets_everything_and_the_presences(
    servers: dict[str, Server], shared: Shared
) -> None:
    one, late, elsewhere = Editor(), Editor(), Editor()
    urls = {kind: socket_url(server, shared.id) for kind, server in servers.items()}
    async with one.online(urls["daphne"], additional_headers=shared.owner.bearer):
        one.type("before you came")
        await one.appear({"user": {"name": "The boss", "color": "#123456"}, "cursor": None})
        await present(one, one.client)  # echoed to its sender
        async with (
            late.online(urls["daphne"], additional_headers=shared.writer.bearer),
            elsewhere.online(urls["uvicorn"], additional_headers=shared.reader.bearer),
        ):
            await late.has("before you came")
            await elsewhere.has("before you came")
            for editor in (late, elsewhere):
                await present(editor, one.client)
                # Under the name of who is signed in, whatever the client called itself.
                user = {"name": shared.owner.name, "color": "#123456"}
                assert editor.others[one.client] == {"user": user, "cursor": None}
            await late.send(bytes([protocol.QUERY_AWARENESS]))
            await present(late, one.client)


async def present(editor: Editor, client: int) -> None:
    async def is_there() -> bool:
        return editor.presences.get(client, (0, None))[1] is not None

    await eventually(is_there, within=10)


async def absent(editor: Editor, client: int) -> None:
    async def is_gone() -> bool:
        return client in editor.presences and editor.presences[client][1] is None

    await eventually(is_gone, within=10)


@pytest.mark.parametrize("ending", ["closed", "cut"])
async def test_a_presence_ends_with_its_connection(
    servers: dict[str, Server], shared: Shared, ending: str
) -> None:
    stays, elsewhere, goes = Editor(), Editor(), Editor()
    urls = {kind: socket_url(server, shared.id) for kind, server in servers.items()}
    async with (
        stays.online(urls["daphne"], additional_headers=shared.owner.bearer),
        elsewhere.online(urls["uvicorn"], additional_headers=shared.owner.bearer),
    ):
        await goes.connect(urls["daphne"], additional_headers=shared.writer.bearer)
        await goes.appear({"name": "Goes"})
        await present(stays, goes.client)
        await present(elsewhere, goes.client)
        await (goes.disconnect() if ending == "closed" else goes.cut())
        await absent(stays, goes.client)
        await absent(elsewhere, goes.client)


async def test_who_comes_back_with_an_old_clock_is_told_and_seen_again(
    server: Server, shared: Shared
) -> None:
    stays, comes = Editor(), Editor()
    url = socket_url(server, shared.id)
    async with stays.online(url, additional_headers=shared.owner.bearer):
        await comes.connect(url, additional_headers=shared.writer.bearer)
        await comes.appear({"n": 1}, clock=7)
        await present(stays, comes.client)
        await comes.cut()
        await absent(stays, comes.client)
        await comes.connect(url, additional_headers=shared.writer.bearer)
        comes.presences.clear()
        await comes.appear({"n": 2}, clock=7)
        await absent(comes, comes.client)  # told, so that it says so again with a later clock
        await comes.appear({"n": 2}, clock=8)
        await present(stays, comes.client)
        await comes.disconnect()


async def test_nobody_speaks_for_another(server: Server, shared: Shared) -> None:
    one, other = Editor(), Editor()
    url = socket_url(server, shared.id)
    async with (
        one.online(url, additional_headers=shared.owner.bearer),
        other.online(url, additional_headers=shared.writer.bearer),
    ):
        await one.appear({"name": "One"})
        await present(other, one.client)
        forged = [Entry(one.client, 99, '{"name": "Forged"}'), Entry(one.client, 1, "null")]
        for entry in forged:
            await other.send(protocol.presence([entry]))
        await other.appear({"name": "Other"})
        await present(one, other.client)
        assert other.others[one.client] == {"name": "One"}
        assert one.presences[one.client][0] == 1


async def test_a_flood_of_presences_holds_up_nobody_else(server: Server, shared: Shared) -> None:
    one, other, flood = Editor(), Editor(), Editor()
    url = socket_url(server, shared.id)

    async def send() -> None:
        for clock in itertools.count():
            clients = range(clock * 1000, clock * 1000 + 1000)
            await flood.send(protocol.presence([Entry(client, 1, "{}") for client in clients]))
            await asyncio.sleep(0)  # sending alone does not let our own editors read

    async with (
        one.online(url, additional_headers=shared.owner.bearer),
        other.online(url, additional_headers=shared.writer.bearer),
    ):
        await flood.connect(url, additional_headers=shared.reader.bearer)
        flooding = asyncio.create_task(send())
        try:
            for number in range(10):
                one.type(f"{number} ")
                await other.has("".join(f"{n} " for n in range(number + 1)))
            assert not flooding.done()
        finally:
            flooding.cancel()
            await asyncio.wait([flooding])
            await flood.cut()


async def test_a_readers_update_is_refused_and_the_connection_stays(
    server: Server, shared: Shared
) -> None:
    writer, reader = Editor(), Editor()
    url = socket_url(server, shared.id)
    async with (
        writer.online(url, additional_headers=shared.writer.bearer),
        reader.online(url, additional_headers=shared.reader.bearer),
    ):
        assert not reader.steps_1
        reader.type("not mine")
        await eventually(lambda: said(reader), within=10)
        writer.type("mine")
        await eventually(lambda: holds(reader, "mine"), within=10)
        assert str(writer.text) == "mine"


async def said(editor: Editor) -> list[str]:
    return editor.denied


async def holds(editor: Editor, text: str) -> bool:
    return text in str(editor.text)


async def test_rights_change_on_open_sockets(server: Server, shared: Shared) -> None:
    owner, other = Editor(), Editor()
    url = socket_url(server, shared.id)
    path = f"/documents/{shared.id}/access/{shared.reader.name}"
    async with (
        owner.online(url, additional_headers=shared.owner.bearer),
        other.online(url, additional_headers=shared.reader.bearer),
    ):
        other.type("too early, ")
        await eventually(lambda: said(other), within=10)
        request(server, shared.owner, "PUT", path, json={"permission": "write"})
        # The server asks for what it refused before: nothing that builds on it is lost.
        await eventually(lambda: asked(other), within=10)
        await owner.has("too early, ")
        other.type("now.")
        await owner.has("too early, now.")
        request(server, shared.owner, "DELETE", path)
        assert await other.closed() == 4403


async def asked(editor: Editor) -> int:
    return editor.steps_1


async def test_a_right_taken_without_a_signal_ends_within_a_second_of_the_next_update(
    site: Site, server: Server, shared: Shared
) -> None:
    editor = Editor()
    async with editor.online(
        socket_url(server, shared.id), additional_headers=shared.writer.bearer
    ):
        site.sql("UPDATE realtime_documentaccess SET permission = 'read'")

        async def refused() -> list[str]:
            editor.type("x")
            return editor.denied

        await eventually(refused, within=10, every=0.1)


async def test_a_deleted_document_closes_its_sockets(server: Server, shared: Shared) -> None:
    editor = Editor()
    await editor.connect(socket_url(server, shared.id), additional_headers=shared.reader.bearer)
    await editor.synced()
    answer = request(server, shared.owner, "DELETE", f"/documents/{shared.id}")
    assert answer.status_code == 204
    assert await editor.closed() == 4404
    await editor.connect(socket_url(server, shared.id), additional_headers=shared.owner.bearer)
    assert await editor.closed() == 4404


@pytest.mark.parametrize(
    ("who", "where", "code"),
    [
        ("nobody", "", 4401),
        ("wrong", "", 4401),
        ("stranger", "", 4404),
        ("owner", "-nothing", 4404),
        ("owner", ".txt", 4404),
        ("owner", "%2F..%2F..%2Fetc", 4404),
        ("owner", "%00", 4404),
    ],
)
async def test_who_is_refused(
    server: Server, shared: Shared, who: str, where: str, code: int
) -> None:
    headers = {
        "nobody": {},
        "wrong": {"Authorization": "Bearer nonsense"},
        "stranger": shared.stranger.bearer,
        "owner": shared.owner.bearer,
    }[who]
    editor = Editor()
    await editor.connect(socket_url(server, shared.id + where), additional_headers=headers)
    assert await editor.closed() == code


async def test_the_ways_to_sign_in(server: Server, shared: Shared) -> None:
    token = shared.owner.token
    url = socket_url(server, shared.id)
    async with Editor().online(f"{url}?token={token}"):
        pass
    async with Editor().online(url, subprotocols=["signalbox", f"bearer.{token}"]):
        pass
    async with Editor().online(url, additional_headers=shared.owner.cookie):
        pass
    assert token not in server.log.read_text()


async def test_a_foreign_page_gets_403(server: Server, shared: Shared) -> None:
    with pytest.raises(Exception, match="403"):
        await Editor().connect(
            socket_url(server, shared.id),
            additional_headers={**shared.owner.cookie, "Origin": "https://evil.example"},
        )


BAD_FRAMES: dict[str, bytes | str] = {
    "empty": b"",
    "text": "hello",
    "truncated": protocol.update(b"\1\1")[:-1],
    "a length beyond the end": bytes([0, 2, 200, 1]),
    "an endless number": b"\xff" * 40,
    "an update that asks for gigabytes": protocol.update(b"\xff\xff\xff\xff\x0f\0"),
    "an update of another root": protocol.update(b"\x01\x01\x05\x00\x04\x01\x04evil\x05hello\x00"),
    "an update that takes the text for a map": protocol.update(
        b"\x01\x01\x05\x00\x28\x01\x07content\x01k\x01\x77\x01v\x00"
    ),
    "a state vector that is none": protocol.step_1(b"\x05"),
    "a presence that is not JSON": bytes([1, 5, 1, 9, 1, 1]) + b"{",
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_a_malformed_frame_closes_its_own_socket_only(
    server: Server, shared: Shared, name: str
) -> None:
    bad, good = Editor(), Editor()
    url = socket_url(server, shared.id)
    async with good.online(url, additional_headers=shared.owner.bearer):
        good.type("unharmed")
        await bad.connect(url, additional_headers=shared.writer.bearer)
        await bad.has("unharmed")
        await bad.send(BAD_FRAMES[name])
        assert await bad.closed() == 1003
        good.type("!")
        late = Editor()
        async with late.online(url, additional_headers=shared.reader.bearer):
            await late.has("unharmed!")


async def test_unknown_messages_are_ignored(server: Server, shared: Shared) -> None:
    editor = Editor()
    async with editor.online(socket_url(server, shared.id), additional_headers=shared.owner.bearer):
        for frame in (bytes([77, 1, 2]), bytes([0, 9, 0]), bytes([2, 0, 0])):
            await editor.send(frame)
        editor.type("still here")
        other = Editor()
        async with other.online(
            socket_url(server, shared.id), additional_headers=shared.reader.bearer
        ):
            await other.has("still here")


async def test_a_paste_of_a_megabyte(servers: dict[str, Server], shared: Shared) -> None:
    one, other = Editor(), Editor()
    text = "A line of a long text, ünd more.\n" * 34_000
    async with (
        one.online(
            socket_url(servers["daphne"], shared.id), additional_headers=shared.owner.bearer
        ),
        other.online(
            socket_url(servers["uvicorn"], shared.id), additional_headers=shared.writer.bearer
        ),
    ):
        one.type(text)
        await other.has(text)


async def test_an_update_whose_predecessor_is_missing_is_not_lost(
    server: Server, shared: Shared
) -> None:
    source, late = Editor(), Editor()
    updates: list[bytes] = []
    source._subscription = source.doc.observe(lambda event: updates.append(event.update))
    source.type("first ")
    source.type("second")
    sender = Editor()
    url = socket_url(server, shared.id)
    async with sender.online(url, additional_headers=shared.owner.bearer):
        before = sender.steps_1
        await sender.send(protocol.update(updates[1]))

        async def asked_again() -> bool:
            return sender.steps_1 > before

        await eventually(asked_again, within=10)
        async with late.online(url, additional_headers=shared.writer.bearer):
            assert not str(late.text)
            await sender.send(protocol.update(updates[0]))
            await late.has("first second")
