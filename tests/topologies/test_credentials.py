"""Passwords and TLS in REDIS_URL reach the servers, the Sentinels and the Cluster's nodes.

The passwords of Redis behind Sentinels, and of a Cluster, are in every other test here.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from asgiref.sync import sync_to_async
from channels_redis.pubsub import RedisPubSubChannelLayer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings as django_settings

from tasks_app import api
from tests import sample_tasks
from tests.support.eventually import eventually_sync
from tests.support.topologies import HOST, SLOTS, Server, Watched, free_ports
from tests.topologies.conftest import PASSWORD, use
from tests.topologies.test_every_topology import close


async def works() -> bool:
    """Use every client that the settings make: both of the engine, its listener, the layer's."""
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    async with api.listen_all(lambda _: None):
        assert await sync_to_async(api.task_ids_sync)(0, 10) == [task.id]
    layer = RedisPubSubChannelLayer(**django_settings.CHANNEL_LAYERS["default"]["CONFIG"])
    try:
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "hello"})
        return bool(await layer.receive(channel) == {"type": "hello"})
    finally:
        await close(layer)


@contextlib.contextmanager
def serving(*servers: Server) -> Iterator[None]:
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.kill()


def sentinel_lines(master: int, password: str) -> dict[str, str]:
    return {
        "sentinel monitor": f"Alone {HOST} {master} 1",
        "sentinel auth-pass": f"Alone {password}",
    }


async def test_sentinels_with_a_password(
    watched: Watched,
    tmp_path: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    redis_prefix: str,
    engine: None,
) -> None:
    [port] = free_ports(1)
    options = {**sentinel_lines(watched.master.port, PASSWORD), "requirepass": PASSWORD}
    environment = {
        "REDIS_SENTINELS": f"{HOST}:{port}",
        "REDIS_SENTINEL_SERVICE": "Alone",
        "REDIS_URL": f"redis://:{quote(PASSWORD, safe='')}@any",
        "REDIS_KEY_PREFIX": redis_prefix,
    }
    with serving(Server(tmp_path / "sentinel", port, options, "--sentinel")):
        use(settings, monkeypatch, environment)
        assert await works()


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a key and a certificate for loopback, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "signalbox tests")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize("kind", ["standalone", "sentinel", "cluster"])
async def test_tls(
    kind: str,
    certificate: Path,
    tmp_path: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    redis_prefix: str,
    engine: None,
) -> None:
    port, sentinel_port = free_ports(2)
    tls = {
        name: str(certificate) for name in ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")
    } | {"tls-auth-clients": "no", "tls-replication": "yes"}
    options = {**tls, "save": '""', "requirepass": PASSWORD}
    if kind == "cluster":
        options |= {"tls-cluster": "yes", "cluster-enabled": "yes"}
    master = Server(tmp_path / "master", port, options, tls=certificate)
    servers = [master]
    if kind == "sentinel":
        servers.append(
            Server(
                tmp_path / "sentinel",
                sentinel_port,
                {**sentinel_lines(port, PASSWORD), **tls},
                "--sentinel",
                tls=certificate,
            )
        )
    url = f"rediss://:{quote(PASSWORD, safe='')}@{HOST}:{port}?ssl_ca_certs={certificate}"
    environment = {"REDIS_URL": url, "REDIS_KEY_PREFIX": redis_prefix} | {
        "standalone": {},
        "sentinel": {
            "REDIS_SENTINELS": f"{HOST}:{sentinel_port}",
            "REDIS_SENTINEL_SERVICE": "Alone",
        },
        "cluster": {"REDIS_CLUSTER": "1"},
    }[kind]
    if not master.can_do_tls:
        pytest.skip("this Redis was built without TLS")
    with serving(*servers):
        if kind == "cluster":
            master.call("CLUSTER", "ADDSLOTS", *range(SLOTS))
            await asyncio.to_thread(
                eventually_sync,
                lambda: (
                    "ok" in str(master.call("CLUSTER", "INFO")).split("cluster_state", 1)[1][:8]
                ),
                within=10.0,
            )
        use(settings, monkeypatch, environment)
        assert await works()
