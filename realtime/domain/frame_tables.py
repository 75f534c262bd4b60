"""The tables of frames in docs/websocket.md, made from the schemas that the frames are read by."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from realtime.domain import messages, server_frames

Schema = dict[str, Any]

BEGIN = "<!-- {name}: made by `manage.py framedocs`, from the schemas; edit those -->"
END = "<!-- end -->"
TYPES = {"string": "text", "integer": "a whole number", "number": "a number", "array": "a list"}


def fill(page: str) -> str:
    """Return the page with its tables made anew; raises ValueError where one has no place."""
    for name, table in (("client frames", _client_table()), ("server frames", _server_table())):
        begin = BEGIN.format(name=name)
        before, found, rest = page.partition(begin)
        _, ends, after = rest.partition(END)
        if not (found and ends):
            raise ValueError(f"The page has no place for the table: {begin} … {END}")
        page = f"{before}{begin}\n\n{table}\n{END}{after}"
    return page


def _client_table() -> str:
    rows = [
        (f"`{kind}`", _fields(model), _says(model), model.answer)
        for kind, model in messages.FRAMES.items()
    ]
    return _table(("type", "data", "what it does", "acknowledged with"), rows)


def _server_table() -> str:
    rows = [
        (f"`{kind}`", _fields(model), _says(model)) for kind, model in server_frames.FRAMES.items()
    ]
    return _table(("type", "data", "what it says"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _says(model: type[BaseModel]) -> str:
    return " ".join(inspect.cleandoc(model.__doc__ or "").split())


def _fields(model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    if "summary" in schema:
        return str(schema["summary"])
    needed = schema.get("required", [])
    return "<br>".join(
        f"`{name}`{'' if name in needed else ' (may be left out)'}: {_kind(field)}"
        for name, field in schema.get("properties", {}).items()
    )


def _kind(field: Schema) -> str:
    choices = [choice for choice in field.get("anyOf", []) if choice.get("type") != "null"]
    field = field | (choices[0] if choices else {})
    if "enum" in field:
        return "one of the codes below"
    if "pattern" in field:
        return f"`{field['pattern'].removeprefix(chr(92) + 'A').removesuffix(chr(92) + 'z')}`"
    parts = [field["description"] if "description" in field else TYPES[field["type"]]]
    if "maxLength" in field:
        least = field.get("minLength", 0)
        parts.append(f"{least} to {field['maxLength']} characters")
    return ", ".join(parts)
