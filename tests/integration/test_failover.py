"""After a failover, old connections stay open to a replica: each answer that says so replaces them."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.redis import WrongServerError, connect
from config.settings import Settings, load
from operations.storage.store import Store
from tests.integration.bench import RETENTION, tracked
from tests.support.failover import Pair, pair
from tests.support.running import wait_until

TIMEOUT_S = 10.0
WRITES_IN_A_BATCH = "return {1, redis.pcall('SET', KEYS[1], 1)}"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Pair]:
    with pair(tmp_path) as running:
        yield running


@pytest.fixture
def connection(settings: Settings, monkeypatch: pytest.MonkeyPatch, servers: Pair) -> Iterator[redis.Redis]:
    """Connect through the proxy, as the processes do."""
    assert settings.redis_url
    monkeypatch.setenv("REDIS_URL", servers.url)
    with connect(load(os.environ), timeout_s=TIMEOUT_S) as opened:
        yield opened


def pipelined(connection: redis.Redis) -> None:
    pipe = connection.pipeline(transaction=False)
    pipe.get("written")
    pipe.set("written", 1)
    pipe.execute(raise_on_error=False)


def executed(connection: redis.Redis) -> None:
    pipe = connection.pipeline()
    pipe.exists("written")
    pipe.eval(WRITES_IN_A_BATCH, 1, "written")
    pipe.execute()


@pytest.mark.parametrize(
    "write",
    [
        lambda connection: connection.set("written", 1),
        lambda connection: connection.eval("return redis.call('SET', KEYS[1], 1)", 1, "written"),
        lambda connection: connection.eval(WRITES_IN_A_BATCH, 1, "written"),
        lambda connection: connection.eval("return {{{redis.pcall('SET', KEYS[1], 1)}}}", 1, "written"),
        pipelined,
        executed,
    ],
    ids=["command", "script", "batch", "deep", "pipeline", "transaction"],
)
def test_a_write_reaches_the_new_primary_at_once_both_ways(
    connection: redis.Redis, servers: Pair, write: Callable[[redis.Redis], None]
) -> None:
    for _ in range(2):
        write(connection)
        servers.fail_over()
        servers.primary.delete("written")
        write(connection)
        assert servers.primary.exists("written")


def test_idle_connections_are_replaced_with_the_first_that_is_refused(connection: redis.Redis, servers: Pair) -> None:
    held = [connection.connection_pool.get_connection() for _ in range(3)]
    for each in held:
        connection.connection_pool.release(each)
    servers.fail_over()
    connection.set("written", 1)
    ids = {info["id"] for info in servers.primary.client_list() if info["name"] == "opwatch"}
    for each in [connection.connection_pool.get_connection() for _ in range(3)]:
        each.send_command("CLIENT", "ID")  # type: ignore[no-untyped-call]
        ids.discard(str(each.read_response()))
    assert not ids


def test_a_blocked_wait_for_a_job_goes_on_at_the_new_primary(connection: redis.Redis, servers: Pair) -> None:
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(connection.blpop(["jobs"], timeout=60)))
    waiting.start()
    wait_until(lambda: servers.primary.info("clients")["blocked_clients"], what="the wait")
    servers.fail_over()
    servers.primary.rpush("jobs", "one")
    waiting.join(TIMEOUT_S)
    assert [*map(tuple, found)] == [(b"jobs", b"one")]


def test_a_replica_without_another_primary_is_said(connection: redis.Redis, servers: Pair) -> None:
    servers.primary.replicaof("127.0.0.1", 1)
    with pytest.raises(WrongServerError, match="read only replica"):
        connection.set("written", 1)
    servers.primary.config_set("replica-serve-stale-data", "no")
    with pytest.raises(WrongServerError):
        connection.get("written")
    servers.primary.replicaof("NO", "ONE")
    assert tracked(Store(connection, retention=RETENTION), 24 * "a")
