from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tasks_app.generation.faults import Faults, parse_retry_after

NOW = datetime(2026, 11, 24, 3, 0, 0, tzinfo=UTC)
KEY = "sk-very-secret"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5),
        ("0.5", 0.5),
        (" 7 ", 7),
        ("Tue, 24 Nov 2026 03:00:10 GMT", 10),
        ("Tue, 24 Nov 2026 02:00:00 GMT", 0),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("1.2.3", None),
        ("٣", 3),
    ],
)
def test_retry_after_as_seconds_or_as_a_date(value: str | None, seconds: float | None):
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "bad  model"}}, "answered 400: bad model"),
        ({"error": "bad"}, "answered 400: bad"),
        ({"message": "bad"}, "answered 400: bad"),
        ({"detail": "bad"}, "answered 400: bad"),
        ({"detail": [1]}, "answered 400."),
        ([1], "answered 400."),
        ("x" * 2000, "…"),
    ],
)
def test_error_bodies_of_every_shape(body: object, words: str):
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = Faults("p", (KEY,)).http_status(400, {}, raw, NOW)
    assert words in str(error)
    assert len(str(error)) < 600


def test_html_bodies_are_not_quoted():
    error = Faults("p", (KEY,)).http_status(502, {}, b" <html>secret stuff</html>", NOW)
    assert str(error) == "The AI provider p answered 502."


def test_the_key_is_never_quoted():
    body = json.dumps({"error": {"message": f"wrong key {KEY}!"}}).encode()
    error = Faults("p", (KEY,)).http_status(401, {}, body, NOW)
    assert str(error) == "The AI provider p answered 401: wrong key [key]!"
    assert KEY not in str(Faults("p", (KEY,)).error_object({"message": KEY}))


@pytest.mark.parametrize(
    ("error", "permanent", "status"),
    [
        ({"message": "x", "code": 429}, False, 429),
        ({"message": "x", "code": "400"}, True, 400),
        ({"message": "x", "code": "context_length_exceeded"}, True, None),
        ({"message": "x", "type": "rate_limit_error"}, False, None),
        ({"message": "x", "type": "overloaded_error"}, False, None),
        ({"message": "x", "code": 7}, True, None),
        ("plain", True, None),
        (["odd"], True, None),
        ({}, True, None),
    ],
)
def test_error_objects_are_classified(error: object, permanent: bool, status: int | None):
    made = Faults("p", ()).error_object(error)
    assert (made.permanent, made.status) == (permanent, status)
