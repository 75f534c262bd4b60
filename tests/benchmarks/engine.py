"""The benchmark of the task engine, beside other task queues: `make bench ARGS="--rounds 5"`.

Contestants take turns in every round, on one Redis, each with one worker process at concurrency
100 and results kept. A round begins with the ceiling (peers/ceiling.py), the least that a worker
on redis-py can do; rates are compared within a round, since a machine's minutes differ.
docs/benchmarks.md explains the columns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.contestants import ENTRIES, Entry
from tests.benchmarks.measure import Amounts, Measured, Server, connected, measure, versions
from tests.benchmarks.report import tables, verdict


def main() -> None:
    options = parser().parse_args()
    entries = [e for e in ENTRIES if not options.only or e.name in options.only]
    for entry in entries:
        entry.install()
    folder = Path(tempfile.mkdtemp(prefix="signalbox-queues-"))
    server = Server(folder)
    try:
        rows, about = asyncio.run(rounds(entries, options, server, folder))
    except asyncio.CancelledError:
        raise SystemExit("Ended before it was done.") from None
    finally:
        server.end()
        shutil.rmtree(folder)
    print(f"\n{about}\n\n{tables(rows)}\n\n{verdict(rows)}")
    if options.json:
        found = {"about": about, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def parser() -> argparse.ArgumentParser:
    names = [entry.name for entry in ENTRIES]
    made = argparse.ArgumentParser(prog="make bench", description=__doc__)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--only", action="append", choices=names, help="repeatable; default: all")
    made.add_argument("--tasks", type=int, default=20_000, help="for the fast; the others an 8th")
    made.add_argument("--latencies", type=int, default=40, help="samples of each kind and round")
    made.add_argument("--stops", type=int, default=20, help="samples of each round")
    made.add_argument("--seconds", type=float, default=6.0, help="for each kind of sample at most")
    made.add_argument("--deadline", type=float, default=120.0, help="of a contestant in a round")
    made.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return made


async def rounds(
    entries: list[Entry], options: argparse.Namespace, server: Server, folder: Path
) -> tuple[list[Measured], str]:
    amounts = Amounts(
        tasks=options.tasks, latencies=options.latencies, stops=options.stops,
        seconds=options.seconds, deadline=options.deadline,
    )  # fmt: skip
    client = await connected(server.url)
    about = f"{described(entries)}, Redis {(await client.info('server'))['redis_version']}"
    await client.aclose()
    rows: list[Measured] = []
    ending = asyncio.current_task()
    assert ending is not None
    for signalled in (signal.SIGINT, signal.SIGTERM):  # so that every process is ended first
        asyncio.get_running_loop().add_signal_handler(signalled, ending.cancel)
    for number in range(1, options.rounds + 1):
        # The ceiling first; the others each time from another one on.
        first, rest = entries[:1], entries[1:]
        turn = number % len(rest) if rest else 0
        for entry in [*first, *rest[turn:], *rest[:turn]]:
            rows.append(await measure(entry, number, amounts, server, folder))
            print(progress(rows[-1], options.rounds), flush=True)
    return rows, about


def progress(row: Measured, of: int) -> str:
    said = row.error.splitlines()[-1] if row.error else f"{row.rate:,.0f} tasks/s"
    load = os.getloadavg()[0]
    return f"round {row.round} of {of}: {row.name:12} {said} (load {load:.1f})"


def described(entries: list[Entry]) -> str:
    found = dict.fromkeys(versions(entry) for entry in entries)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return f"{datetime.now(UTC):%d %B %Y}, {machine}; {', '.join(found)}"


if __name__ == "__main__":
    main()
