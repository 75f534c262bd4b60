"""The synchronous client of a Cluster, as a connection factory of django-redis, which has none."""

from __future__ import annotations

import threading
from typing import Any

from django_redis.pool import ConnectionFactory
from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.retry import Retry

_clients: dict[str, RedisCluster] = {}
_making = threading.Lock()


class ClusterFactory(ConnectionFactory):  # type: ignore[misc] # django-redis is untyped to us
    """Gives one `RedisCluster` per URL and process; CACHES names this class."""

    def connect(self, url: str) -> RedisCluster:
        """Return the client; raises redis-py's errors when no node answers."""
        with _making:
            if url not in _clients:
                _clients[url] = self._make(url)
            return _clients[url]

    def _make(self, url: str) -> RedisCluster:
        options: dict[str, Any] = self.make_connection_params(url) | self.pool_cls_kwargs
        del options["url"], options["parser_class"]  # RedisCluster's parser knows redirections
        # A command that fails is repeated once, after the slots were read again.
        retry = Retry(NoBackoff(), 1)
        return RedisCluster.from_url(url, require_full_coverage=False, retry=retry, **options)

    def disconnect(self, connection: RedisCluster) -> None:
        connection.disconnect_connection_pools()  # type: ignore[no-untyped-call] # redis-py


def node_of(connection: Redis | RedisCluster, key: str) -> Redis:
    """Return the client of the server that holds the key."""
    if not isinstance(connection, RedisCluster):
        return connection
    node: Redis = connection.get_node_from_key(key).redis_connection  # type: ignore[no-untyped-call] # redis-py
    return node


def look_again(connection: Redis | RedisCluster) -> bool:
    """Forget where the master is; answer whether it may be elsewhere now."""
    if isinstance(connection, RedisCluster):
        connection.nodes_manager.initialize()
        return True
    # Of a Sentinels' pool each new connection asks them.
    connection.connection_pool.disconnect(inuse_connections=False)
    return hasattr(connection.connection_pool, "sentinel_manager")
