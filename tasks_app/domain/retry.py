"""Decides whether a failure is tried again, and when: one classification, one back-off."""

from __future__ import annotations

import math
import random as _random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_DELAY_S = 30.0
LONGEST_MESSAGE = 2_000
# A request time-out and "too many requests" are the client errors that pass by themselves.
RETRYABLE_STATUSES = frozenset({408, 429})
SERVER_ERROR = 500
# Subclasses of OSError that say the program asked for the wrong thing, not that a peer is away.
_WRONG_PATH = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_DEEPEST_CAUSE = 8
_LARGEST_EXPONENT = 60  # beyond it every base is far above the cap, and floats overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and how patiently an attempt is repeated; `max_attempts=1` never repeats.

    The delay doubles from `base` up to `cap` seconds (at most 30); with `jitter` it is drawn
    evenly between zero and that, so that many failures at once do not come back at once.
    """

    max_attempts: int = 5
    base: float = 1.0
    cap: float = LONGEST_DELAY_S
    jitter: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int):
            raise TypeError("Retry: max_attempts must be a whole number.")
        if self.max_attempts < 1:
            raise ValueError("Retry: max_attempts must be at least 1.")
        if not 0 < self.cap <= LONGEST_DELAY_S:
            raise ValueError(f"Retry: cap must be above 0 and at most {LONGEST_DELAY_S:g} seconds.")
        if not 0 < self.base <= self.cap:
            raise ValueError("Retry: base must be above 0 and at most cap.")


def to_text(policy: Retry) -> str:
    """Return the policy as a record keeps it."""
    return f"{policy.max_attempts} {policy.base!r} {policy.cap!r} {int(policy.jitter)}"


def from_text(text: str) -> Retry | None:
    """Read what `to_text` wrote; None where there is nothing, or nothing that can be read."""
    try:
        attempts, base, cap, jitter = text.split()
        return Retry(
            max_attempts=int(attempts), base=float(base), cap=float(cap), jitter=jitter == "1"
        )
    except (ValueError, TypeError):
        return None


def delay(
    policy: Retry,
    failures: int,
    retry_after: float | None = None,
    random: Callable[[], float] = _random.random,
) -> float | None:
    """Return the seconds to wait after `failures` failed attempts, or None: fail now.

    `retry_after` is what the other side asked for: obeyed up to 30 s, None when it is longer.
    """
    if failures >= policy.max_attempts:
        return None
    if retry_after is not None and retry_after > 0:
        return retry_after if retry_after <= LONGEST_DELAY_S else None
    exponent = min(max(failures - 1, 0), _LARGEST_EXPONENT)
    ceiling = min(policy.cap, policy.base * 2.0**exponent)
    return ceiling * random() if policy.jitter else ceiling


def is_permanent_status(status: int) -> bool:
    """Tell whether an HTTP status will be the same next time: all but 408, 429 and 5xx."""
    return status < SERVER_ERROR and status not in RETRYABLE_STATUSES


def is_permanent(exc: BaseException) -> bool:
    """Tell whether trying again is pointless.

    The exception's own `permanent` wins. Connection errors, time-outs and retryable HTTP
    statuses, also as the named cause (`raise … from`), pass by themselves; whatever is not
    known is taken for a programming error.
    """
    seen: BaseException | None = exc
    for _ in range(_DEEPEST_CAUSE):
        if seen is None:
            return True
        verdict = _verdict(seen)
        if verdict is not None:
            return verdict
        seen = seen.__cause__
    return True


def retry_after(exc: BaseException) -> float | None:
    """Return the seconds that the failure itself asks to wait, None when it names none."""
    value = _attribute(exc, "retry_after")
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return max(0.0, float(value))


def describe(exc: BaseException) -> dict[str, str]:
    """Return `{"type", "message"}` for the task's record; never raises, never a traceback."""
    kind = _attribute(exc, "error_type")
    name = kind if isinstance(kind, str) and kind else type(exc).__name__
    message = _safely(lambda: str(exc), "").strip() or f"{type(exc).__name__} without a message"
    return {"type": _storable(name, 200), "message": _storable(message, LONGEST_MESSAGE)}


def _verdict(exc: BaseException) -> bool | None:
    own = _attribute(exc, "permanent")
    if isinstance(own, bool):
        return own
    status = _status(exc)
    if status is not None:
        return is_permanent_status(status)
    if isinstance(exc, _WRONG_PATH):
        return True
    return False if isinstance(exc, TimeoutError | OSError) else None


def _status(exc: BaseException) -> int | None:
    """Find an HTTP status where the well-known clients keep it."""
    response = _attribute(exc, "response")
    for holder, name in ((exc, "status_code"), (response, "status_code"), (exc, "code")):
        value = _attribute(holder, name)
        if isinstance(value, int) and 400 <= value <= 599:  # noqa: PLR2004 - HTTP's error range
            return value
    return None


def _attribute(holder: object, name: str) -> Any:
    return _safely(lambda: getattr(holder, name, None), None)


def _safely(read: Callable[[], T], default: T) -> T:
    try:
        return read()
    # The attributes and texts of users' exceptions may raise whatever they like.
    except BaseException:  # noqa: BLE001
        return default


def _storable(text: str, longest: int) -> str:
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    # Lone surrogates cannot be written as UTF-8.
    return text.encode("utf-8", "replace").decode()
