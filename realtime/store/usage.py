"""The usage pool's calls: models by their last ping, and for each the sessions by theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import chain

from realtime.store import keys
from realtime.store.scripts import Call, script
from tasks_app.store.subscriptions import subscriptions

BATCH = 1000  # of one call, so that none holds Redis for long; Lua's unpack takes some 8,000
MODELS_PER_STEP = 100
MAX_MODELS = 1000  # that are read at once; the ones pinged last


def ping(sessions_of: Mapping[str, Sequence[str]], *, timeout: float) -> Iterator[Call[int]]:
    """Build the calls that note who uses which model; `sessions_of` maps model to session ids."""
    args: list[str | int] = []
    for model, sessions in sessions_of.items():
        for at in range(0, len(sessions), BATCH):
            some = sessions[at : at + BATCH]
            if len(args) + len(some) > BATCH:
                yield _ping(args, timeout)
                args = []
            args += [model, len(some), *some]
    if args:
        yield _ping(args, timeout)


def _ping(args: Sequence[str | int], timeout: float) -> Call[int]:
    return Call(int, (keys.usage_pool(), _ms(timeout), *args), script("usage_ping"))


def leave(pairs: Sequence[tuple[str, str]]) -> Iterator[Call[int]]:
    """Build the calls that end uses, each a model and a session."""
    for at in range(0, len(pairs), BATCH):
        args = chain.from_iterable(pairs[at : at + BATCH])
        yield Call(int, (keys.usage_pool(), *args), script("usage_leave"))


def expire(*, timeout: float, offset: int, limit: int = BATCH) -> Call[tuple[int, int | None]]:
    """Build the call that removes what was not pinged for `timeout` seconds.

    Answers how many were removed and the offset to go on from; None when all models were seen.
    """
    return Call(
        lambda r: (int(r[0]), None if r[1] == "" else int(r[1])),
        (keys.usage_pool(), _ms(timeout), limit, offset, MODELS_PER_STEP),
        script("usage_expire"),
    )


def models(*, timeout: float) -> Call[tuple[float | None, list[str]]]:
    """Build the call that reads the models in use.

    Answers after how many seconds the first may go out of use (None: there is none), and the ids.
    """
    return Call(
        lambda r: (None if r[0] == "" else int(r[0]) / 1000, list(r[1:])),
        (keys.usage_pool(), _ms(timeout), MAX_MODELS),
        script("usage_models"),
    )


def page(*, timeout: float, limit: int) -> Call[tuple[int, list[tuple[str, int, int]]]]:
    """Build the call that reads how many models are in use, and (model, sessions, last ping in ms).

    The ones pinged last come first.
    """
    return Call(
        lambda r: (
            int(r[0]),
            [(r[i], int(r[i + 1]), int(float(r[i + 2]))) for i in range(1, len(r), 3)],
        ),
        (keys.usage_pool(), _ms(timeout), limit),
        script("usage_page"),
    )


def listening(listener: Callable[[str | None], None]) -> AbstractAsyncContextManager[None]:
    """Call `listener` when the models in use may have changed; None: hints may have been missed."""
    return subscriptions().listening(keys.usage_changes(), listener)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
