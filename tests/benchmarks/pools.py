"""What a ping and a clean-up of the pools cost, beside the reference system's way, in one run.

    python -m tests.benchmarks.pools [--seconds 5] [--sessions 100000]
                                     [--only pings|cleanup|revocation]

The reference's way, written here as its tracker describes it: one JSON object per model with all
its sessions, read, changed and written back by a synchronous client; a hash of sessions, scanned
whole. Everything runs on a Redis of its own on this machine, and ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import django
import redis

from tests.support.redis_server import RedisServer

PROCESSES = 4
MODEL = "gpt-everybody"
REFERENCE_POOL = "reference:usage"
REFERENCE_SESSIONS = "reference:sessions"
TIMEOUT_SECONDS = 120
CARD = '["{id}","17","user17",1790000000000]'


def raw() -> redis.Redis:
    return redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


# --- pings: one process ---------------------------------------------------------------------------


async def ping_ours(names: list[str], until: float) -> int:
    """Let this process' sessions ping the model, each again as soon as its last one is written."""
    from realtime.services.membership import Membership  # noqa: PLC0415 Django must be set up
    from tasks_app import api  # noqa: PLC0415

    async def session(name: str) -> int:
        member, count = Membership(name, "17", "user17"), 0
        while time.time() < until or not count:
            loop = asyncio.get_running_loop()
            await asyncio.shield(member.use(MODEL, loop.time(), 3.0))
            count += 1
        return count

    counts = await asyncio.gather(*map(session, names))
    await api.shutdown()
    return sum(counts)


async def ping_reference(names: list[str], until: float) -> int:
    """Do the same by reading, changing and writing back, in turn, as a synchronous client must."""
    count = 0
    with raw() as client:
        while time.time() < until or not count:
            for name in names:
                pool: dict[str, Any] = {}
                if client.hexists(REFERENCE_POOL, MODEL):
                    pool = json.loads(client.hget(REFERENCE_POOL, MODEL) or "{}")
                pool[name] = {"updated_at": int(time.time())}
                client.hset(REFERENCE_POOL, MODEL, json.dumps(pool))
                count += 1
                await asyncio.sleep(0)
    return count


PINGS: dict[str, Callable[[list[str], float], Coroutine[Any, Any, int]]] = {
    "ours": ping_ours,
    "reference": ping_reference,
}


def child(kind: str, names: list[str], seconds: float) -> None:
    print("ready", flush=True)
    begin = float(sys.stdin.readline())
    time.sleep(max(0.0, begin - time.time()))
    cpu = time.process_time()
    count = asyncio.run(PINGS[kind](names, begin + seconds))
    print(json.dumps({"count": count, "cpu": time.process_time() - cpu}))


# --- pings: all of them ---------------------------------------------------------------------------


def measure_once(total: int, rounds: int = 5) -> None:
    """Let each session ping once, all at the same moment; count who is in the pool then."""
    print(f"\n{total} sessions on {PROCESSES} processes ping one model once, all at once:")
    for kind in ("reference", "ours"):
        counted = []
        for _ in range(rounds):
            with raw() as client:
                client.flushall()
                run_children(kind, total, seconds=0.0)
                counted.append(counted_by(kind, client))
        print(f"{kind:10} counted {', '.join(map(str, counted))} of {total}")


def measure_pings(total: int, seconds: float) -> None:
    print(f"\n{total} sessions on {PROCESSES} processes ping one model for {seconds:g} s:")
    print("way         pings/s   CPU us/ping here   in Redis   sessions counted at the end")
    rates = {}
    for kind in ("reference", "ours"):
        with raw() as client:
            client.flushall()
            before = client.info("cpu")
            counts = run_children(kind, total, seconds=seconds)
            spent = client.info("cpu")
            counted = counted_by(kind, client)
        pings = sum(one["count"] for one in counts)
        rates[kind] = pings / seconds
        cpu = sum(one["cpu"] for one in counts) / pings * 1e6
        in_redis = sum(spent[n] - before[n] for n in ("used_cpu_user", "used_cpu_sys")) / pings
        print(
            f"{kind:10} {rates[kind]:8.0f} {cpu:18.0f} {in_redis * 1e6:10.0f}   "
            f"{counted} of {total}"
        )
    print(f"ours / reference: {rates['ours'] / rates['reference']:.1f}")


def run_children(kind: str, total: int, *, seconds: float) -> list[dict[str, float]]:
    words = ["--seconds", str(seconds), "--child", kind, str(total // PROCESSES)]
    children = [
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name, *words, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    for one in children:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    begin = f"{time.time() + 0.2}\n"
    for one in children:
        assert one.stdin is not None
        one.stdin.write(begin)
        one.stdin.flush()
    return [json.loads(one.communicate(timeout=seconds + 60)[0]) for one in children]


def counted_by(kind: str, client: redis.Redis) -> int:
    if kind == "reference":
        return len(json.loads(client.hget(REFERENCE_POOL, MODEL) or "{}"))
    from realtime.services import pools  # noqa: PLC0415 Django must be set up

    return sum(model.sessions for model in pools.models_sync(10)[1])


# --- clean-up -------------------------------------------------------------------------------------


def fill(count: int) -> None:
    """Register sessions in both ways; every second one was not heard of for an hour."""
    from realtime.store import keys  # noqa: PLC0415 Django must be set up

    now = int(time.time() * 1000)
    with raw() as client:
        client.flushall()
        for at in range(0, count, 1000):
            ids = {f"session-{n:06}": now - 3_600_000 * (n % 2) for n in range(at, at + 1000)}
            cards = {CARD.format(id=one): seen for one, seen in ids.items()}
            client.zadd(keys.session_pool(), cards)
            entries = {
                one: json.dumps({"id": "17", "name": "user17", "last_seen_at": seen // 1000})
                for one, seen in ids.items()
            }
            client.hset(REFERENCE_SESSIONS, mapping=entries)


async def clean_ours() -> int:
    from realtime.services import pools  # noqa: PLC0415 Django must be set up

    async def check() -> None:
        pass

    return await pools.clean_sessions(check)


async def clean_reference() -> int:
    """Scan the whole hash by batches and delete one by one, giving way between batches."""
    return await scan(lambda client, expired: [client.hdel(REFERENCE_SESSIONS, x) for x in expired])


async def clean_scan_at_best() -> int:
    """Scan the whole hash, and delete what a batch found with one command."""

    def delete(client: redis.Redis, expired: list[str]) -> None:
        if expired:
            client.hdel(REFERENCE_SESSIONS, *expired)

    return await scan(delete)


async def scan(delete: Callable[[redis.Redis, list[str]], Any]) -> int:
    removed, cursor = 0, 0
    with raw() as client:
        while True:
            cursor, entries = client.hscan(REFERENCE_SESSIONS, cursor, count=1000)
            limit = time.time() - TIMEOUT_SECONDS
            expired = [
                one for one, text in entries.items() if json.loads(text)["last_seen_at"] < limit
            ]
            delete(client, expired)
            removed += len(expired)
            await asyncio.sleep(0)
            if not cursor:
                return removed


@contextlib.asynccontextmanager
async def lag() -> AsyncIterator[list[float]]:
    """Collect how much later than asked for the loop wakes, in seconds."""
    late: list[float] = []

    async def watch() -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(0.0005)
            late.append(time.perf_counter() - begin - 0.0005)

    watching = asyncio.create_task(watch())
    try:
        yield late
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def measure_cleanup(count: int) -> None:
    from tasks_app import api  # noqa: PLC0415 Django must be set up

    print(f"\n{count:,} sessions, {count // 2:,} of them expired:")
    print("way                removed   took ms   commands   longest in Redis ms   loop held ms")
    took = {}
    ways = {
        "reference": clean_reference, "scan at best": clean_scan_at_best, "ours": clean_ours
    }  # fmt: skip
    for name, clean in ways.items():
        fill(count)
        if name == "ours":  # the connection and the script are there, as in a worker
            await api.ping()
        with raw() as client:
            client.config_set("slowlog-max-len", 1_000_000)
            client.config_set("slowlog-log-slower-than", 0)
            client.slowlog_reset()
            async with lag() as late:
                await asyncio.sleep(0.01)
                late.clear()
                begin = time.perf_counter()
                removed = await clean()
                took[name] = time.perf_counter() - begin
                await asyncio.sleep(0.002)
            client.config_set("slowlog-log-slower-than", -1)
            log = client.slowlog_get(1_000_000)
        longest = max(entry["duration"] for entry in log if b"CONFIG" not in _words(entry))
        print(
            f"{name:18} {removed:7} {took[name] * 1e3:9.1f} {len(log):10} {longest / 1e3:21.2f} "
            f"{max(late) * 1e3:14.2f}"
        )
    print(f"ours / reference: {took['ours'] / took['reference']:.3f}", end=", ")
    print(f"ours / scan at best: {took['ours'] / took['scan at best']:.3f}")
    await api.shutdown()


def _words(entry: dict[str, Any]) -> bytes:
    command = entry["command"]
    return command.upper() if isinstance(command, bytes) else str(command).upper().encode()


# --- revocation -----------------------------------------------------------------------------------


async def measure_revocation(folder: Path, sockets: int) -> None:
    from tests.realtime.client import dial  # noqa: PLC0415 Django must be set up
    from tests.realtime.site import Site  # noqa: PLC0415

    site = Site(folder=folder, redis_url=os.environ["REDIS_URL"])
    site.prepare()
    doomed, others = site.account(), [site.account() for _ in range(20)]
    async with contextlib.AsyncExitStack() as stack:
        servers = [stack.enter_context(site.serving(kind)) for kind in ("daphne", "uvicorn")]
        clients = []
        for number in range(sockets):
            server, other = servers[number % 2], others[number % len(others)]
            account = doomed if number % 2 == 0 or number % 4 == 1 else other
            client = await stack.enter_async_context(dial(server.url, account.bearer))
            await client.is_alive()
            if account is doomed:
                clients.append(client)
        change = f"""
import time
user = User.objects.get(pk={doomed.id})
user.is_active = False
user.save()
open({str(folder / "at")!r}, "w").write(str(time.time()))
"""

        async def closed(client: Any) -> float:
            await client.close_code(within=30)
            return time.time()

        closing = [asyncio.create_task(closed(client)) for client in clients]
        await asyncio.to_thread(site.django, change)
        ends = sorted(await asyncio.gather(*closing))
    saved = float((folder / "at").read_text())
    print(f"\nuser deactivated; {len(clients)} of {sockets} sockets on 2 processes are theirs:")
    delays = [(end - saved) * 1e3 for end in ends]
    print(
        f"from save() returning to the client seeing 4401: "
        f"p50 {delays[len(delays) // 2]:.0f} ms, last {delays[-1]:.0f} ms"
    )


@contextlib.contextmanager
def surroundings() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="signalbox-bench-"))
    server = RedisServer(folder)
    try:
        server.start()
        with contextlib.closing(redis.Redis.from_url(server.url)) as client:
            client.config_set("appendonly", "no")
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "project.settings", "DEBUG": "1", "SECRET_KEY": "benchmark",
            "REDIS_URL": server.url,
            "USAGE_TIMEOUT_SECONDS": "600",  # nobody times out before they are counted
        }  # fmt: skip
        django.setup()
        yield folder
    finally:
        server.kill()
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--only", choices=("pings", "cleanup", "revocation"))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, each, number = options.child
        django.setup()
        child(kind, [f"{number}-{one}" for one in range(int(each))], options.seconds)
        return
    with surroundings() as folder:
        if options.only in {None, "pings"}:
            measure_once(200)
            measure_pings(200, options.seconds)
            measure_pings(2000, options.seconds)
        if options.only in {None, "cleanup"}:
            asyncio.run(measure_cleanup(options.sessions))
        if options.only in {None, "revocation"}:
            asyncio.run(measure_revocation(folder, 100))


if __name__ == "__main__":
    main()
