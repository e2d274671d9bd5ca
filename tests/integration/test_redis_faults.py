"""A worker's connection to Redis breaks at the worst moment: claims are released, not left to their leases."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import redis
from rq import Queue
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from local.valkey import Valkey
from operations.model import State
from operations.storage.budget import Budget
from operations.storage.locks import Locks
from operations.storage.store import Store
from operations.telling.attempts import LEASE
from standin import faults
from standin.api import ScalingoApi
from tests.integration.bench import BROKEN, RETENTION, connected, found, looked_at, seen, tracked
from tests.support.receiver import Receiver
from tests.support.redis_proxy import RedisProxy
from tests.support.running import wait_until
from workers.deliver import delivery_round
from workers.doorbell import Doorbell, Round, enqueue, tidy
from workers.look import look_round
from workers.runtime import Runtime, SharedGate


@pytest.fixture
def proxy(valkey: Valkey) -> Iterator[RedisProxy]:
    """Run a proxy between the worker and the server."""
    with RedisProxy(urlsplit(valkey.url).path) as running:
        yield running


@pytest.fixture
def remote(start_worker: Callable[..., Runtime], proxy: RedisProxy) -> Runtime:
    """Start a worker's parts that reach the server through the proxy."""
    return start_worker(REDIS_URL=proxy.url)


def is_claim(chunk: bytes) -> bool:
    """Whether this is a worker's request for a claim."""
    return b"EVALSHA" in chunk and b'"claim":"' in chunk


class TestClaims:
    """The connection breaks when a claim is sent: it may have been stored or not."""

    @pytest.mark.parametrize("carried_out", [True, False])
    def test_a_look_is_due_again_as_soon_as_redis_is_back(
        self, remote: Runtime, proxy: RedisProxy, store: Store, scalingo: ScalingoApi, *, carried_out: bool
    ) -> None:
        operation = scalingo.operation().id
        identity = tracked(store, operation)
        proxy.watch(is_claim, proxy.cut_at_answer if carried_out else proxy.cut)
        with pytest.raises(redis.RedisError):
            look_round()
        proxy.mend()
        wait_until(lambda: found(store, identity).tracking.claim is None, what="the release of the claim")
        assert found(store, identity).tracking.next_look_at < store.records.now() + LEASE - timedelta(seconds=10)
        look_round()
        assert looked_at(store, identity).state is State.SUCCEEDED
        assert remote.connection.ping()

    def test_a_delivery_is_due_again_as_soon_as_redis_is_back(
        self, remote: Runtime, proxy: RedisProxy, store: Store, receiver: Receiver
    ) -> None:
        identity = tracked(store, 24 * "a", notify_all=False, notify=("webhook",))
        seen(store, identity, BROKEN, remote.settings.rules)
        proxy.watch(is_claim, proxy.cut_at_answer)
        with pytest.raises(redis.RedisError):
            delivery_round()
        proxy.mend()
        wait_until(lambda: found(store, identity).tracking.deliveries[0].claim is None, what="the release of the claim")
        assert found(store, identity).tracking.deliveries[0].attempts == 0
        delivery_round()
        assert len(receiver.wait_for(1)) == 1
        assert receiver.requests[0].path == "/webhook"


def test_a_look_that_loses_redis_while_signing_in_is_released(
    remote: Runtime, proxy: RedisProxy, store: Store, scalingo: ScalingoApi
) -> None:
    identity = tracked(store, scalingo.operation().id)
    proxy.watch(lambda chunk: b"opwatch:lock:sign-in" in chunk, proxy.cut)
    look_round()
    wait_until(lambda: proxy.refused >= 2, what="the worker finding out that Redis is away")
    assert found(store, identity).tracking.claim is not None
    proxy.mend()
    wait_until(lambda: found(store, identity).tracking.claim is None, what="the release of the look")
    assert found(store, identity).tracking.polls == 0
    look_round()
    assert looked_at(store, identity).state is State.SUCCEEDED
    assert remote.locks.acquire("sign-in:default", "another", 1) is not None


def test_a_round_whose_worker_was_killed_is_gone_from_rqs_registries_whoever_holds_rqs_lock(
    connection: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    enqueue(connection, Round.DELIVER, "killed")
    queue = Queue(Round.DELIVER, connection=connection, serializer=JSONSerializer)
    assert queue.acquire_maintenance_lock()  # as a worker leaves it that is killed while it tidies up
    job = queue.fetch_job("killed")
    assert job is not None
    job.set_status(JobStatus.STARTED)
    connection.persist(job.key)
    connection.hset(job.key, "failure_callback_name", "builtins.print")  # by somebody else: it is not called
    connection.delete("rq:queue:opwatch-deliver")
    connection.zadd("rq:wip:opwatch-deliver", {"killed:its-execution": time.time() - 1})

    def nothing_left() -> bool:
        tidy(connection)
        return not any(connection.zcard(f"rq:{registry}:{Round.DELIVER}") for registry in ("wip", "failed", "finished"))

    wait_until(nothing_left, what="RQ's registries being empty")
    wait_until(lambda: not connection.exists(job.key), what="the job's end")
    assert "<class" not in capsys.readouterr().out


def test_a_doorbell_that_is_stopped_sends_the_ring_that_waits(connection: redis.Redis) -> None:
    doorbell = Doorbell(connection, Round.LOOK, fold_s=60)
    queue = Queue(Round.LOOK, connection=connection, serializer=JSONSerializer)
    doorbell.ring()
    wait_until(lambda: queue.count == 1, what="the first ring")
    doorbell.ring()
    doorbell.stop()
    assert queue.count == 2
    quiet = Doorbell(connection, Round.LOOK, fold_s=60)
    quiet.ring()
    wait_until(lambda: queue.count == 3, what="its ring")
    quiet.stop()
    assert queue.count == 3


def test_a_look_recorded_late_counts_from_when_it_was_made(
    remote: Runtime, proxy: RedisProxy, store: Store, scalingo: ScalingoApi
) -> None:
    operation = scalingo.operation(duration_s=None).id
    identity = tracked(store, operation, created_at=store.records.now() - timedelta(minutes=10))
    proxy.watch(lambda chunk: b'"polls":1' in chunk, proxy.cut)
    look_round()
    asked_at = scalingo.wait_for(1, operation_id=operation)[0].at
    wait_until(lambda: proxy.refused >= 3 and time.time() > asked_at + 4, what="the worker trying to record it")
    proxy.mend()
    recorded = looked_at(store, identity)
    assert recorded.last_polled_at is not None
    assert abs(recorded.last_polled_at.timestamp() - asked_at) < 2  # recording took longer than that
    assert remote.connection.ping()


def test_one_late_answer_does_not_put_the_clock_back(proxy: RedisProxy, store: Store) -> None:
    def second_comes() -> None:
        proxy.delay_s = 0.0

    def first_comes() -> None:
        proxy.delay_s = 3.0
        proxy.watch(asks_for_the_time, second_comes)

    proxy.watch(asks_for_the_time, first_comes)
    with connected(proxy.url) as connection:
        late = Store(connection, retention=RETENTION)
        assert abs(late.records.now() - store.records.now()) < timedelta(seconds=1)


def asks_for_the_time(chunk: bytes) -> bool:
    return b"$4\r\nTIME\r\n" in chunk


class _SlowLocks(Locks):
    """Locks whose answer comes late."""

    taken, answer = threading.Event(), threading.Event()

    def acquire(self, name: str, worker: str, lasts_s: int) -> str | None:
        token = super().acquire(name, worker, lasts_s)
        self.taken.set()
        self.answer.wait(60)
        return token


def test_a_lock_that_is_taken_while_the_process_stops_is_released(connection: redis.Redis) -> None:
    locks = _SlowLocks(connection)
    gate = SharedGate(Budget(connection, 60), locks, "stopping")

    async def sign_in() -> None:
        async with gate.signing_in("default"):
            pytest.fail("it was cancelled before")

    async def stopped() -> None:
        task = asyncio.create_task(sign_in())
        await asyncio.to_thread(locks.taken.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        assert connection.exists("opwatch:lock:sign-in:default")
        locks.answer.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    assert not connection.exists("opwatch:lock:sign-in:default")


def test_what_a_look_saw_while_redis_was_away_is_kept(
    remote: Runtime, proxy: RedisProxy, store: Store, scalingo: ScalingoApi
) -> None:
    operation = scalingo.operation(duration_s=0).id
    identity = tracked(store, operation)
    scalingo.fault(faults.slow(2), operation_id=operation)
    look_round()
    scalingo.wait_for(1, operation_id=operation)
    proxy.cut()
    wait_until(lambda: proxy.refused >= 3, what="the worker trying to record it")
    proxy.mend()
    wait_until(lambda: found(store, identity).tracking.claim is None, what="the end of the look")
    assert found(store, identity).tracking.state is State.SUCCEEDED
    assert remote.connection.ping()
