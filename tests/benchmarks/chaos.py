"""Strikes a running system with hundreds of faults and proves that every task ends exactly once.

A Redis, three workers, a stream of tasks of every kind; the checks are those of
`tests/processes/test_chaos.py`. `python -m tests.benchmarks.chaos --faults 500 [--seed N]`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import tempfile
import time
from dataclasses import fields
from pathlib import Path

import django


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--every", type=float, default=0.6, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    from tests.support.stack import Stack  # noqa: PLC0415 so that --help needs nothing

    folder = Path(tempfile.mkdtemp(prefix="signalbox-chaos-"))
    stack = Stack(folder)
    os.environ.update(stack.environment)
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    django.setup()
    print(f"seed {options.seed}", flush=True)
    try:
        asyncio.run(run(folder, options))
    finally:
        shutil.rmtree(folder)


async def run(folder: Path, options: argparse.Namespace) -> None:
    # These need Django to be set up.
    from tasks_app import api  # noqa: PLC0415
    from tests.support.chaos import calm_stack, chaos  # noqa: PLC0415

    began = time.monotonic()
    try:
        async with chaos(calm_stack(folder), options.seed) as one:
            report = await one.run(options.faults, every=options.every)
    finally:
        await api.shutdown()
    print(f"{options.faults} faults in {time.monotonic() - began:.0f} s; all checks hold")
    for field in fields(report):
        value = getattr(report, field.name)
        if isinstance(value, dict):
            value = ", ".join(f"{name} {count}" for name, count in value.most_common())
        print(f"{field.name:16} {value}")


if __name__ == "__main__":
    main()
