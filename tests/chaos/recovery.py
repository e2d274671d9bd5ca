"""`python -m tests.chaos.recovery`: measures the recovery after each kind of failure, and prints a table."""

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import redis

from standin import faults
from tests.journeys.stage import Stage, staged
from tests.support.receiver import Reply
from tests.support.running import wait_until

TIMES = 3
OUTAGE_S = 60.0
PATIENCE_S = 60.0

Measured = Callable[[Stage], float]


def restarted(stage: Stage) -> float:
    """Kill the only worker while it looks, start it again, and wait for the next look at the same operation."""
    operation = _being_looked_at(stage)
    stage.opwatch.kill("worker")
    stage.opwatch.start("worker")
    started_at = time.time()
    return stage.scalingo.wait_for(2, operation_id=operation, timeout_s=PATIENCE_S)[1].at - started_at


def look_taken_over(stage: Stage) -> float:
    """Kill the worker that looks, and wait for the other's look at the same operation."""
    stage.opwatch.kill("worker-2")
    operation = _being_looked_at(stage)
    stage.opwatch.start("worker-2")
    wait_until(partial(_beats, stage, 2), what="two workers")
    stage.opwatch.kill("worker")
    killed_at = time.time()
    return stage.scalingo.wait_for(2, operation_id=operation, timeout_s=PATIENCE_S)[1].at - killed_at


def delivery_taken_over(stage: Stage) -> float:
    """Kill the worker that has sent a message and has no answer yet, and wait for the other's."""
    stage.opwatch.kill("worker-2")
    stage.receiver.script("/webhook", Reply(hang_s=60), Reply())
    stage.opwatch.track(stage.scalingo.operation("told-shop").url, notify=["webhook"])
    stage.receiver.wait_for(1, "/webhook", timeout_s=PATIENCE_S)
    stage.opwatch.start("worker-2")
    stage.opwatch.kill("worker")
    killed_at = time.time()
    return stage.receiver.wait_for(2, "/webhook", timeout_s=PATIENCE_S)[1].received_at - killed_at


def flushed(stage: Stage) -> float:
    """Flush RQ's queues, with an operation's doorbell, start a worker, and wait for its look."""
    stage.opwatch.kill("worker")
    operation = stage.scalingo.operation("flushed-shop", duration_s=None)
    stage.opwatch.track(operation.url)
    with redis.Redis.from_url(stage.valkey.url) as connection:
        wait_until(partial(connection.delete, "rq:queue:opwatch-look"), what="the doorbell")
    stage.opwatch.start("worker")
    started_at = time.time()
    return stage.scalingo.wait_for(1, operation_id=operation.id, timeout_s=PATIENCE_S)[0].at - started_at


def redis_back(stage: Stage) -> float:
    """Kill Redis for a minute, and wait until all ends in it are delivered."""
    ending = stage.scalingo.operation("ending-shop", duration_s=None)
    identity = stage.opwatch.track(ending.url)
    stage.scalingo.wait_for(1, operation_id=ending.id, timeout_s=PATIENCE_S)
    stage.valkey.kill()
    stage.scalingo.finish(ending.id)
    time.sleep(OUTAGE_S)
    stage.valkey.start()
    back_at = time.time()
    stage.opwatch.wait_for_delivery(identity, "webhook", "delivered", timeout_s=PATIENCE_S)
    return time.time() - back_at


def stopped(stage: Stage) -> float:
    """Stop the worker while the API and a target hang, and wait for its end."""
    stage.opwatch.kill("worker-2")
    stage.receiver.script("/webhook", Reply(hang_s=60))
    stage.opwatch.track(stage.scalingo.operation("told-shop").url, notify=["webhook"])
    stage.receiver.wait_for(1, "/webhook", timeout_s=PATIENCE_S)
    _being_looked_at(stage)
    stage.opwatch.terminate("worker")
    stopped_at = time.time()
    stage.opwatch.wait_for_exit("worker", timeout_s=PATIENCE_S)
    return time.time() - stopped_at


ALL: dict[str, tuple[Measured, tuple[str, ...], str]] = {
    "the only worker killed while it looks, and started again: from its start to the next look": (
        restarted,
        ("worker",),
        "5 s",
    ),
    "one of two workers killed while it looks: to the other's look": (look_taken_over, ("worker", "worker-2"), "32 s"),
    "one of two workers killed while a message is on its way: to the other's message": (
        delivery_taken_over,
        ("worker", "worker-2"),
        "32 s",
    ),
    "RQ's queues flushed while no worker was there: from a worker's start to the look": (flushed, ("worker",), "5 s"),
    "Redis killed for 60 s: from its return until what ended meanwhile is told": (
        redis_back,
        ("worker", "worker-2"),
        "10 s",
    ),
    "SIGTERM while the API and a target hang: to the worker's end": (stopped, ("worker", "worker-2"), "25 s"),
}


def main() -> int:
    """Measure each three times."""
    print(f"| what | promised | measured, {TIMES} times |\n|---|---|---|")
    for what, (measure, workers, promised) in ALL.items():
        figures = sorted(_measured(measure, workers) for _ in range(TIMES))
        print(f"| {what} | {promised} | {', '.join(f'{figure:.1f} s' for figure in figures)} |", flush=True)
    return 0


def _measured(measure: Measured, workers: tuple[str, ...]) -> float:
    with (
        tempfile.TemporaryDirectory(prefix="opwatch-recovery-") as directory,
        redirect_stdout(StringIO()),
        staged(Path(directory), workers=workers) as stage,
    ):
        return measure(stage)


def _being_looked_at(stage: Stage) -> str:
    operation = stage.scalingo.operation("looked-at-shop", duration_s=None)
    stage.scalingo.fault(faults.hang(60), operation_id=operation.id)
    stage.opwatch.track(operation.url)
    stage.scalingo.wait_for(1, operation_id=operation.id, timeout_s=PATIENCE_S)
    return operation.id


def _beats(stage: Stage, workers: int) -> bool:
    with redis.Redis.from_url(stage.valkey.url) as connection:
        return int(connection.zcount("opwatch:workers", (time.time() - 2) * 1000, "+inf")) == workers


if __name__ == "__main__":
    sys.exit(main())
