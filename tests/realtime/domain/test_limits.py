"""Counting frames and bytes."""

from __future__ import annotations

import pytest

from realtime.domain.limits import FRAMES_BURST, FRAMES_PER_SECOND, FrameBucket, exceeds


def passed(bucket: FrameBucket, count: int, now: float) -> int:
    return sum(bucket.take(now) for _ in range(count))


def test_a_burst_passes_then_the_rate() -> None:
    bucket = FrameBucket(100.0)
    assert passed(bucket, 250, 100.0) == FRAMES_BURST
    bucket = FrameBucket(0.0)
    assert passed(bucket, 200, 0.0) == 200
    assert passed(bucket, 50, 1.0) == FRAMES_PER_SECOND


def test_a_steady_client_at_the_rate_is_never_refused() -> None:
    bucket = FrameBucket(0.0)
    assert all(bucket.take(number / FRAMES_PER_SECOND) for number in range(10_000))


def test_who_goes_on_becomes_hopeless_and_who_stops_is_forgiven() -> None:
    bucket = FrameBucket(0.0)
    passed(bucket, 400, 0.0)
    assert not bucket.is_hopeless
    bucket.take(0.0)
    assert bucket.is_hopeless
    assert bucket.take(10.0)
    assert not bucket.is_hopeless


def test_time_does_not_fill_beyond_the_burst() -> None:
    bucket = FrameBucket(0.0)
    assert passed(bucket, 1000, 1e6) == FRAMES_BURST


@pytest.mark.parametrize("frame", ["", "a" * 10, "ä" * 5, "😀😀ab", b"a" * 10])
def test_a_frame_of_the_limit_does_not_exceed_it(frame: str | bytes) -> None:
    assert not exceeds(frame, 10)


@pytest.mark.parametrize("frame", ["a" * 11, "ä" * 6, "😀😀abc", b"a" * 11])
def test_bytes_are_counted_not_characters(frame: str | bytes) -> None:
    assert exceeds(frame, 10)
