"""A ping of the dead man's switch means that the clock ticks and Redis answers; without either, no ping."""

import os
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from rq import suspension

from config.settings import Settings, load
from local.valkey import Valkey
from tests.support.receiver import Receiver
from tests.support.running import wait_until
from workers import runtime as workers_runtime
from workers.clock import TICK_S, Clock
from workers.runtime import Runtime

PATH = "/alive"
SOME_TICKS_S = 2.5 * TICK_S


@pytest.fixture
def clock(start_worker: Callable[..., Runtime], own_valkey: Valkey, receiver: Receiver) -> Iterator[Clock]:
    """Return the clock of a worker with its own server, and a dead man's switch that is pinged at every tick."""
    running = Clock(start_worker(REDIS_URL=own_valkey.url, OPWATCH_HEARTBEAT_URL=receiver.url(PATH)), report_every_s=0)
    yield running
    running.stop()


def pings(receiver: Receiver) -> int:
    return sum(request.path == PATH for request in receiver.requests)


def more(receiver: Receiver) -> bool:
    before = pings(receiver)
    return wait_until(lambda: pings(receiver) > before, what="another ping")


def test_pings_stop_while_redis_is_away_and_come_back_with_it(
    clock: Clock, own_valkey: Valkey, receiver: Receiver
) -> None:
    clock.start()
    assert more(receiver)
    own_valkey.kill()
    before = pings(receiver)
    time.sleep(SOME_TICKS_S)
    assert pings(receiver) <= before + 1  # one in transit may still arrive
    own_valkey.start()
    assert more(receiver)


def test_pings_stop_with_the_clock(clock: Clock, receiver: Receiver) -> None:
    clock.start()
    assert more(receiver)
    clock.stop()
    before = pings(receiver)
    time.sleep(SOME_TICKS_S)
    assert pings(receiver) <= before + 1


def test_a_tick_that_redis_refuses_is_no_ping_and_not_the_clocks_end(
    clock: Clock, own_valkey: Valkey, receiver: Receiver
) -> None:
    with redis.Redis.from_url(own_valkey.url) as connection:
        connection.set("opwatch:due", "no sorted set")
        clock.start()
        time.sleep(SOME_TICKS_S)
        assert pings(receiver) == 0
        connection.delete("opwatch:due")
        assert more(receiver)


def test_no_ping_comes_while_rounds_are_held_back(clock: Clock, own_valkey: Valkey, receiver: Receiver) -> None:
    with redis.Redis.from_url(own_valkey.url) as connection:
        suspension.suspend(connection)
        clock.start()
        wait_until(lambda: connection.exists("rq:opwatch-check"), what="the clock's check")
        time.sleep(SOME_TICKS_S)
        assert pings(receiver) == 0
        suspension.resume(connection)
        assert more(receiver)


def test_a_tick_that_fails_in_an_unforeseen_way_does_not_end_the_clock(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, own_valkey: Valkey, receiver: Receiver
) -> None:
    assert settings.heartbeat_url is None
    monkeypatch.setenv("REDIS_URL", own_valkey.url)
    monkeypatch.setenv("OPWATCH_HEARTBEAT_URL", receiver.url(PATH))
    runtime = workers_runtime.start(load(os.environ))
    runtime.loop.drain(1.0)  # closed: every task of a tick fails
    clock = Clock(runtime, report_every_s=0)
    clock.start()
    with redis.Redis.from_url(own_valkey.url) as connection:
        wait_until(lambda: connection.delete("opwatch:workers"), what="the first beat")
        wait_until(lambda: connection.exists("opwatch:workers"), what="another beat")
    assert pings(receiver) == 0
    clock.stop()
    runtime.connection.close()
