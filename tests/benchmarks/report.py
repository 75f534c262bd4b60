"""Turns rounds into tables: medians with ranges, ratios within a round, the machine's noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from tests.benchmarks.contestants import CEILING, OURS
from tests.benchmarks.measure import Measured

Reader = Callable[[Measured], float]


THROUGHPUT = (
    "contestant", "tasks/s: median (min to max)", "of the ceiling", "worker CPU µs/task",
    "Redis CPU µs/task", "Redis commands/task", "enqueue/s", "bytes queued / finished",
)  # fmt: skip
TIMES = (
    "contestant", "enqueue → result seen in Redis: p50 / p99 ms", "by its own wait: p50 / p99 ms",
    "stop → `finally`: p50 / p99 / worst ms",
)  # fmt: skip


def tables(rows: Sequence[Measured]) -> str:
    """Return both tables, as Markdown."""
    kept: dict[str, list[Measured]] = {}
    for row in rows:
        kept.setdefault(row.name, []).extend([] if row.error else [row])
    rates = [throughput(name, mine, rows) for name, mine in kept.items() if mine]
    times = [[name, *latencies(mine)] for name, mine in kept.items() if mine]
    return f"{markdown(THROUGHPUT, rates)}\n\n{markdown(TIMES, times)}"


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    shown = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in shown)


def throughput(name: str, mine: Sequence[Measured], rows: Sequence[Measured]) -> list[str]:
    of_ceiling = ratios(rows, name, CEILING, lambda row: row.rate)
    queued = median(row.bytes_queued for row in mine)
    finished = median(row.bytes_finished for row in mine)
    return [
        name,
        spread([row.rate for row in mine]),
        f"{median(of_ceiling) * 100:.1f} %" if of_ceiling else "",
        f"{median(row.worker_cpu_us for row in mine):,.0f}",
        f"{median(row.redis_cpu_us for row in mine):,.0f}",
        f"{median(row.commands for row in mine):,.1f}",
        f"{median(row.enqueue_rate for row in mine):,.0f}",
        f"{queued:,.0f} / {finished:,.0f}",
    ]


def latencies(mine: Sequence[Measured]) -> list[str]:
    return [
        quantiles(sample for row in mine for sample in row.seen),
        quantiles(sample for row in mine for sample in row.own),
        quantiles((sample for row in mine for sample in row.stop), worst=True),
    ]


def spread(values: Sequence[float]) -> str:
    return f"{median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def quantiles(samples: Iterable[float], *, worst: bool = False) -> str:
    values = sorted(samples)
    if not values:
        return ""
    shown = [median(values), values[min(len(values) - 1, int(len(values) * 0.99))]]
    return " / ".join(f"{value:,.1f}" for value in [*shown, *values[-1:][: int(worst)]])


def ratios(rows: Sequence[Measured], name: str, other: str, read: Reader) -> list[float]:
    """Return name / other within each round that has both: minutes of one machine differ."""
    by_round = {(row.name, row.round): read(row) for row in rows if not row.error}
    pairs = [
        (by_round.get((name, number), 0.0), by_round.get((other, number), 0.0))
        for number in sorted({row.round for row in rows})
    ]
    return [one / two for one, two in pairs if one and two]


def verdict(rows: Sequence[Measured]) -> str:
    """Say how ours stands to the ceiling and to the best peer, by ratios within a round."""
    peers = list(dict.fromkeys(row.name for row in rows if row.name not in {CEILING, OURS}))
    lines = []
    ceiling = [row.rate for row in rows if row.name == CEILING and not row.error]
    if ceiling:
        lines.append(
            f"Noise: the ceiling's own rate went from {min(ceiling):,.0f} to {max(ceiling):,.0f} "
            f"({max(ceiling) / min(ceiling):.2f} times); ratios below are within a round."
        )
    for text, read, best, others in (
        ("Throughput, ours / {}: {:.2f}", lambda row: row.rate, min, [CEILING, *peers]),
        (
            "Worker CPU per task, ours / {}: {:.2f}",
            lambda r: r.worker_cpu_us,
            max,
            [CEILING, *peers],
        ),
        ("Latency seen in Redis p50, ours / {}: {:.2f}", lambda row: p50(row.seen), max, peers),
        ("Latency by the own wait p50, ours / {}: {:.2f}", lambda row: p50(row.own), max, peers),
        ("Stop p50, ours / {}: {:.4f}", lambda row: p50(row.stop), max, peers),
    ):
        found = {other: ratios(rows, OURS, other, read) for other in others}
        shown = {other: median(values) for other, values in found.items() if values}
        if CEILING in shown:
            lines.append(text.format("the ceiling", shown.pop(CEILING)))
        if shown:
            name = best(shown, key=lambda other: shown[other])
            lines.append(text.format(f"the best peer ({name})", shown[name]))
    lines += sorted({f"{row.name}, round {row.round}: {row.error}" for row in rows if row.error})
    return "\n".join(lines)


def p50(samples: Sequence[float]) -> float:
    return median(samples) if samples else 0.0
