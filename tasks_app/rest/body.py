"""Reads a request's body: JSON and nothing else, within the limit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja.parser import Parser

from tasks_app.rest.errors import TOO_LARGE, ApiError

# Whoever writes the body again later, here or in a worker, has less stack than the parser had.
MAX_DEPTH = 100
TOO_DEEP = f"The body is not JSON that is accepted: it is nested deeper than {MAX_DEPTH} levels."


class JSONParser(Parser):
    """Parses strictly: what JSON does not know (NaN, half a text, wrong bytes) is refused."""

    def parse_body(self, request: HttpRequest) -> Any:
        # Django compares the announced length only; a chunked body announces none.
        if len(request.body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise ApiError(413, TOO_LARGE)
        try:
            parsed = json.loads(request.body, parse_constant=_refuse)
        except RecursionError as error:
            raise ApiError(400, TOO_DEEP) from error
        except ValueError as error:
            raise ApiError(400, f"The body is not JSON: {error}.") from error
        if is_deeper(parsed, MAX_DEPTH):
            raise ApiError(400, TOO_DEEP)
        return parsed


def is_deeper(value: Any, limit: int) -> bool:
    """Tell whether lists and objects are nested deeper than the limit."""
    level = list(_containers([value]))
    for _ in range(limit):
        level = [inner for outer in level for inner in _containers(_inside(outer))]
        if not level:
            return False
    return bool(level)


def _inside(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _containers(values: Iterable[Any]) -> Iterator[Any]:
    return (value for value in values if isinstance(value, dict | list))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")
