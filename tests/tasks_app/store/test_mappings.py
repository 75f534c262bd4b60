"""The shared dictionary behaves as a dictionary, in batches, and is replaced in one step."""

from __future__ import annotations

import asyncio

import pytest

from tasks_app import RedisDict
from tasks_app.errors import InvalidName
from tests.support.eventually import eventually

BIG = {f"field-{number}": {"number": number} for number in range(5000)}


def test_it_is_a_mutable_mapping() -> None:
    shared = RedisDict("models")
    assert len(shared) == 0
    assert dict(shared) == {}
    shared["a"] = {"id": "ü", "n": [1, 2.5, None, True]}
    shared.update({"b": 2, "c": ""})
    assert shared["a"] == {"id": "ü", "n": [1, 2.5, None, True]}
    assert shared == {"a": {"id": "ü", "n": [1, 2.5, None, True]}, "b": 2, "c": ""}
    assert "b" in shared
    assert 7 not in shared
    assert shared.get("none", "default") == "default"
    assert shared.setdefault("b", 9) == 2
    assert shared.pop("b") == 2
    assert sorted(shared) == ["a", "c"]
    assert sorted(shared.keys()) == ["a", "c"]
    del shared["c"]
    with pytest.raises(KeyError):
        del shared["c"]
    with pytest.raises(KeyError):
        shared["c"]
    shared.clear()
    assert not shared


def test_what_json_cannot_hold_changes_nothing() -> None:
    shared = RedisDict("models")
    shared.replace({"a": 1})
    for bad in (object(), float("nan"), {1, 2}, b"x"):
        with pytest.raises((TypeError, ValueError)):
            shared["a"] = bad
        with pytest.raises((TypeError, ValueError)):
            shared.replace({"b": 1, "a": bad})
    assert dict(shared) == {"a": 1}


def test_replacing_drops_what_is_not_in_the_new_one() -> None:
    shared = RedisDict("models")
    shared.replace(BIG)
    assert len(shared) == len(BIG)
    assert dict(shared.items()) == BIG
    assert sorted(value["number"] for value in shared.values()) == list(range(5000))
    shared.replace({"only": 1})
    assert dict(shared) == {"only": 1}
    shared.replace({})
    assert dict(shared) == {}


async def test_the_asynchronous_side(engine: None) -> None:
    shared = RedisDict("models")
    await shared.areplace({"a": 1, "b": [2]})
    assert await shared.aget("b") == [2]
    assert await shared.aget("none") is None
    assert await shared.aget("none", 0) == 0
    await shared.aset("c", {"x": "y"})
    assert await shared.adelete("a")
    assert not await shared.adelete("a")
    assert await shared.aitems() == {"b": [2], "c": {"x": "y"}}


async def test_no_reader_sees_an_empty_or_mixed_mapping(engine: None) -> None:
    """The reference system's readers saw "model not found" between two commands."""
    shared = RedisDict("models")
    await shared.areplace({"version": 0, "twin": 0})
    done = asyncio.Event()

    async def write() -> None:
        for version in range(1, 200):
            await shared.areplace({"version": version, "twin": version})
        done.set()

    writing = asyncio.create_task(write())
    seen = 0
    while not done.is_set():
        both = await shared.aitems()
        assert both["version"] == both["twin"]
        seen += 1
    await writing
    assert seen > 0


async def test_two_names_do_not_meet(engine: None) -> None:
    await RedisDict("one").aset("a", 1)
    assert await RedisDict("two").aitems() == {}
    await eventually(lambda: RedisDict("one").aget("a"))


@pytest.mark.parametrize("name", ["", "a b", "tasks", "task:1", "running", "lock:x", "ü"])
def test_a_bad_name_or_a_key_of_the_engine_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        RedisDict(name)
