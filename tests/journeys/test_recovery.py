"""Work goes on after a kill, a freeze or an outage, and nobody is told twice.

The seconds are printed at the end. `python -m tests.chaos.recovery` measures them for docs/reliability.md.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import redis

from local.valkey import Valkey
from standin import faults
from standin.api import DEFAULT_TOKENS, ScalingoApi
from standin.operations import new_id
from tests.journeys.stage import Measure, Stage, staged
from tests.support.receiver import Receiver, Reply
from tests.support.redis_proxy import RedisProxy
from tests.support.running import PATIENCE_S, UNHURRIED, Opwatch, wait_until

LEASE_S = 30
WEBHOOK_ONLY = {**UNHURRIED, "SLACK_WEBHOOK_URL": ""}


@dataclass(frozen=True)
class Watched(Stage):
    """A stage on which each worker reaches Redis through a proxy."""

    proxies: dict[str, RedisProxy]


@contextmanager
def watched(directory: Path, *workers: str, targets: str = "") -> Iterator[Watched]:
    """Run `web` alone: the test starts the workers."""
    with ExitStack() as stack:
        valkey = stack.enter_context(Valkey(directory / "data"))
        scalingo = stack.enter_context(ScalingoApi(DEFAULT_TOKENS, limit=None))
        receiver = stack.enter_context(Receiver())
        proxies = {name: stack.enter_context(RedisProxy(urlsplit(valkey.url).path)) for name in workers}
        opwatch = Opwatch(
            valkey.url,
            scalingo,
            receiver,
            settings=WEBHOOK_ONLY,
            workers=workers,
            targets=targets,
            own={name: {"REDIS_URL": proxy.url} for name, proxy in proxies.items()},
        )
        stack.callback(opwatch.stop)
        opwatch.start("web")
        opwatch.wait_until_alive()
        yield Watched(valkey, scalingo, receiver, opwatch, proxies)


def test_a_killed_worker_that_starts_again_waits_for_no_lease_of_its_own(
    tmp_path: Path, record_property: Measure
) -> None:
    with staged(tmp_path) as stage:
        looked_at = stage.scalingo.operation("killed-shop", outcome="error", error="out of memory")
        stage.scalingo.fault(faults.hang(60), operation_id=looked_at.id)
        waiting = [stage.scalingo.operation(f"waiting-shop-{number}", duration_s=None) for number in range(3)]
        for operation in waiting:
            stage.scalingo.fault(faults.hang(60), operation_id=operation.id)
            stage.opwatch.track(operation.url)
        identity = stage.opwatch.track(looked_at.url)
        for operation in (looked_at, *waiting):
            stage.scalingo.wait_for(1, operation_id=operation.id)
        stage.opwatch.kill("worker")
        assert stage.opwatch.show(identity)["state"] == "tracking"
        stage.opwatch.start("worker")
        started_at = started(stage, times=2)
        # The dead worker had claimed all. Its leases are 30 s, but its heartbeat has stopped.
        stage.opwatch.wait_for_state(identity, "failed")
        first, second = stage.scalingo.wait_for(2, operation_id=looked_at.id)
        record_property("from a killed worker's new start to its look", second.at - started_at)
        assert second.at - first.at < LEASE_S
        shown = stage.opwatch.show(identity)
        assert shown["polls"] == 1
        stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
        stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
        assert len(stage.told("/slack", "killed-shop")) == 1
        assert len(stage.told("/webhook", identity)) == 1
        for operation in waiting:
            first, second = stage.scalingo.wait_for(2, operation_id=operation.id)
            assert second.at - first.at < LEASE_S


def started(stage: Stage, times: int) -> float:
    """Return the time of the worker's given start, which depends on the machine."""
    wait_until(lambda: len(stage.opwatch.events("worker", "worker started")) >= times, what="the worker's start")
    return datetime.fromisoformat(stage.opwatch.events("worker", "worker started")[-1]["timestamp"]).timestamp()


def test_another_worker_takes_over_whenever_one_is_killed(tmp_path: Path, record_property: Measure) -> None:
    """One worker is killed as it begins a round, one after sending a message and before the answer."""
    with watched(tmp_path, "at-dequeuing", "at-delivering", "survivor") as stage:
        stage.receiver.script("/webhook", Reply(hang_s=60), Reply())
        stage.opwatch.start("at-delivering")
        delivered = stage.opwatch.track(stage.scalingo.operation("delivered-shop").url)
        stage.receiver.wait_for(1)
        stage.opwatch.kill("at-delivering")
        killed_at = time.time()
        proxy = stage.proxies["at-dequeuing"]
        proxy.watch(
            lambda chunk: b"opwatch:due" in chunk and b"EVALSHA" in chunk, partial(stage.opwatch.kill, "at-dequeuing")
        )
        stage.opwatch.start("at-dequeuing")
        dequeued = stage.opwatch.track(stage.scalingo.operation("dequeued-shop").url)
        wait_until(
            lambda: not stage.opwatch.running("at-dequeuing"), what="the end of the worker that has taken a round"
        )
        stage.opwatch.start("survivor")
        stage.opwatch.wait_for_state(dequeued, "succeeded")
        stage.opwatch.wait_for_delivery(delivered, "webhook", "delivered")
        first, second = stage.told("/webhook", delivered)
        record_property("from a worker's death to another's message", second.received_at - killed_at)
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body


def test_a_worker_frozen_past_its_lease_can_neither_change_nor_repeat_an_outcome(tmp_path: Path) -> None:
    """Workers are frozen at a claim, directly before sending a message, and at recording a look."""
    moments = {
        "at-claim": lambda chunk: b"EVALSHA" in chunk and b'"attempts":1' in chunk,
        "at-announcement": lambda chunk: b"opwatch:announcement" in chunk and b"EVALSHA" not in chunk,
        "at-outcome": lambda chunk: b"EVALSHA" in chunk and b'"state":"succeeded"' in chunk,
    }
    with watched(tmp_path, *moments, "survivor") as stage:
        frozen_at: dict[str, float] = {}

        def freeze(name: str) -> None:
            stage.opwatch.freeze(name)
            frozen_at[name] = time.time()

        identities = []
        for name, moment in moments.items():
            stage.proxies[name].watch(moment, partial(freeze, name))
            stage.opwatch.start(name)
            identities.append(stage.opwatch.track(stage.scalingo.operation(f"{name}-shop").url))
            wait_until(partial(frozen_at.get, name), what=f"{name} reaching its moment")
        stage.opwatch.start("survivor")
        for identity in identities:
            stage.opwatch.wait_for_delivery(identity, "webhook", "delivered", timeout_s=LEASE_S + PATIENCE_S)
        before = [stage.opwatch.show(identity) for identity in identities]
        wait_until(lambda: time.time() > max(frozen_at.values()) + LEASE_S + 3, what="every lease's end")
        for name in moments:
            stage.opwatch.wake(name)
        wait_until(partial(all_beat, stage, len(moments) + 1), what="all being awake")
        # Each notices this now, and continues with other work.
        later = [stage.opwatch.track(stage.scalingo.operation(f"later-shop-{number}").url) for number in range(6)]
        for identity in later:
            stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
        for name in moments:
            stage.opwatch.terminate(name)
        for name in moments:
            assert stage.opwatch.wait_for_exit(name) == 0
        assert [stage.opwatch.show(identity) for identity in identities] == before
        for identity in [*identities, *later]:
            assert len(stage.told("/webhook", identity)) == 1


def all_beat(stage: Watched, count: int) -> bool:
    """Whether so many workers have sent heartbeats in the last two seconds."""
    with redis.Redis.from_url(stage.valkey.url) as connection:
        return int(connection.zcount("opwatch:workers", (time.time() - 2) * 1000, "+inf")) == count


def test_doorbells_that_are_lost_are_not_noticed(tmp_path: Path, record_property: Measure) -> None:
    with staged(tmp_path, workers=("worker",)) as stage, redis.Redis.from_url(stage.valkey.url) as connection:
        stage.opwatch.kill("worker")
        identity = stage.opwatch.track(stage.scalingo.operation("unheard-shop", duration_s=2).url)
        wait_until(
            partial(connection.delete, "rq:queue:opwatch-look", "rq:queue:opwatch-deliver"),
            what="the doorbell, to be lost",
        )
        stage.opwatch.start("worker")
        started_at = started(stage, times=2)
        stage.opwatch.wait_for_state(identity, "succeeded")
        stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
        record_property("from a start without doorbells to the message", time.time() - started_at)
        assert len(stage.told("/webhook", identity)) == 1


def test_a_minute_without_redis_is_made_up_for_after_its_return(tmp_path: Path, record_property: Measure) -> None:
    with staged(tmp_path, workers=("worker", "worker-2")) as stage:
        stage.receiver.script("/webhook", Reply(delay_s=2))
        ending = stage.scalingo.operation("ending-shop", duration_s=None)
        watched_one = stage.opwatch.track(ending.url)
        stage.scalingo.wait_for(1, operation_id=ending.id)
        ended = stage.opwatch.track(stage.scalingo.operation("ended-shop", outcome="error", error="it broke").url)
        stage.receiver.wait_for(1, "/webhook")  # in transit when Redis stops
        stage.valkey.kill()
        gone_at = time.time()
        stage.scalingo.finish(ending.id)
        wait_until(lambda: time.time() > gone_at + 60, timeout_s=60 + PATIENCE_S, what="a minute")
        stage.valkey.start()
        back_at = time.time()
        for identity in (watched_one, ended):
            stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
            stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
        record_property("from the return of Redis to the messages", time.time() - back_at)
        later = stage.opwatch.track(stage.scalingo.operation("later-shop").url)
        stage.opwatch.wait_for_state(later, "succeeded")
        for name in ("worker", "worker-2", "web"):
            assert stage.opwatch.running(name)
        # The answer came while Redis was away: it was kept, and the message was not sent again.
        assert len(stage.told("/webhook", ended)) == 1


def test_a_worker_told_to_stop_leaves_no_lease_behind(tmp_path: Path, record_property: Measure) -> None:
    with staged(tmp_path) as stage:
        hanging = stage.scalingo.operation("hanging-shop", duration_s=None)
        stage.scalingo.fault(faults.hang(60), operation_id=hanging.id)
        stage.receiver.script("/webhook", Reply(hang_s=60))
        told = stage.opwatch.track(stage.scalingo.operation("told-shop").url, notify=["webhook"])
        stage.receiver.wait_for(1, "/webhook")
        identity = stage.opwatch.track(hanging.url)
        stage.scalingo.wait_for(1, operation_id=hanging.id)
        stage.opwatch.terminate("worker")
        began_s = time.monotonic()
        assert stage.opwatch.wait_for_exit("worker") == 0
        record_property("from SIGTERM to the worker's end", took_s := time.monotonic() - began_s)
        assert took_s < 30, "a platform would kill it"
        with redis.Redis.from_url(stage.valkey.url) as connection:
            for key in connection.scan_iter("opwatch:tracking:*"):
                assert b'"claim"' not in connection.get(key)
            assert connection.zcard("opwatch:workers") == 0
        assert stage.opwatch.show(told)["deliveries"][0]["state"] == "retrying"
        assert stage.opwatch.show(identity)["state"] == "tracking"
        # An unknown operation is still unknown.
        assert stage.opwatch.get(f"/v1/operations/osc-fr1-{new_id()}").status == 404


def test_a_redis_that_stalls_makes_no_worker_take_another_for_dead(tmp_path: Path) -> None:
    with staged(tmp_path, workers=("worker", "worker-2", "worker-3")) as stage:
        slow = [stage.scalingo.operation(f"slow-shop-{number}") for number in range(6)]
        for operation in slow:
            stage.scalingo.fault(faults.slow(6), operation_id=operation.id)
        identities = [stage.opwatch.track(operation.url, notify=[]) for operation in slow]
        for operation in slow:
            stage.scalingo.wait_for(1, operation_id=operation.id)
        os.kill(stage.valkey.pid, signal.SIGSTOP)
        time.sleep(4)  # longer than a living worker is silent
        os.kill(stage.valkey.pid, signal.SIGCONT)
        for identity in identities:
            assert stage.opwatch.wait_for_state(identity, "succeeded")["polls"] == 1
        for operation in slow:
            assert len([look for look in stage.scalingo.requests if look.operation_id == operation.id]) == 1
        for name in ("worker", "worker-2", "worker-3"):
            assert stage.opwatch.events(name, "workers without heartbeats") == []
