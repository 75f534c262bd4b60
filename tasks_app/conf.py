"""The engine's settings, read from Django's when they are used, so that overrides in tests work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

MAX_OUTPUT_BYTES = 8 * 1024 * 1024  # text and events of one attempt, and its result
HEARTBEAT_SECONDS = 1.0
FLUSH_SECONDS = 0.03  # output is coalesced to about one write per two display frames


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisConfig:
    """Where Redis is: taken from CACHES["default"], the one place where it is configured."""

    url: str
    prefix: str
    cluster: bool
    connect_timeout: float
    timeout: float
    # With Sentinels the URL's host is only a name: they are asked where the service's master is.
    sentinels: tuple[tuple[str, int], ...] = ()
    sentinel_options: Mapping[str, Any] = field(default_factory=dict)
    service: str = ""
    tls: bool = False


def redis_config() -> RedisConfig:
    cache: dict[str, Any] = settings.CACHES["default"]
    location = cache["LOCATION"]
    options = cache.get("OPTIONS", {})
    pool = options.get("CONNECTION_POOL_KWARGS", {})
    return RedisConfig(
        url=location if isinstance(location, str) else location[0],
        prefix=cache.get("KEY_PREFIX") or "signalbox",
        cluster=bool(getattr(settings, "REDIS_CLUSTER", False)),
        connect_timeout=float(options.get("SOCKET_CONNECT_TIMEOUT", 2.0)),
        timeout=float(options.get("SOCKET_TIMEOUT", 2.5)),
        sentinels=tuple((host, port) for host, port in options.get("SENTINELS", ())),
        sentinel_options=options.get("SENTINEL_KWARGS", {}),
        service=pool.get("service_name", ""),
        tls=bool(pool.get("ssl", False)),
    )


def lease_seconds() -> float:
    return float(getattr(settings, "TASK_LEASE_SECONDS", 15.0))


def worker_silence_seconds() -> float:
    """Return after how many seconds without a heartbeat a worker counts as dead.

    However long leases are: readiness must turn red within 20 s of the last worker's death.
    """
    return min(lease_seconds(), 15.0)


def retention_seconds() -> float:
    return float(getattr(settings, "TASK_RETENTION_SECONDS", 86400.0))


def max_payload_bytes() -> int:
    return int(getattr(settings, "TASK_MAX_PAYLOAD_BYTES", 1024 * 1024))


def max_deliveries() -> int:
    return int(getattr(settings, "TASK_MAX_DELIVERIES", 3))


def cleanup_lock_seconds() -> float:
    return float(getattr(settings, "CLEANUP_LOCK_SECONDS", 60.0))


def thread_pool_size() -> int:
    return int(getattr(settings, "THREAD_POOL_SIZE", 8))
