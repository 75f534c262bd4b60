"""A dictionary in Redis that all processes share: JSON values, batched reads, atomic replace."""

from __future__ import annotations

import json
from collections.abc import ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from typing import Any

from tasks_app.domain.codec import dumps
from tasks_app.errors import InvalidName
from tasks_app.store import client, keys
from tasks_app.store.locks import VALID_NAME
from tasks_app.store.scripts import Call, script

BATCH = 500
TAKEN = frozenset(keys.NAMES.values())


class RedisDict(MutableMapping[str, Any]):
    """A `MutableMapping` of JSON values, kept in one Redis hash.

    The mapping itself is for synchronous code, the `a…` methods for asynchronous code. Reads of
    many entries come in batches of 500, so that a large one never holds Redis for long: what is
    changed meanwhile may be seen or not. `replace` and `areplace` are atomic. Every method raises
    StoreUnavailable when Redis does not answer; a value that JSON cannot hold raises TypeError or
    ValueError and changes nothing.
    """

    def __init__(self, name: str) -> None:
        if not VALID_NAME.match(name):
            raise InvalidName(
                f"A dictionary's name is 1 to 100 of A-Z a-z 0-9 _ . : -, not {name!r}."
            )
        if any(name == taken or name.startswith(f"{taken.rstrip(':')}:") for taken in TAKEN):
            raise InvalidName(f"{name!r} is a key of the task engine: choose another name.")
        self.name = name

    # --- synchronous ----------------------------------------------------------------------------

    def __getitem__(self, field: str) -> Any:
        return _found(field, client.run(self._get(field)))

    def __setitem__(self, field: str, value: Any) -> None:
        client.run(self._set(field, value))

    def __delitem__(self, field: str) -> None:
        if not client.run(self._delete(field)):
            raise KeyError(field)

    def __contains__(self, field: object) -> bool:
        return isinstance(field, str) and bool(client.run(self._command(int, "HEXISTS", field)))

    def __len__(self) -> int:
        length: int = client.run(self._command(int, "HLEN"))
        return length

    def __iter__(self) -> Iterator[str]:
        return (field for field, _ in self._pairs())

    def items(self) -> ItemsView[str, Any]:
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        return _Values(self)

    def clear(self) -> None:
        client.run(self._command(int, "DEL"))

    def replace(self, mapping: Mapping[str, Any]) -> None:
        """Put a whole new mapping in the place of the old one, in one step.

        Who reads one field, or at most a batch of entries, sees the old one or the new one.
        """
        client.run(self._replace(mapping))

    def _pairs(self) -> Iterator[tuple[str, Any]]:
        cursor, seen = 0, set[str]()
        while True:
            cursor, part = client.run(self._scan(cursor))
            yield from _fresh(part, seen)
            if cursor == 0:
                return

    # --- asynchronous ---------------------------------------------------------------------------

    async def aget(self, field: str, default: Any = None) -> Any:
        text = await client.arun(self._get(field))
        return default if text is None else json.loads(text)

    async def aset(self, field: str, value: Any) -> None:
        await client.arun(self._set(field, value))

    async def adelete(self, field: str) -> bool:
        """Remove a field; answer whether it was there."""
        deleted = await client.arun(self._delete(field))
        return deleted > 0

    async def aitems(self) -> dict[str, Any]:
        """Return all entries."""
        cursor, seen, found = 0, set[str](), dict[str, Any]()
        while True:
            cursor, part = await client.arun(self._scan(cursor))
            found.update(_fresh(part, seen))
            if cursor == 0:
                return found

    async def areplace(self, mapping: Mapping[str, Any]) -> None:
        """Do as `replace`, from asynchronous code."""
        await client.arun(self._replace(mapping))

    # --- calls ----------------------------------------------------------------------------------

    def _key(self) -> str:
        return keys.current().prefix + self.name

    def _command(self, parse: Any, command: str, *args: str) -> Call[Any]:
        return Call(parse, (command, self._key(), *args))

    def _get(self, field: str) -> Call[str | None]:
        return self._command(lambda text: text, "HGET", field)

    def _set(self, field: str, value: Any) -> Call[int]:
        return self._command(int, "HSET", _name(field), dumps(value))

    def _delete(self, field: str) -> Call[int]:
        return self._command(int, "HDEL", field)

    def _scan(self, cursor: int) -> Call[tuple[int, dict[str, str]]]:
        return Call(
            lambda reply: (int(reply[0]), dict(reply[1])),
            ("HSCAN", self._key(), cursor, "COUNT", BATCH),
        )

    def _replace(self, mapping: Mapping[str, Any]) -> Call[int]:
        pairs = [part for field, value in mapping.items() for part in (_name(field), dumps(value))]
        return Call(int, (keys.current().prefix, self.name, *pairs), script("mapping_replace"))


class _Items(ItemsView[str, Any]):
    """Reads fields and values together, instead of each value by itself."""

    _mapping: RedisDict

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return self._mapping._pairs()  # noqa: SLF001 its own view


class _Values(ValuesView[Any]):
    _mapping: RedisDict

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._mapping._pairs())  # noqa: SLF001 its own view


def _found(field: str, text: str | None) -> Any:
    if text is None:
        raise KeyError(field)
    return json.loads(text)


def _fresh(part: dict[str, str], seen: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield what a scan brought for the first time: Redis may bring an entry twice."""
    for field, text in part.items():
        if field not in seen:
            seen.add(field)
            yield field, json.loads(text)


def _name(field: str) -> str:
    if not isinstance(field, str):
        raise TypeError(f"a field is text, not {type(field).__name__}")
    return field
