"""Sharing the account with others: every request spends a token, and all workers obey a 429, whatever it asks."""

import queue
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urlsplit

import pytest
import redis

from config.settings import Settings
from local.valkey import Valkey
from operations.errors import OpwatchError
from operations.model import State
from operations.storage.budget import GOOD_FOR_S, LONGEST_PAUSE_S, SHORTEST_PAUSE_S, Budget
from operations.storage.store import Store
from standin import faults
from standin.accounts import SlidingWindow
from standin.api import ScalingoApi
from standin.replies import Reply
from tests.integration.bench import found, looked_at, tracked
from tests.integration.test_budget import BUCKET, later, server_time
from tests.support.redis_proxy import RedisProxy
from tests.support.running import PATIENCE_S, wait_until
from workers import runtime as workers_runtime
from workers.look import look_round
from workers.runtime import Runtime

EXCHANGE = "/v1/tokens/exchange"
A_MINUTE = {"SCALINGO_REQUESTS_PER_MINUTE": "60"}


@pytest.fixture
def jammed() -> Iterator[str]:
    """Return the URL of a server with a full backlog: connections to it wait."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        with suppress(TimeoutError):
            while True:
                waiting = opened.enter_context(socket.socket())
                waiting.settimeout(0.3)
                waiting.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def asked(running: Runtime, store: Store, identity: str, granted_at_s: float) -> str | OpwatchError:
    """Look at an operation as a round does. Returns its status or the error."""
    ended: queue.Queue[str | OpwatchError] = queue.Queue()
    tracking = found(store, identity).tracking

    async def ask() -> None:
        try:
            ended.put((await running.client.look(tracking, granted_at_s=granted_at_s, within_s=10.0)).status)
        except OpwatchError as error:
            ended.put(error)

    running.loop.submit(ask)
    return ended.get(timeout=PATIENCE_S)


def looks(scalingo: ScalingoApi) -> int:
    """Count the requests except sign-ins."""
    return sum(seen.path != EXCHANGE for seen in scalingo.requests)


class TestTokens:
    """Every request spends a token, and is sent while that is valid."""

    def test_every_request_takes_one_those_that_sign_in_too(
        self, start_worker: Callable[..., Runtime], connection: redis.Redis, store: Store, scalingo: ScalingoApi
    ) -> None:
        running = start_worker(**A_MINUTE)
        size = running.budget.allowance
        began_s = server_time(connection)
        identity = tracked(store, scalingo.operation(duration_s=None).id)
        look_round()
        looked_at(store, identity)
        scalingo.expire_bearers()
        store.update(found(store, identity), lambda t: replace(t, next_look_at=store.records.now(), hurried=True))
        look_round()
        looked_at(store, identity, polls=2)
        assert [seen.status for seen in scalingo.requests] == [200, 200, 401, 200, 200]
        left = running.budget.balance("default").tokens
        assert left <= size.capacity - 5 + size.per_second * (server_time(connection) - began_s)

    def test_a_token_that_took_long_to_come_is_not_used(
        self,
        start_worker: Callable[..., Runtime],
        connection: redis.Redis,
        valkey: Valkey,
        store: Store,
        scalingo: ScalingoApi,
    ) -> None:
        with RedisProxy(urlsplit(valkey.url).path) as proxy:
            running = start_worker(**A_MINUTE, REDIS_URL=proxy.url)
            identity = tracked(store, scalingo.operation().id)
            assert asked(running, store, identity, time.monotonic()) == "done"  # signs in
            began_s = server_time(connection)
            connection.hset(BUCKET, mapping={"tokens": "3", "at": f"{began_s:.6f}"})
            proxy.delay_s = GOOD_FOR_S + 0.2
            proxy.watch(lambda chunk: b"EVALSHA" in chunk, lambda: setattr(proxy, "delay_s", 0.0))
            assert asked(running, store, identity, float("-inf")) == "done"
            left = running.budget.balance("default").tokens
            assert left <= 3 - 2 + running.budget.allowance.per_second * (server_time(connection) - began_s)

    def test_a_request_that_cannot_leave_while_its_token_is_good_is_not_made(
        self, start_worker: Callable[..., Runtime], store: Store, jammed: str
    ) -> None:
        running = start_worker(**A_MINUTE, SCALINGO_API_URL=jammed)
        error = asked(running, store, tracked(store, "a" * 24), time.monotonic())
        assert str(error) == "no answer in time"


class TestRefusals:
    """The API answers 429."""

    def test_a_burst_of_them_halves_the_share_once_and_is_logged_once(
        self, settings: Settings, store: Store, scalingo: ScalingoApi, capsys: pytest.CaptureFixture[str]
    ) -> None:
        running = workers_runtime.start(settings)
        signed_in(store, scalingo)
        scalingo.fault(faults.rate_limited(), app="busy-shop", times=None)
        refused = [tracked(store, scalingo.operation("busy-shop").id, app="busy-shop") for _ in range(5)]
        look_round()
        for identity in refused:
            assert "429" in (looked_at(store, identity).last_error or "")
        running.finish(5.0)  # all were applied
        assert running.budget.balance("default").share == 0.5
        running.close()
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "slowed down by a 429" in line]
        assert all(part in line for part in ("warning", "default", "0.5", "resumes_at"))

    @pytest.mark.usefixtures("runtime")
    def test_what_is_under_way_meanwhile_is_taken_in(self, store: Store, scalingo: ScalingoApi) -> None:
        signed_in(store, scalingo)
        slow, busy = scalingo.operation(), scalingo.operation()
        scalingo.fault(faults.slow(1), operation_id=slow.id)
        scalingo.fault(faults.rate_limited(retry_after_s=3600), operation_id=busy.id)
        under_way, refused = tracked(store, slow.id), tracked(store, busy.id)
        look_round()
        assert looked_at(store, refused).state is State.TRACKING
        assert looked_at(store, under_way).state is State.SUCCEEDED

    @pytest.mark.parametrize(
        ("said", "least_s", "most_s"),
        [
            (lambda _: "3600", LONGEST_PAUSE_S, LONGEST_PAUSE_S),
            (lambda now: format_datetime(now + timedelta(seconds=100), usegmt=True), 90, 100),
            (lambda _: "Wed, 01 Jan 2098 00:00:00 GMT", LONGEST_PAUSE_S, LONGEST_PAUSE_S),
            (lambda _: "Mon, 01 Jan 2001 00:00:00 GMT", SHORTEST_PAUSE_S, SHORTEST_PAUSE_S),
            (lambda _: "in a while", SHORTEST_PAUSE_S, SHORTEST_PAUSE_S),
        ],
        ids=["an hour", "a date", "a date far ahead", "a date gone by", "words"],
    )
    def test_nobody_asks_before_the_time_it_says_and_everybody_after_five_minutes(
        self,
        runtime: Runtime,
        connection: redis.Redis,
        store: Store,
        scalingo: ScalingoApi,
        said: Callable[[datetime], str],
        least_s: float,
        most_s: float,
    ) -> None:
        signed_in(store, scalingo)
        busy = scalingo.operation(duration_s=None).id
        scalingo.fault(lambda _: Reply(429, "Retry later", {"Retry-After": said(datetime.now(UTC))}), operation_id=busy)
        began_s = server_time(connection)
        refused = tracked(store, busy)
        look_round()
        looked_at(store, refused)
        wait_until(lambda: runtime.budget.balance("default").share < 1, what="the smaller share")
        resumes_s = float(connection.hget(BUCKET, "at") or 0)
        assert began_s + least_s <= resumes_s <= server_time(connection) + most_s
        other = tracked(store, scalingo.operation().id)
        before = looks(scalingo)
        later(connection, resumes_s - server_time(connection) - 2)  # 2 s of the pause are left
        look_round()
        assert looks(scalingo) == before
        assert found(store, other).tracking.claim is None
        later(connection, 4)
        look_round()
        assert looked_at(store, other).state is State.SUCCEEDED

    def test_nobody_tries_to_sign_in_before_that_time_either(
        self, start_worker: Callable[..., Runtime], store: Store, scalingo: ScalingoApi, connection: redis.Redis
    ) -> None:
        first = start_worker(**A_MINUTE)
        scalingo.fault(faults.rate_limited(retry_after_s=60), exchange=True)
        identity = tracked(store, scalingo.operation().id)
        look_round()
        refused = looked_at(store, identity)
        assert "signing in" in (refused.last_error or "")
        wait_until(lambda: first.budget.balance("default").share < 1, what="the smaller share")
        other = start_worker(**A_MINUTE)  # it has no failed sign-in
        store.update(found(store, identity), lambda t: replace(t, next_look_at=store.records.now()))
        look_round()
        after = found(store, identity).tracking
        assert (after.claim, after.polls) == (None, 1)
        assert "429" in (after.last_error or "")
        assert len(scalingo.requests) == 1
        later(connection, 70)
        look_round()
        assert looked_at(store, identity, polls=2).state is State.SUCCEEDED
        assert other.client.sign_in.is_signed_in("default")


def signed_in(store: Store, scalingo: ScalingoApi) -> None:
    """Let a look sign in."""
    identity = tracked(store, scalingo.operation().id)
    look_round()
    assert looked_at(store, identity).state is State.SUCCEEDED


@pytest.mark.parametrize("others_every_s", [2.0, 1.25])
def test_beside_another_client_it_backs_off_keeps_asking_and_comes_back_by_itself(
    connection: redis.Redis, others_every_s: float
) -> None:
    budget, api = Budget(connection, 50), SlidingWindow()
    other_from_s, other_until_s = 120, 720
    answered, refused, others_refused = [0] * 20, [0] * 20, 0
    for second in range(20 * 60):
        is_its_turn = int(second / others_every_s) != int((second - 1) / others_every_s)
        if other_from_s <= second < other_until_s and is_its_turn:
            others_refused += not api.admits("default", 60, second)
        for _ in range(budget.spend("default", 5)[0]):
            if api.admits("default", 60, second):
                answered[second // 60] += 1
            else:
                refused[second // 60] += 1
                budget.slow_down("default", None)
        later(connection, 1)
    alone, beside, back = slice(2), slice(3, 12), slice(14, 20)
    others = 60 / others_every_s
    assert sum(refused[alone]) == sum(refused[back]) == 0
    assert min(*answered[alone], *answered[back]) >= 40
    assert 0 < sum(refused) <= 30  # of some hundred requests
    assert min(answered[beside]) >= (60 - others) / 2
    assert others_refused <= 10
    assert budget.balance("default").share == 1
