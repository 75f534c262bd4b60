"""The benchmark of disconnects, small: what it compares is compared at every run of the suite."""

from __future__ import annotations

from tests.benchmarks.disconnects import measure


def test_a_text_is_whole_after_random_disconnects() -> None:
    found = measure(tokens=300, cuts=30)
    assert found["disconnects"] >= 10
    assert found["received twice"] == 0
