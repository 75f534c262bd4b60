"""Stock y-websocket clients in Node, from their npm packages, on two instances of the server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.realtime.site import Account, Server, Site
from tests.support.eventually import eventually_sync
from tests.support.node import STOCK_CLIENTS, Driven, packages_of

CONVERGE_SECONDS = 30.0
numbers = itertools.count(1)

pytestmark = pytest.mark.timeout(180)


class Clients:
    """Clients of one Node process, by name."""

    def __init__(self, driven: Driven) -> None:
        self.driven = driven

    def open(self, name: str, server: Server, document: str, account: Account) -> None:
        options = {"protocols": ["signalbox", f"bearer.{account.token}"]}
        self.call("open", name=name, server=address(server), room=document, **options)

    def call(self, command: str, **options: Any) -> Any:
        return self.driven.call(command, **options)

    def text(self, name: str) -> str:
        return str(self.call("text", name=name))

    def are_synced(self, *names: str) -> None:
        for name in names:
            eventually_sync(lambda name=name: self.call("synced", name=name), within=15.0)

    def come_to(self, wanted: str, *names: str) -> None:
        def all_same() -> bool:
            found = {name: self.text(name) for name in names}
            assert set(found.values()) == {wanted}, found
            return True

        eventually_sync(all_same, within=CONVERGE_SECONDS)

    def come_together(self) -> str:
        """Wait until all clients have everything, and the same of it; return it."""

        def all_same() -> list[str]:
            found: list[str] = self.call("allTexts")
            assert len(found) == 1
            return found

        # What is under way to a client is in the text of its writer already.
        [text] = eventually_sync(all_same, within=60.0, every=0.1)
        return str(text)


def address(server: Server) -> str:
    return f"ws://127.0.0.1:{server.port}/ws/documents"


@pytest.fixture(scope="module")
def node() -> str:
    return packages_of(STOCK_CLIENTS.parent)


@pytest.fixture
def clients(node: str) -> Iterator[Clients]:
    driven = Driven(node, STOCK_CLIENTS)
    yield Clients(driven)
    driven.close()


@pytest.fixture
def owner(whole_site: Site) -> Account:
    return whole_site.account()


@pytest.fixture
def document(whole_site: Site, owner: Account) -> str:
    return make(whole_site, owner)


@pytest.fixture
def one(servers: dict[str, Server]) -> Server:
    return servers["daphne"]


@pytest.fixture
def other(servers: dict[str, Server]) -> Server:
    return servers["uvicorn"]


def make(site: Site, owner: Account, content: str = "", **access: str) -> str:
    """Return the id of a new document, shared with the users of these names."""
    document = f"stock-{next(numbers)}"
    site.django(f"""
from realtime.models import Document, DocumentAccess
document = Document.objects.create(id={document!r}, owner_id={owner.id}, content={content!r})
for name, permission in {access!r}.items():
    user = User.objects.get(username=name)
    DocumentAccess.objects.create(document=document, user=user, permission=permission)
""")
    return document


def test_two_instances_converge(
    clients: Clients, document: str, owner: Account, one: Server, other: Server
) -> None:
    clients.open("a", one, document, owner)
    clients.open("b", other, document, owner)
    clients.are_synced("a", "b")

    for number in range(100):
        clients.call("insert", name="a", text=f"a{number} ", index=0)
        clients.call("append", name="b", text=f"b{number} ")
    text = clients.come_together()

    assert all(f"a{n} " in text and f"b{n} " in text for n in range(100))
    assert len(text) == sum(len(f"a{n} b{n} ") for n in range(100))
    clients.call("remove", name="b", index=0, length=len(text))
    clients.come_to("", "a", "b")


def test_a_late_joiner_gets_all_of_it_and_so_does_an_address_with_a_slash_and_a_token(
    clients: Clients, whole_site: Site, owner: Account, one: Server, other: Server
) -> None:
    document = make(whole_site, owner, "from the database: ")
    clients.open("early", one, document, owner)
    clients.are_synced("early")
    clients.call("append", name="early", text="ümläuts and 🚂")

    clients.call(
        "open", name="late", server=address(other), room=f"{document}/",
        params={"token": owner.token},
    )  # fmt: skip

    clients.come_to("from the database: ümläuts and 🚂", "early", "late")


def test_presence_is_seen_everywhere_and_ends_with_its_client(
    clients: Clients, node: str, document: str, owner: Account, one: Server, other: Server
) -> None:
    clients.open("here", one, document, owner)
    clients.call("present", name="here", state={"user": {"name": "Ada"}})
    clients.open("there", other, document, owner)
    clients.call("present", name="there", state={"user": {"name": "Grace"}})
    seen = [{"user": {"name": owner.name}}]  # whatever they call themselves
    eventually_sync(lambda: clients.call("others", name="there") == seen, within=15.0)
    seen_here = [{"user": {"name": owner.name}}]
    eventually_sync(lambda: clients.call("others", name="here") == seen_here, within=15.0)

    clients.call("present", name="here", state={"user": {"name": "Ada"}, "cursor": 3})
    seen[0]["cursor"] = 3  # type: ignore[assignment]
    eventually_sync(lambda: clients.call("others", name="there") == seen, within=15.0)

    clients.call("close", name="here")
    eventually_sync(lambda: clients.call("others", name="there") == [], within=15.0)

    killed = Clients(Driven(node, STOCK_CLIENTS))
    killed.open("gone", one, document, owner)
    killed.call("present", name="gone", state={"user": {"name": "Rose"}})
    rose = [{"user": {"name": owner.name}}]
    eventually_sync(lambda: clients.call("others", name="there") == rose, within=15.0)
    killed.driven.kill()
    killed.driven.close()
    eventually_sync(lambda: clients.call("others", name="there") == [], within=15.0)


@pytest.mark.parametrize("how", ["disconnect", "cut"])
def test_what_was_written_offline_is_merged(
    clients: Clients, document: str, owner: Account, one: Server, other: Server, how: str
) -> None:
    clients.open("a", one, document, owner)
    clients.open("b", other, document, owner)
    clients.call("append", name="a", text="middle")
    clients.come_to("middle", "a", "b")

    clients.call(how, name="a")
    eventually_sync(lambda: not clients.call("synced", name="a"))
    clients.call("insert", name="a", text="before ", index=0)
    clients.call("append", name="b", text=" after")
    clients.call("connect", name="a")

    clients.come_to("before middle after", "a", "b")


def test_fifty_clients_on_two_instances_end_with_the_same(
    clients: Clients, document: str, owner: Account, one: Server, other: Server
) -> None:
    protocols = ["signalbox", f"bearer.{owner.token}"]
    for prefix, server in (("d", one), ("u", other)):
        clients.call(
            "openMany", prefix=prefix, count=25,
            server=address(server), room=document, protocols=protocols,
        )  # fmt: skip
    eventually_sync(lambda: clients.call("allSynced"), within=60.0)
    names = [f"{prefix}{number}" for prefix in "du" for number in range(25)]

    for turn in range(10):
        for name in names:
            clients.call("append", name=name, text=f"[{name}.{turn}]")

    text = clients.come_together()
    assert all(f"[{name}.{turn}]" in text for name in names for turn in range(10))
    assert len(text) == sum(len(f"[{name}.0]") * 10 for name in names)


def test_a_megabyte_in_one_update_passes(
    clients: Clients, document: str, owner: Account, one: Server, other: Server
) -> None:
    clients.open("a", one, document, owner)
    clients.open("b", other, document, owner)
    clients.are_synced("a", "b")
    large = "signal " * 150_000

    clients.call("append", name="a", text=large)

    eventually_sync(lambda: clients.call("size", name="b") == len(large), within=CONVERGE_SECONDS)
    clients.come_to(large, "a", "b")
    assert clients.call("closes", name="a") == []


def test_a_readers_update_is_refused_and_the_reader_stays_connected(
    clients: Clients, whole_site: Site, owner: Account, one: Server, other: Server
) -> None:
    reader = whole_site.account()
    document = make(whole_site, owner, "as it is", **{reader.name: "read"})
    clients.open("owner", one, document, owner)
    clients.open("reader", other, document, reader)
    clients.are_synced("owner", "reader")

    clients.call("append", name="reader", text=" graffiti")
    eventually_sync(lambda: clients.call("refusals", name="reader"), within=15.0)
    clients.call("append", name="owner", text=" and more")

    clients.come_to("as it is and more", "owner")
    eventually_sync(lambda: " and more" in clients.text("reader"), within=15.0)
    assert clients.call("closes", name="reader") == []
    assert clients.text("owner") == "as it is and more"


def test_whoever_may_not_open_it_is_told_once_for_all(
    clients: Clients, whole_site: Site, document: str, owner: Account, one: Server, other: Server
) -> None:
    stranger = whole_site.account()
    for name, server, room, account in (
        ("foreign", one, document, stranger),
        ("missing", other, "no-such-document", owner),
    ):
        clients.open(name, server, room, account)

        def given_up(name: str = name) -> bool:
            return not clients.call("wants", name=name)

        eventually_sync(given_up, within=15.0)
        [code] = clients.call("closes", name=name)
        assert code in {4403, 4404}
    clients.call("open", name="nobody", server=address(one), room=document)
    eventually_sync(lambda: not clients.call("wants", name="nobody"), within=30.0)
    assert clients.call("closes", name="nobody") == [4401]
