"""Where Redis is, from the environment: what each topology becomes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from project import topology
from tests.test_settings import Copy

NAMES = (
    "REDIS_URL", "REDIS_SENTINELS", "REDIS_SENTINEL_SERVICE", "REDIS_CLUSTER", "REDIS_KEY_PREFIX",
)  # fmt: skip
DEFAULT = "unix:///var/redis.sock"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    def under(**environment: str) -> topology.Topology:
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return topology.read(DEFAULT)

    return under


def test_without_any_it_is_the_default(read: Any) -> None:
    found = read()
    assert (found.url, found.prefix, found.sentinels, found.cluster) == (
        DEFAULT, "signalbox", (), False,
    )  # fmt: skip


def test_sentinels_by_name_and_address(read: Any) -> None:
    found = read(REDIS_SENTINELS="one:26379, [::1]:26380,", REDIS_SENTINEL_SERVICE="Signals")
    assert found.sentinels == (("one", 26379), ("::1", 26380))
    assert found.service == "Signals"
    assert read(REDIS_SENTINELS="one:26379").service == "mymaster"


def test_credentials_and_tls_behind_sentinels(read: Any) -> None:
    found = read(
        REDIS_SENTINELS="one:26379",
        REDIS_SENTINEL_SERVICE="Signals",
        REDIS_URL="rediss://me:p%40ss@any:1/3?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
    )
    cache = topology.caches(found)["default"]
    # Not rediss://: redis-py would forget the Sentinels; the pool is told to use TLS.
    assert cache["LOCATION"].startswith("redis://me:p%40ss@Signals/3?ssl_ca_certs=/ca.pem")
    options = cache["OPTIONS"]
    assert options["CONNECTION_POOL_KWARGS"]["ssl"] is True
    assert options["CONNECTION_POOL_KWARGS"]["service_name"] == "Signals"
    asked = options["SENTINEL_KWARGS"]
    assert (asked["username"], asked["password"]) == ("default", "p@ss")
    assert (asked["ssl"], asked["ssl_check_hostname"]) == (True, False)
    [host] = topology.channel_layers(found)["default"]["CONFIG"]["hosts"]
    assert (host["master_name"], host["username"], host["password"]) == ("Signals", "me", "p@ss")
    assert (host["db"], host["ssl"], host["ssl_ca_certs"]) == (3, True, "/ca.pem")


def test_a_clusters_layer_talks_to_the_node_of_the_url(read: Any) -> None:
    found = read(REDIS_CLUSTER="1", REDIS_URL="redis://node:7000/0")
    [host] = topology.channel_layers(found)["default"]["CONFIG"]["hosts"]
    assert host == "redis://node:7000/0"


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"REDIS_SENTINEL_SERVICE": "x"}, "needs REDIS_SENTINELS"),
        (
            {"REDIS_SENTINELS": "one:26379", "REDIS_CLUSTER": "1", "REDIS_URL": "redis://x"},
            "both set",
        ),
        ({"REDIS_SENTINELS": "one"}, "'one' is not host:port"),
        ({"REDIS_SENTINELS": "one:26379,:26379"}, "':26379' is not host:port"),
        ({"REDIS_SENTINELS": "one:port"}, "'one:port' is not host:port"),
        ({"REDIS_SENTINELS": "one:65536"}, "is not host:port"),
        ({"REDIS_CLUSTER": "1"}, "needs REDIS_URL"),
        ({"REDIS_CLUSTER": "1", "REDIS_URL": "redis://"}, "needs REDIS_URL"),
        ({"REDIS_CLUSTER": "1", "REDIS_URL": "redis://x/3"}, "only number 0"),
        ({"REDIS_CLUSTER": "1", "REDIS_URL": "unix:///x"}, "Unix socket"),
        ({"REDIS_SENTINELS": "one:1", "REDIS_URL": "unix:///x"}, "Unix socket"),
        ({"REDIS_CLUSTER": "perhaps"}, "use one of 1/0"),
        ({"REDIS_URL": "http://x"}, "must begin with redis://"),
        ({"REDIS_URL": "redis-host:6379"}, "must begin with redis://"),
        ({"REDIS_URL": "redis://x:port"}, "cannot be read"),
        ({"REDIS_URL": "redis://x/three"}, "not a number"),
        ({"REDIS_KEY_PREFIX": "{x}"}, "must not contain braces"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(
    read: Any, environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=sentence):
        read(**environment)


def test_a_refusal_does_not_show_the_password(read: Any) -> None:
    for url in ("redis://:secret@x:port", "http://:secret@x", "redis://:secret@x/three"):
        with pytest.raises(ImproperlyConfigured) as refused:
            read(REDIS_URL=url)
        assert "secret" not in str(refused.value)


def test_the_start_is_refused_and_sentinels_turn_the_embedded_redis_off(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    assert "is not host:port" in copy.refusal(SECRET_KEY="x", REDIS_SENTINELS="one")
    found = copy.read("EMBEDDED_REDIS", SECRET_KEY="x", REDIS_SENTINELS="one:26379")
    assert found == {"EMBEDDED_REDIS": False}
