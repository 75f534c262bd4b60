"""The frames, presences and differences by themselves, and whatever bytes somebody may send."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Map, Text, XmlFragment, merge_updates

from realtime.documents import inbox, protocol
from realtime.documents.differences import splices
from realtime.documents.live import ApplyFailed, LiveText, seed
from realtime.documents.presence import MAX_PER_OWNER, Owner, Presence
from realtime.documents.protocol import Entry, Kind, MalformedFrame
from realtime.documents.schema import InvalidUpdate, Reader, check_update
from realtime.documents.writing import Hand


def written(make: Any) -> bytes:
    """Return the state of a document that `make` wrote into."""
    doc: Doc[Any] = Doc()
    make(doc)
    return doc.get_update()


def corpus(*pieces: str) -> list[bytes]:
    """Return updates of three who write, delete, format and embed, merge and fall apart."""
    chance = random.Random(7)  # noqa: S311 no secret
    docs: list[Doc[Any]] = [Doc(client_id=number) for number in (11, 2**31 + 5, 2**53 - 2)]
    found: list[bytes] = []
    kept = [doc.observe(lambda event: found.append(event.update)) for doc in docs]
    for _ in range(80):
        doc = chance.choice(docs)
        text = doc.get("content", type=Text)
        old = str(text)
        if chance.random() < 0.7 or len(old) < 5:
            at = len(old[: chance.randrange(len(old) + 1)].encode())
            text.insert(at, chance.choice(pieces))
        else:
            at = chance.randrange(len(old) - 2)
            first = len(old[:at].encode())
            del text[first : first + len(old[at : at + 2].encode())]
        if chance.random() < 0.3:
            doc.apply_update(chance.choice(docs).get_update(doc.get_state()))
    text = docs[0].get("content", type=Text)
    text.format(0, 1, {"bold": True})
    text.insert_embed(0, {"image": "x"})
    assert kept
    return [*found, docs[0].get_update()]


CORPUS = corpus("x", "😀", "hello", "ü")
# pycrdt spoils a document in which somebody cuts one of JavaScript's surrogate pairs in two, as no
# editor does: what it gives back is then read differently. So without such characters here.
PLAIN = corpus("x", "hello", "ü")
BASE = merge_updates(*PLAIN[:50])


@pytest.mark.parametrize("update", CORPUS)
def test_what_yjs_clients_send_is_let_in(update: bytes) -> None:
    check_update(update)
    frame = protocol.parse(protocol.update(update), "ann")
    assert (frame.kind, frame.body) == (Kind.UPDATE, update)


@pytest.mark.parametrize(
    "make",
    [
        lambda doc: doc.get("evil", type=Text).insert(0, "x"),
        lambda doc: doc.get("content", type=Map).update({"k": "v"}),
        lambda doc: doc.get("content", type=XmlFragment).children.append("x"),
        lambda doc: doc.get("content", type=Text).insert_embed(0, Map({"a": 1})),
        lambda doc: doc.get("content", type=Map).update({"k": Doc()}),
    ],
)
def test_what_is_no_text_is_not_let_in(make: Any) -> None:
    with pytest.raises(InvalidUpdate):
        check_update(written(make))


@pytest.mark.parametrize(
    ("first", "changed"),
    [
        (b"\xff\xff\xff\xff\x0f", "clients"),
        (b"\x01\xff\xff\xff\xff\x0f\x01\x00", "blocks"),
        (b"\x00\xff\xff\xff\xff\x0f", "deletions"),
        (b"\x01\x01\x05\x00\x04\x01\x07content\xff\xff\xff\x7f", "characters"),
        (b"\x01\x01\x05\xff\xff\xff\xff\x07\x00\x7f\x00", "a clock"),
        (b"\x01\x01\x05\x00\x00\x00\x00", "an empty length"),
    ],
)
def test_a_count_that_is_not_there_is_refused(first: bytes, changed: str) -> None:
    with pytest.raises(InvalidUpdate):
        check_update(first)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedFrame):
        protocol.parse(data, "ann")


@st.composite
def mutants(draw: st.DrawFn, corpus: list[bytes]) -> bytes:
    """Return an update of the corpus with a few bytes changed, removed or put in."""
    update = bytearray(draw(st.sampled_from(corpus)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(update) - 1, 0)))
        byte = draw(st.sampled_from([0, 1, 2, 127, 128, 255]) | st.integers(0, 255))
        match draw(st.sampled_from(["change", "change", "remove", "insert", "cut"])):
            case "change" if update:
                update[at] = byte
            case "remove" if update:
                del update[at]
            case "insert":
                update.insert(at, byte)
            case "cut":
                del update[at:]
    return bytes(update)


@settings(max_examples=500)
@given(mutants(PLAIN))
def test_what_is_let_in_can_be_applied_or_is_refused_and_harms_nothing(update: bytes) -> None:
    try:
        check_update(update)
    except InvalidUpdate:
        return
    live = LiveText([BASE])
    text = live.text
    try:
        live.apply(update)
    except ApplyFailed:
        live = LiveText([BASE])  # as the room does
        assert live.text == text
        return
    again = LiveText([live.missing()])
    assert again.text == live.text
    assert not again.apply(BASE)
    again.replace(splices(again.text, "new"))
    assert again.text == "new"


@settings(max_examples=300)
@given(mutants(CORPUS))
def test_what_cuts_characters_in_two_ends_nothing(update: bytes) -> None:
    with contextlib.suppress(InvalidUpdate, ApplyFailed):
        check_update(update)
        live = LiveText(CORPUS[:50])
        live.apply(update)
        LiveText([live.missing()]).replace(splices(live.text, "new"))


@given(st.lists(st.sampled_from(CORPUS)))
def test_an_update_is_news_once_and_what_waits_is_in_the_state(updates: list[bytes]) -> None:
    live = LiveText()
    for update in updates:
        live.apply(update)
    if not live.is_waiting:
        assert not any(live.apply(update) for update in updates)
    other = LiveText([live.missing()])
    assert other.is_waiting == live.is_waiting
    # Whatever was missing comes at last.
    for update in CORPUS:
        live.apply(update)
    other.apply(merge_updates(*CORPUS))
    assert other.text == live.text == LiveText(CORPUS).text
    assert not live.is_waiting
    assert not other.is_waiting


@given(st.permutations(CORPUS[:20]))
def test_the_order_of_updates_does_not_matter(updates: list[bytes]) -> None:
    in_order, shuffled = LiveText(), LiveText()
    for update in CORPUS[:20]:
        in_order.apply(update)
    for update in updates:
        shuffled.apply(update)
    assert (shuffled.text, shuffled.is_waiting) == (in_order.text, in_order.is_waiting)


TEXTS = st.text(st.sampled_from("ab\nü😀\r"), max_size=40)


@given(TEXTS, TEXTS)
def test_a_difference_makes_the_new_text(old: str, new: str) -> None:
    live = LiveText([seed(old)])
    live.replace(splices(old, new))
    assert live.text == new


def test_a_difference_leaves_alone_what_both_have() -> None:
    old = "one\ntwo\nthree\nfour\n"
    new = "one\n2\nthree\nfour and five\n"
    changes = splices(old, new)
    assert [old[change.first : change.beyond] for change in changes] == ["four", "two\n"]
    assert [change.text for change in changes] == ["four and five", "2\n"]


def test_an_edit_finds_its_place_between_embedded_values() -> None:
    doc: Doc[Any] = Doc()
    text = doc.get("content", type=Text)
    text.insert(0, "äb")
    text.insert_embed(2, {"image": "x"})
    text.insert(4, "c")
    live = LiveText([doc.get_update()])
    live.replace(splices(live.text, live.text.replace("c", "dd")))
    assert live.text == str(text).replace("c", "dd")


@given(st.integers(0, 2**53 - 1))
def test_numbers_are_read_as_they_were_written(number: int) -> None:
    assert Reader(protocol.number(number)).number() == number


@pytest.mark.parametrize(
    "state", ['{"user":{"n":1e999}}', '{"user":' + "[" * 9000 + "]" * 9000 + "}"]
)
def test_a_presence_that_cannot_be_passed_on_is_malformed(state: str) -> None:
    with pytest.raises(MalformedFrame):
        protocol.parse(protocol.presence([Entry(1, 1, state)]), "ann")


def test_a_presence_has_the_name_of_its_user() -> None:
    states = ['{"user":{"name":"root","color":"red"},"at":"\\ud800"}', '{"name":"x"}', " null "]
    frame = protocol.parse(protocol.presence([Entry(1, 1, state) for state in states]), "ann")
    shown = [json.loads(entry.state) for entry in frame.entries]
    assert shown[0] == {"user": {"name": "ann", "color": "red"}, "at": "\ud800"}
    assert shown[1:] == [{"name": "x"}, None]
    assert frame.entries[2].is_gone


async def test_presences_fill_an_inbox_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_BYTES", 40_000)
    entries = [Entry(client, 1, json.dumps("x" * 15_000)) for client in range(3)]
    frame = protocol.parse(protocol.presence(entries), "ann")
    waiting = inbox.Inbox()
    await waiting.put(inbox.Received(Hand(), frame))
    assert waiting.is_full
    many = protocol.parse(protocol.presence([Entry(n, 1, "{}") for n in range(1000)]), "ann")
    waiting.put_now(inbox.Received(Hand(), many))
    monkeypatch.setattr(inbox, "MAX_ROUND_BYTES", 40_000)  # much work is not one round's
    assert len(waiting.take()) == 1
    assert not waiting.is_full


# --- presence ------------------------------------------------------------------------------------

ALICE, ALICE_AGAIN, BOB = Owner("1", "a"), Owner("1", "b"), Owner("2", "c")


def test_a_later_clock_wins_and_an_end_counts_at_the_same_clock() -> None:
    presence = Presence()
    assert presence.take(ALICE, [Entry(5, 1, "{}")], 0.0)[0]
    assert not presence.take(ALICE, [Entry(5, 1, '{"a":1}')], 0.0)[0]
    assert not presence.take(ALICE, [Entry(5, 0, '{"a":1}')], 0.0)[0]
    assert presence.take(ALICE, [Entry(5, 2, '{"a":2}')], 0.0)[0]
    assert presence.take(ALICE, [Entry(5, 2, "null")], 0.0)[0]
    assert presence.entries == []


def test_nobody_changes_or_ends_anothers_presence() -> None:
    presence = Presence()
    presence.take(ALICE, [Entry(5, 1, "{}")], 0.0)
    assert not presence.take(BOB, [Entry(5, 9, '{"me":1}')], 0.0)[0]
    assert not presence.take(BOB, [Entry(5, 1, "null")], 0.0)[0]
    assert not presence.take(ALICE_AGAIN, [Entry(5, 1, "null")], 0.0)[0]
    assert presence.take(ALICE_AGAIN, [Entry(5, 2, "{}")], 0.0)[0]
    assert presence.leave("a", 0.0) == []
    assert presence.leave("b", 0.0) == [Entry(5, 2, "null")]


def test_who_announces_an_ended_presence_with_its_old_clock_is_told() -> None:
    presence = Presence()
    presence.take(ALICE, [Entry(5, 3, "{}")], 0.0)
    presence.leave("a", 0.0)
    news, answers = presence.take(ALICE_AGAIN, [Entry(5, 3, "{}")], 1.0)
    assert (news, answers) == ([], [Entry(5, 3, "null")])
    assert presence.take(ALICE_AGAIN, [Entry(5, 4, "{}")], 1.0)[0]


def test_silence_ends_a_presence() -> None:
    presence = Presence()
    presence.take(ALICE, [Entry(5, 1, "{}")], 0.0)
    presence.take(BOB, [Entry(6, 1, "{}")], 20.0)
    assert presence.expire(31.0) == [Entry(5, 1, "null")]
    assert [entry.client for entry in presence.entries] == [6]


def test_one_connection_speaks_for_few_clients() -> None:
    presence = Presence()
    flood = [Entry(client, 1, "{}") for client in range(1000)]
    presence.take(ALICE, flood, 0.0)
    assert len(presence.entries) == MAX_PER_OWNER
