"""Where Redis is, as the environment says it: one server, Sentinels that know one, or a Cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from project import env

SCHEMES = ("redis", "rediss", "unix")
DEFAULT_SERVICE = "mymaster"  # as in Redis' own sample configuration
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 2.5
SENTINEL_SECONDS = 1.0  # several may have to be asked within one call's limit
MAX_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What CACHES and CHANNEL_LAYERS are made from."""

    url: str
    prefix: str
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    cluster: bool = False


def read(default_url: str) -> Topology:
    """Read the environment; raises ImproperlyConfigured with what is wrong and what to do."""
    given = env.text("REDIS_URL")
    sentinels = tuple(_address(word) for word in env.words("REDIS_SENTINELS"))
    service, cluster = env.text("REDIS_SENTINEL_SERVICE"), env.flag("REDIS_CLUSTER")
    if service and not sentinels:
        raise ImproperlyConfigured(
            f"REDIS_SENTINEL_SERVICE={service!r} needs REDIS_SENTINELS: the Sentinels' addresses, "
            "host:port,host:port."
        )
    if cluster and sentinels:
        raise ImproperlyConfigured(
            "REDIS_CLUSTER and REDIS_SENTINELS are both set: Redis is either a Cluster or watched "
            "by Sentinels. Unset one of them."
        )
    if cluster and not given:
        raise ImproperlyConfigured("REDIS_CLUSTER=1 needs REDIS_URL to name any one node.")
    url = given or ("redis://" if sentinels else default_url)
    _check_url(url, is_one_server=not (cluster or sentinels), is_cluster=cluster)
    prefix = env.text("REDIS_KEY_PREFIX", "signalbox")
    if "{" in prefix or "}" in prefix:
        raise ImproperlyConfigured(
            f"REDIS_KEY_PREFIX={prefix!r} must not contain braces: they mark Cluster's hash tags."
        )
    return Topology(
        url=url,
        prefix=prefix,
        sentinels=sentinels,
        service=(service or DEFAULT_SERVICE) if sentinels else "",
        cluster=cluster,
    )


def _address(word: str) -> tuple[str, int]:
    host, _, port = word.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) <= MAX_PORT):
        raise ImproperlyConfigured(
            f"REDIS_SENTINELS: {word!r} is not host:port. Several are separated by commas: "
            "sentinel-1:26379,sentinel-2:26379."
        )
    return host, int(port)


def _check_url(url: str, *, is_one_server: bool, is_cluster: bool) -> None:
    # Never shows the URL: there may be a password in it.
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ImproperlyConfigured(f"REDIS_URL cannot be read: {error}.") from None
    if parts.scheme not in SCHEMES:
        raise ImproperlyConfigured("REDIS_URL must begin with redis://, rediss:// or unix://.")
    if parts.scheme == "unix" and not is_one_server:
        raise ImproperlyConfigured(
            "REDIS_URL names a Unix socket, which Sentinels and Cluster nodes do not have: use "
            "redis:// or rediss://."
        )
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not (database.isascii() and database.isdigit()):
        raise ImproperlyConfigured("REDIS_URL ends with a database that is not a number.")
    if is_cluster and database not in {"", "0"}:
        raise ImproperlyConfigured("REDIS_URL names a database, and a Cluster has only number 0.")
    if is_cluster and not parts.hostname:
        raise ImproperlyConfigured("REDIS_CLUSTER=1 needs REDIS_URL to name any one node.")


def caches(topology: Topology) -> dict[str, Any]:
    """Return CACHES: the one place where Redis is configured."""
    options: dict[str, Any] = {
        "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
        "SOCKET_CONNECT_TIMEOUT": CONNECT_SECONDS,
        "SOCKET_TIMEOUT": ANSWER_SECONDS,
        "CONNECTION_POOL_KWARGS": {"max_connections": 100},
    }
    default: dict[str, Any] = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": topology.url,
        "KEY_PREFIX": topology.prefix,
        "OPTIONS": options,
    }
    if topology.cluster:
        # Django's cache shares the engine's slot, so that get_many and the like work.
        default["KEY_FUNCTION"] = "tasks_app.store.keys.cache_key"
        options["CONNECTION_FACTORY"] = "tasks_app.store.cluster.ClusterFactory"
    elif topology.sentinels:
        default["LOCATION"] = _service_url(topology)
        options |= {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
            "SENTINELS": list(topology.sentinels),
            "SENTINEL_KWARGS": _sentinel_options(topology),
        }
        # A name taken from a URL would be in small letters; and redis-py forgets about Sentinels
        # when the URL says rediss://.
        options["CONNECTION_POOL_KWARGS"] |= {
            "service_name": topology.service,
            **({"ssl": True} if urlsplit(topology.url).scheme == "rediss" else {}),
        }
    return {"default": default}


def _service_url(topology: Topology) -> str:
    """Return the URL with the service in the place of the host, as django-redis wants it."""
    parts = urlsplit(topology.url)
    user, at, _ = parts.netloc.rpartition("@")
    named = SplitResult(
        "redis", f"{user}{at}{quote(topology.service)}", parts.path, parts.query, ""
    )
    return named.geturl()


def _sentinel_options(topology: Topology) -> dict[str, Any]:
    """Return how the Sentinels themselves are talked to: as their default user, by TLS if Redis is.

    The URL's password is theirs too; without one of their own they accept any. The URL's user name
    is not: it is Redis'.
    """
    parts = urlsplit(topology.url)
    options: dict[str, Any] = {
        "socket_connect_timeout": SENTINEL_SECONDS,
        "socket_timeout": SENTINEL_SECONDS,
        "retry": None,  # else redis-py asks a dead one ten times before it asks the next
    }
    if parts.password:
        options |= {"username": "default", "password": unquote(parts.password)}
    return options | _tls(parts)


def _tls(parts: SplitResult) -> dict[str, Any]:
    if parts.scheme != "rediss":
        return {}
    asked = {name: value for name, value in parse_qsl(parts.query) if name.startswith("ssl_")}
    options: dict[str, Any] = {"ssl": True, **asked}
    if "ssl_check_hostname" in asked:
        options["ssl_check_hostname"] = asked["ssl_check_hostname"].lower() in env.TRUE
    return options


def channel_layers(topology: Topology) -> dict[str, Any]:
    """Return CHANNEL_LAYERS: the pub/sub kind, since the other's scripts touch several slots.

    In a Cluster it talks to the node that REDIS_URL names; every node passes messages on.
    """
    host: str | dict[str, Any] = topology.url
    if topology.sentinels:
        parts = urlsplit(topology.url)
        host = {
            "sentinels": list(topology.sentinels),
            "master_name": topology.service,
            "sentinel_kwargs": _sentinel_options(topology),
            "username": unquote(parts.username or "") or None,
            "password": unquote(parts.password or "") or None,
            "db": int(parts.path.strip("/") or 0),
            **_tls(parts),
        }
    return {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [host], "prefix": f"{topology.prefix}:layer:"},
        }
    }
