"""The shared budget: never more than was allowed, whoever asks, and not much less either."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.valkey import Valkey
from operations.budget import GOOD_FOR_S, Allowance, Budget
from tests.integration.bench import connected

BUCKET = "opwatch:budget:default"
MINUTE_S = 60.0


def server_time(connection: redis.Redis) -> float:
    """Tell Redis' time."""
    seconds, microseconds = connection.time()
    return float(seconds) + float(microseconds) / 1e6


@pytest.mark.parametrize("requests_per_minute", [2, 9, 10, 50, 60, 1000, 100_000])
def test_a_minute_never_sees_more_than_it_may(requests_per_minute: int) -> None:
    size = Allowance.of(requests_per_minute)
    assert 1 <= size.capacity <= 5
    assert size.per_second > 0
    assert size.capacity + (MINUTE_S + GOOD_FOR_S) * size.per_second == pytest.approx(requests_per_minute)


@pytest.mark.parametrize(("requests_per_minute", "given_out"), [(60, 1.0), (600, 1.0), (6000, 0.5)])
def test_many_threads_get_no_more_than_the_bucket_gives(
    valkey: Valkey, requests_per_minute: int, given_out: float
) -> None:
    with connected(valkey.url) as connection:
        budget = Budget(connection, requests_per_minute)
        size = budget.allowance
        began, until_s = server_time(connection), time.monotonic() + 1.5

        def spend_greedily(_: int) -> int:
            granted = 0
            while time.monotonic() < until_s:
                granted += budget.spend("default", 3)[0]
            return granted

        with ThreadPoolExecutor(8) as pool:
            granted = sum(pool.map(spend_greedily, range(8)))
        elapsed_s = server_time(connection) - began
        assert granted <= size.capacity + size.per_second * elapsed_s
        # Nor is anything wasted: all but the last fraction is given out. (A busy machine lets a bucket that is full
        # again after 50 ms run over.)
        assert granted >= int((size.capacity + size.per_second * 1.45) * given_out) - 1


def test_accounts_have_a_budget_each(connection: redis.Redis) -> None:
    budget = Budget(connection, 60)
    assert budget.spend("default", 9)[0] == 5
    assert budget.spend("other", 9)[0] == 5
    assert budget.spend("default", 1)[0] == 0


def test_another_worker_finds_the_same_bucket(connection: redis.Redis) -> None:
    assert Budget(connection, 60).spend("default", 4)[0] == 4
    assert Budget(connection, 60).spend("default", 4)[0] == 1


def test_it_says_how_long_to_wait(connection: redis.Redis) -> None:
    budget = Budget(connection, 600)  # 9.6 a second
    granted, wait_s = budget.spend("default", 9)
    assert granted == 5
    assert 0 < wait_s <= 0.105
    time.sleep(wait_s)
    assert budget.spend("default", 1)[0] == 1


def test_a_429_empties_it_and_halves_its_pace(connection: redis.Redis) -> None:
    slow = Budget(connection, 60)
    slow.slow_down("other", None)
    assert slow.spend("other", 9)[0] == 0
    budget = Budget(connection, 6000)  # 99.9 a second
    began = server_time(connection)
    budget.slow_down("default", None)
    granted, until_s = 0, time.monotonic() + 1.0
    while time.monotonic() < until_s:
        granted += budget.spend("default", 9)[0]
    elapsed_s = server_time(connection) - began
    assert granted <= budget.allowance.per_second / 2 * elapsed_s + 1
    assert granted >= budget.allowance.per_second / 2 * 0.5  # a busy machine lets the small bucket run over


def test_nothing_is_granted_before_the_time_a_429_named(connection: redis.Redis) -> None:
    budget = Budget(connection, 6000)
    began = server_time(connection)
    budget.slow_down("default", 20.0)
    granted, wait_s = budget.spend("default", 1)
    asked_at = server_time(connection)
    assert granted == 0
    assert began + 20.0 <= asked_at + wait_s
    assert wait_s < 20.1
    later(connection, 20.2)
    assert budget.spend("default", 99)[0] == 5


def test_the_pace_is_back_after_a_minute(connection: redis.Redis) -> None:
    budget = Budget(connection, 60)  # 55 a minute
    budget.slow_down("default", None)
    later(connection, 60.0)
    assert budget.spend("default", 99)[0] == 5
    later(connection, 1.2)
    assert budget.spend("default", 99)[0] == 1  # 1.1 of them, which is less than 2 for another second


def later(connection: redis.Redis, seconds: float) -> None:
    """Let so much time pass for the bucket: everything it remembers moves into the past."""
    remembered: Any = connection.hgetall(BUCKET)
    for name in (b"at", b"slow_until"):
        if name in remembered:
            connection.hset(BUCKET, name.decode(), f"{float(remembered[name]) - seconds:.6f}")


steps = st.lists(
    st.tuples(
        st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 90)),  # seconds until somebody asks
        st.integers(0, 12),  # for so many
        st.sampled_from([None] * 9 + [0.0, 5.0]),  # and perhaps hears of a 429, with a time to wait
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(requests_per_minute=st.integers(2, 120), script=steps)
def test_in_no_minute_more_is_granted_than_allowed(
    valkey_server: Valkey, requests_per_minute: int, script: Any
) -> None:
    with connected(valkey_server.url) as connection:
        connection.delete(BUCKET)
        budget = Budget(connection, requests_per_minute)
        began_s = time.monotonic()
        times = list(accumulate(pause_s for pause_s, _, _ in script))
        grants = []
        for (pause_s, wanted, refused_for_s), at in zip(script, times, strict=True):
            later(connection, pause_s)
            granted, _ = budget.spend("default", wanted)
            assert 0 <= granted <= wanted
            # Real time passes, too, however little; it is on the safe side to count it as none.
            grants.append((at + time.monotonic() - began_s, granted))
            if refused_for_s is not None:
                budget.slow_down("default", refused_for_s)
        for start, _ in grants:
            assert sum(granted for at, granted in grants if start <= at < start + MINUTE_S) <= requests_per_minute
