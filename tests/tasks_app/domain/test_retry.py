from __future__ import annotations

import urllib.error
from email.message import Message

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_app.domain.retry import Retry, delay, describe, is_permanent, retry_after


class RefusedError(Exception):
    permanent = True
    error_type = "refused"


class FlakyError(ValueError):
    permanent = False
    retry_after = 7


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    @property
    def permanent(self) -> bool:
        raise RuntimeError("no attribute")


def raised(exc: BaseException, cause: BaseException) -> BaseException:
    exc.__cause__ = cause
    return exc


# --- delay --------------------------------------------------------------------------------------


def test_delay_doubles_up_to_the_cap():
    policy = Retry(max_attempts=10, base=1, cap=10, jitter=False)
    assert [delay(policy, n) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_delay_draws_evenly_below_the_ceiling_with_jitter():
    policy = Retry(max_attempts=10, base=2, cap=30)
    assert delay(policy, 2, random=lambda: 0.5) == 2
    assert delay(policy, 2, random=lambda: 0.0) == 0


def test_delay_is_none_when_the_attempts_are_used_up():
    assert delay(Retry(max_attempts=3), 3) is None
    assert delay(Retry(max_attempts=1), 1) is None


def test_delay_obeys_retry_after_up_to_thirty_seconds():
    policy = Retry(cap=2)
    assert delay(policy, 1, 30.0) == 30
    assert delay(policy, 1, 30.1) is None
    assert delay(policy, 1, float("inf")) is None


def test_delay_takes_its_own_time_when_retry_after_is_zero():
    assert delay(Retry(jitter=False), 1, 0.0) == 1


@given(
    failures=st.integers(-5, 10**9),
    base=st.floats(0.001, 30),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_delay_is_never_negative_nor_above_the_cap(failures: int, base: float, draw: float):
    seconds = delay(Retry(max_attempts=10**9 + 1, base=base), failures, random=lambda: draw)
    assert seconds is not None
    assert 0 <= seconds <= 30


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"base": 0},
        {"base": -1},
        {"cap": 31},
        {"cap": 0},
        {"base": 5, "cap": 2},
    ],
)
def test_retry_refuses_nonsense(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="Retry: "):
        Retry(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [2.5, True, "3"])
def test_retry_refuses_a_count_that_is_no_whole_number(wrong: object):
    with pytest.raises(TypeError, match="max_attempts"):
        Retry(max_attempts=wrong)  # type: ignore[arg-type]


# --- classification -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "exc",
    [
        ConnectionResetError(),
        ConnectionRefusedError(),
        TimeoutError(),
        OSError(113, "no route to host"),
        FlakyError(),
        raised(httpx.ConnectError("x"), raised(RuntimeError(), ConnectionRefusedError())),
        httpx.HTTPStatusError(
            "x", request=httpx.Request("GET", "http://a"), response=httpx.Response(503)
        ),
        httpx.HTTPStatusError(
            "x", request=httpx.Request("GET", "http://a"), response=httpx.Response(429)
        ),
    ],
)
def test_what_passes_by_itself_is_retried(exc: BaseException):
    assert not is_permanent(exc)


@pytest.mark.parametrize(
    "exc",
    [
        ValueError(),
        KeyError("x"),
        TypeError(),
        FileNotFoundError(),
        RefusedError(),
        HostileError(),
        raised(RefusedError(), TimeoutError()),
        urllib.error.HTTPError("http://a", 404, "no", Message(), None),
        *(
            httpx.HTTPStatusError(
                "x", request=httpx.Request("GET", "http://a"), response=httpx.Response(status)
            )
            for status in (400, 401, 403, 404)
        ),
    ],
)
def test_what_will_be_the_same_next_time_is_not_retried(exc: BaseException):
    assert is_permanent(exc)


def test_a_circle_of_causes_ends():
    one, two = ValueError(), KeyError()
    one.__cause__, two.__cause__ = two, one
    assert is_permanent(one)


def test_retry_after_reads_numbers_only():
    assert retry_after(FlakyError()) == 7
    assert retry_after(ValueError()) is None
    assert retry_after(HostileError()) is None


# --- describe -----------------------------------------------------------------------------------


def test_describe_names_type_and_message():
    assert describe(ValueError("bad")) == {"type": "ValueError", "message": "bad"}
    assert describe(RefusedError("no")) == {"type": "refused", "message": "no"}


def test_describe_survives_an_exception_that_cannot_be_printed():
    assert describe(HostileError()) == {
        "type": "HostileError",
        "message": "HostileError without a message",
    }


def test_describe_fills_an_empty_message():
    assert describe(TimeoutError())["message"] == "TimeoutError without a message"


def test_describe_caps_the_length_and_can_always_be_written():
    message = describe(ValueError("x" * 5000))["message"]
    assert len(message) == 2000
    describe(ValueError("half a pair \ud83d"))["message"].encode()
