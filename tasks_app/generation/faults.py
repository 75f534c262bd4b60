"""Turns whatever can go wrong at a provider into one clear ProviderError."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from tasks_app.domain.retry import is_permanent_status
from tasks_app.generation.errors import ProviderError

LONGEST_QUOTE = 500
TIMEOUT = "provider_timeout"
UNREACHABLE = "provider_unreachable"
DISCONNECTED = "provider_disconnected"
INVALID = "invalid_answer"
EMPTY = "empty_answer"
REJECTED = "provider_error"

_WORDS_OF_PASSING_TROUBLE = ("rate_limit", "overloaded", "server_error", "timeout", "unavailable")


class Faults:
    """Words the faults of one provider: its name is said, its secrets (the key) never."""

    def __init__(self, provider: str, secrets: Sequence[str]) -> None:
        self.provider = provider
        self._secrets = secrets

    def http_status(
        self, status: int, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> ProviderError:
        """Return the error for an answer that is not 200."""
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP's redirects
            return self._error(
                f"answered {status}, a redirect, which is not followed. "
                "Set OPENAI_API_BASE_URL to the address it leads to.",
                status=status,
                permanent=True,
            )
        said = self._quote(_message_in(body))
        return self._error(
            f"answered {status}{f': {said}' if said else '.'}",
            status=status,
            permanent=is_permanent_status(status),
            retry_after=parse_retry_after(headers.get("retry-after"), now),
        )

    def error_object(self, error: Any) -> ProviderError:
        """Return the error for an error object inside an answer with status 200."""
        fields = error if isinstance(error, dict) else {"message": error}
        said = self._quote(str(fields.get("message") or fields.get("type") or "no reason given"))
        status = _status(fields.get("code") or fields.get("status"))
        words = f"{fields.get('type')} {fields.get('code')}".lower()
        passing = any(word in words for word in _WORDS_OF_PASSING_TROUBLE)
        permanent = is_permanent_status(status) if status else not passing
        return self._error(f"reported an error: {said}", status=status, permanent=permanent)

    def transport(self, exc: Exception) -> ProviderError:
        """Return the error for a call that broke below HTTP."""
        match exc:
            case httpx.ConnectTimeout() | httpx.ConnectError():
                return self._error("cannot be reached.", error_type=UNREACHABLE)
            case httpx.PoolTimeout():
                return self._error("has no free connection: too many calls.", error_type=TIMEOUT)
            case httpx.TimeoutException() | TimeoutError():
                return self.too_slow()
            case httpx.InvalidURL() | httpx.UnsupportedProtocol() | httpx.LocalProtocolError():
                return self._error(
                    "cannot be asked: its address or key in OPENAI_API_BASE_URL or OPENAI_API_KEY "
                    "is not valid.",
                    permanent=True,
                )
        return self._error("closed the connection in the middle.", error_type=DISCONNECTED)

    def too_slow(self, what: str = "did not answer in time.") -> ProviderError:
        return self._error(what, error_type=TIMEOUT)

    def half(self) -> ProviderError:
        return self._error("stopped in the middle of its answer.", error_type=DISCONNECTED)

    def empty(self) -> ProviderError:
        return self._error("sent an empty answer.", error_type=EMPTY)

    def filtered(self) -> ProviderError:
        return self._error(
            "withheld the answer: its content filter refused.",
            permanent=True,
            error_type="content_filter",
        )

    def too_large(self) -> ProviderError:
        return self._error("sent more than is accepted.", permanent=True, error_type=INVALID)

    def nonsense(self, body: str) -> ProviderError:
        """Return the error for an answer with status 200 that is no answer of this protocol."""
        is_markup = body[:200].lstrip().startswith("<")
        what = "HTML" if is_markup else "something that is not the OpenAI protocol"
        return self._error(
            f"answered with {what}. Check OPENAI_API_BASE_URL: it usually ends in /v1.",
            permanent=True,
            error_type=INVALID,
        )

    def _error(self, what: str, **options: Any) -> ProviderError:
        return ProviderError(f"The AI provider {self.provider} {what}", **options)

    def _quote(self, text: str) -> str:
        text = " ".join(text.split())
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…"


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read a Retry-After header: seconds or an HTTP date; None when absent or unreadable."""
    if not value:
        return None
    text = value.strip()
    try:
        if text.replace(".", "", 1).isdecimal():
            return float(text)
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _status(code: object) -> int | None:
    """Read an HTTP error status, None when the code is anything else."""
    text = str(code)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) == 3 else 0  # noqa: PLR2004
    return number if 400 <= number <= 599 else None  # noqa: PLR2004 - HTTP's error range


def _message_in(body: bytes) -> str:
    """Find the sentence in an error body of any of the usual shapes; HTML has none."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text
    for name in ("error", "message", "detail"):
        found = data.get(name) if isinstance(data, dict) else None
        if isinstance(found, dict):
            found = found.get("message")
        if isinstance(found, str) and found:
            return found
    return ""
