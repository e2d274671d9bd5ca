"""While Redis hangs, one command a second is sent; once it answers, all are."""

import socket

import pytest
import redis

from config.redis import PAUSE_S, Breaker, GuardedRedis, NotAskedError
from operations.storage.records import Records


def test_everybody_asks_while_redis_answers() -> None:
    breaker = Breaker()
    assert all(breaker.admits(now_s) for now_s in (0.0, 0.0, 0.1))


def test_after_a_timeout_nobody_asks_for_a_second_and_then_one_does() -> None:
    breaker = Breaker()
    breaker.timed_out(10.0)
    assert [breaker.admits(10.0), breaker.admits(10.0 + PAUSE_S - 0.01)] == [False, False]
    assert [breaker.admits(10.0 + PAUSE_S) for _ in range(3)] == [True, False, False]


def test_one_who_tries_and_never_comes_back_does_not_stop_the_next() -> None:
    breaker = Breaker()
    breaker.timed_out(10.0)
    assert breaker.admits(11.5)
    assert not breaker.admits(12.4)
    assert breaker.admits(12.5)


def test_an_answer_lets_everybody_ask_again() -> None:
    breaker = Breaker()
    breaker.timed_out(10.0)
    assert breaker.admits(11.0)
    breaker.answered()
    assert all(breaker.admits(11.0) for _ in range(3))


def test_a_group_is_not_asked_for_after_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = GuardedRedis(port=silent.getsockname()[1], socket_timeout=0.2, retry=None, protocol=2)
        with pytest.raises(redis.TimeoutError):
            client.get("anything")
        with pytest.raises(NotAskedError):
            Records(client).group("build 7")
        client.close()
