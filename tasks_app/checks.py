"""System checks of the engine's settings: each names the variable, what is wrong and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 Django's name for it
from django.utils.module_loading import import_string

from tasks_app import compat, conf
from tasks_app.definition import LONGEST_NAME
from tasks_app.generation import filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A numeric setting: below `least` it cannot work, outside `wise` it is probably a mistake."""

    id: str
    name: str
    least: float
    wise: tuple[float, float] = (-math.inf, math.inf)
    whole: bool = False
    why: str
    hint: str


LIMITS = (
    Limit(
        id="001", name="TASK_LEASE_SECONDS", least=2 * conf.HEARTBEAT_SECONDS, wise=(5, 120),
        why="workers renew their leases every second; a dead worker's tasks wait for a whole lease",
        hint="Leave it at 15 unless Redis or the machines pause for longer.",
    ),
    Limit(
        id="002", name="TASK_RETENTION_SECONDS", least=1, wise=(60, 90 * 86400),
        why="finished tasks and their results are kept so long, in Redis' memory",
        hint="A day (86400) is the default.",
    ),
    Limit(
        id="003", name="TASK_MAX_PAYLOAD_BYTES", least=1024, wise=(0, 16 * 1024 * 1024), whole=True,
        why="arguments travel through Redis and are kept with each task",
        hint="Keep large things in the database and pass their ids.",
    ),
    Limit(
        id="004", name="TASK_MAX_DELIVERIES", least=1, wise=(0, 100), whole=True,
        why="a task that kills its workers is given to so many of them",
        hint="The default is 3.",
    ),
    Limit(
        id="005", name="THREAD_POOL_SIZE", least=1, wise=(0, 500), whole=True,
        why="each synchronous task of a worker runs in one of so many threads",
        hint="The default is 8.",
    ),
)  # fmt: skip


def check_settings() -> Iterator[CheckMessage]:
    """Check what concerns the whole engine."""
    for limit in LIMITS:
        if hasattr(settings, limit.name):
            yield from _check_limit(limit, getattr(settings, limit.name))
    yield from _check_redis(settings.CACHES.get("default", {}))
    yield from _check_filters()
    if compat.APP is not None and compat.APP not in settings.INSTALLED_APPS:
        yield Error(
            f"INSTALLED_APPS does not have {compat.APP!r}.",
            hint="Without it TASKS is neither checked nor reloaded, and its log is silent.",
            id="tasks_app.E007",
        )


def _check_limit(limit: Limit, value: Any) -> Iterator[CheckMessage]:
    kinds = int if limit.whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not value >= limit.least:
        what = "a whole number" if limit.whole else "a number"
        yield Error(
            f"{limit.name} is {value!r}; it must be {what}, at least {limit.least:g}: {limit.why}.",
            hint=limit.hint,
            id=f"tasks_app.E{limit.id}",
        )
    elif not limit.wise[0] <= value <= limit.wise[1]:
        yield Warning(
            f"{limit.name} is {value!r}, which is unusual: {limit.why}.",
            hint=limit.hint,
            id=f"tasks_app.W{limit.id}",
        )


def _check_redis(cache: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if "django_redis" not in str(cache.get("BACKEND")) or not cache.get("LOCATION"):
        yield Error(
            'CACHES["default"] is not a django-redis cache with a LOCATION.',
            hint="The engine takes its Redis from there: set REDIS_URL, or BACKEND to "
            '"django_redis.cache.RedisCache" and LOCATION to a redis:// address.',
            id="tasks_app.E006",
        )


def _check_filters() -> Iterator[CheckMessage]:
    try:
        named = filters.paths()
    except ValueError as error:
        yield Error(
            str(error), hint='For example ["my_app.filters.no_secrets"].', id="tasks_app.E010"
        )
        return
    for path in named:
        try:
            filters.load(path)
        except ValueError as error:
            yield Error(
                f"SIGNALBOX_FILTERS: {error}",
                hint="Until it is mended every generation fails: filters are never skipped.",
                id="tasks_app.E011",
            )


def first_alias(kind: type) -> str | None:
    """Return the first alias in TASKS whose backend is of that class."""
    for alias, params in settings.TASKS.items():
        try:
            found = import_string(str(params["BACKEND"]))
        except (ImportError, KeyError):
            continue
        if isinstance(found, type) and issubclass(found, kind):
            return str(alias)
    return None


def check_alias(
    alias: str, params: Mapping[str, Any], known: Iterable[str] = ()
) -> Iterator[CheckMessage]:
    """Check one entry of TASKS; `known` are the OPTIONS that its backend takes."""
    name = f'TASKS["{alias}"]'
    queues = params.get("QUEUES", [])
    if not _are_queues(queues):
        yield Error(
            f'{name}["QUEUES"] is {queues!r}; it must be a list of names, each 1 to '
            f"{LONGEST_NAME} characters long.",
            hint="An empty list allows every queue.",
            id="tasks_app.E008",
        )
    options = params.get("OPTIONS", {})
    unknown = set(options) - set(known) if isinstance(options, Mapping) else {repr(options)}
    if unknown:
        yield Error(
            f'{name}["OPTIONS"] has what this backend does not know: {", ".join(sorted(unknown))}.',
            hint="A task's options go into @task(…) and .using(…), the engine's into settings.",
            id="tasks_app.E009",
        )


def _are_queues(queues: Any) -> bool:
    return isinstance(queues, list | tuple | set | frozenset) and all(
        isinstance(queue, str) and 0 < len(queue) <= LONGEST_NAME for queue in queues
    )
