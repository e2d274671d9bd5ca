"""A primary, its replica, and the proxy that clients use: a failover sends only new connections to the other server."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis

from local.valkey import Valkey
from tests.support.redis_proxy import RedisProxy
from tests.support.running import wait_until


class Pair:
    """Two servers. `url` is the value for REDIS_URL, `primary` a connection to the server that is the primary now."""

    def __init__(self, servers: list[tuple[redis.Redis, str, RedisProxy]], proxy: RedisProxy) -> None:
        self._servers = servers
        self._proxy = proxy
        self.url = proxy.url

    @property
    def primary(self) -> redis.Redis:
        """The server that is the primary now."""
        return self._servers[0][0]

    def follow(self) -> None:
        """Make the second server the replica of the first, and wait until it has all data."""
        (primary, _, way_to_primary), (replica, *_) = self._servers
        replica.replicaof("127.0.0.1", way_to_primary.port)
        linked = {"role": "slave", "master_link_status": "up"}
        wait_until(lambda: linked.items() <= replica.info("replication").items(), what="the replica")
        primary.set("last-before-failover", 1)
        wait_until(lambda: replica.exists("last-before-failover"), what="the replica's data")

    def fail_over(self) -> None:
        """Exchange the servers. Open connections stay with the former primary, which is a replica from now on."""
        self._servers.reverse()
        new, path, _ = self._servers[0]
        new.replicaof("NO", "ONE")
        self._proxy.send_new_to(path)
        self.follow()


@contextmanager
def pair(directory: Path) -> Iterator[Pair]:
    """Run both servers and the proxies."""
    with ExitStack() as running:
        servers = []
        for name in ("first", "second"):
            valkey = running.enter_context(Valkey(directory / name))
            path = urlsplit(valkey.url).path
            connection = running.enter_context(redis.Redis.from_url(valkey.url))
            connection.config_set("repl-diskless-sync-delay", 0)
            servers.append((connection, path, running.enter_context(RedisProxy(path))))
        both = Pair(servers, running.enter_context(RedisProxy(servers[0][1])))
        both.follow()
        yield both
