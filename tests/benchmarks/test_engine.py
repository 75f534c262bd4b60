"""The benchmark itself works; nothing here is about how fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.contestants import CEILING, ENTRIES, OURS, Entry
from tests.benchmarks.measure import Amounts, Measured, Server, measure
from tests.benchmarks.report import ratios, tables, verdict

FEW = Amounts(tasks=50, latencies=1, stops=1, seconds=1.0, deadline=60.0)


async def test_measures_our_own_engine(tmp_path: Path) -> None:
    entry = next(entry for entry in ENTRIES if entry.name == OURS)
    server = Server(tmp_path)
    try:
        measured = await measure(entry, 1, FEW, server, tmp_path)
    finally:
        server.end()
    assert measured.error == ""
    assert measured.rate > 0
    assert [len(measured.seen), len(measured.own), len(measured.stop)] == [1, 1, 1]


async def test_says_what_went_wrong(tmp_path: Path) -> None:
    entry = next(entry for entry in ENTRIES if entry.name == CEILING)
    server = Server(tmp_path)
    try:
        hasty = Amounts(tasks=50, latencies=0, stops=0, seconds=1.0, deadline=0.01)
        measured = await measure(entry, 1, hasty, server, tmp_path)
    finally:
        server.end()
    assert "0.01 s" in measured.error


def rows(*rates: tuple[str, int, float]) -> list[Measured]:
    return [Measured(name=name, round=number, rate=rate) for name, number, rate in rates]


def test_compares_within_a_round_only() -> None:
    measured = rows((CEILING, 1, 100), (OURS, 1, 50), (CEILING, 2, 10), (OURS, 2, 5))
    assert ratios(measured, OURS, CEILING, lambda row: row.rate) == [0.5, 0.5]


def test_a_failed_round_counts_nowhere_but_is_named() -> None:
    measured = rows((CEILING, 1, 100), (OURS, 1, 50), ("arq", 1, 9))
    measured.append(Measured(name="arq", round=2, error="its worker ended: why"))
    assert "9 (9 to 9)" in tables(measured)
    assert "arq, round 2: its worker ended: why" in verdict(measured)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_peer_is_pinned(entry: Entry) -> None:
    if entry.requirements.exists():
        text = entry.requirements.read_text()
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert lines
        assert all("==" in line for line in lines)
