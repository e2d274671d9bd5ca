"""Measures the service at rest: memory, Redis commands, and the time until it is ready."""

import base64
import secrets
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.service import BenchmarkError, Stage, run, wait_until
from benchmarks.table import Row, print_circumstances, print_goals, print_table
from local.http import responds
from local.processes import Child
from tests.support.receiver import Receiver

MEMORY_GOAL_MB = 90.0
READY_GOAL_S = 1.5
COMMANDS_GOAL = 5.0
OPERATIONS = 20
REQUESTS = 200
IDLE_S = 20.0
STARTS = 5
SETTINGS = {"SCALINGO_REQUESTS_PER_MINUTE": "6000"}


def main() -> None:
    """Measure and print."""
    print_circumstances("rest")
    with Receiver() as receiver, Stage(targets=_targets(receiver), settings=SETTINGS) as stage:
        stage.start_api()
        web, worker = stage.start_service()
        _use(stage, (web, worker))
        _print_memory(web, worker)
        _print_commands(stage)
    _print_starts()


def _use(stage: Stage, processes: tuple[Child, Child]) -> None:
    """Track operations until all deliveries are made, and add requests up to the given number."""
    tracked = [stage.track(stage.begin("shop", duration_s=number % 4)) for number in range(OPERATIONS)]
    for number in range(REQUESTS - len(tracked)):
        stage.ask("GET", f"/v1/operations/{tracked[number % len(tracked)]}" if number % 2 else "/v1/operations")
    wait_until(
        lambda: not (stage.redis.zcard("opwatch:due") or stage.redis.zcard("opwatch:outbox")),
        *processes,
        timeout_s=60.0,
        every_s=0.2,
    )
    counters = stage.redis.hgetall("opwatch:counters")
    told = [counters.get(f"deliveries:{target}:delivered".encode(), b"0") for target in ("hook", "chat")]
    if any(int(count) != OPERATIONS for count in told):
        message = f"not every target was told of {OPERATIONS} operations: {told}"
        raise BenchmarkError(message)


def _print_memory(web: Child, worker: Child) -> None:
    rows, lines = [], []
    for process, after in ((web, f"after {REQUESTS} requests"), (worker, f"after {OPERATIONS} operations")):
        pss_mb, rss_mb = _memory_mb(process.pid, "Pss"), _memory_mb(process.pid, "Rss")
        total_mb = sum(pss_mb)
        goal = f"<= {MEMORY_GOAL_MB:g} MB"
        rows.append(Row(f"{process.name}, {after}", f"{total_mb:.0f} MB", goal, total_mb <= MEMORY_GOAL_MB))
        lines.append((process.name, *(" + ".join(f"{part:.0f}" for part in parts) for parts in (pss_mb, rss_mb))))
    print_goals("rest: memory as a container counts it (sum of PSS)", rows)
    print_table(
        "rest: memory of each process (the first of web is gunicorn's master)", ("", "PSS, MB", "RSS, MB"), lines
    )


def _memory_mb(pid: int, kind: str) -> list[float]:
    """Return the `Rss`, or the `Pss` (shared pages split evenly), of a process and of each that it has started."""
    family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    try:
        texts = [Path(f"/proc/{each}/smaps_rollup").read_text() for each in family]
    except OSError as error:
        message = f"memory is measured on Linux only ({error})"
        raise BenchmarkError(message) from error
    return [int(line.split()[1]) / 1000 for text in texts for line in text.splitlines() if line.startswith(f"{kind}:")]


def _print_commands(stage: Stage) -> None:
    time.sleep(2)  # for the last doorbells and connections
    before = stage.redis.info("stats", "commandstats")
    time.sleep(IDLE_S)
    after = stage.redis.info("stats", "commandstats")
    calls = {name: _calls(after, name) - _calls(before, name) for name in after if name.startswith("cmdstat_")}
    calls["cmdstat_info"] -= 1  # our own
    total = after["total_commands_processed"] - before["total_commands_processed"] - 1
    per_s = total / IDLE_S
    listed = sum(calls.values()) / IDLE_S
    print_goals(
        f"rest: Redis commands with nothing in flight, web and one worker, over {IDLE_S:g} s",
        [
            Row("a second, total_commands_processed", f"{per_s:.1f}", f"< {COMMANDS_GOAL:g}", per_s < COMMANDS_GOAL),
            Row("the same, as commandstats lists them", f"{listed:.1f}"),
        ],
    )
    most_first = sorted(((count, name) for name, count in calls.items() if count), reverse=True)
    lines = [(name.removeprefix("cmdstat_"), str(count), f"{count / IDLE_S:.2f}") for count, name in most_first]
    print_table("rest: which commands", ("command", "calls", "a second"), lines)


def _calls(info: dict[str, Any], name: str) -> int:
    return int(info[name]["calls"]) if name in info else 0


def _print_starts() -> None:
    """Measure from the start of the shell to the first answer, or to the first heartbeat with RQ ready."""
    web_s, worker_s = [], []
    with Stage() as stage:
        for _ in range(STARTS):
            stage.redis.flushall()
            began_s = time.monotonic()
            web = stage.start("web")
            wait_until(lambda: responds(stage.url + "/healthz"), web)
            web_s.append(time.monotonic() - began_s)
            web.kill()
            began_s = time.monotonic()
            worker = stage.start("worker")
            wait_until(stage.worker_ready, worker)
            worker_s.append(time.monotonic() - began_s)
            worker.kill()
    rows = [
        Row(
            f"{name}, median",
            f"{statistics.median(values_s):.2f} s ({min(values_s):.2f}-{max(values_s):.2f} s)",
            f"< {READY_GOAL_S:g} s",
            statistics.median(values_s) < READY_GOAL_S,
        )
        for name, values_s in (("web: /healthz answers", web_s), ("worker: heartbeat, and RQ takes jobs", worker_s))
    ]
    print_goals(f"rest: from exec to ready, {STARTS} starts each, alternating", rows)


def _targets(receiver: Receiver) -> str:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    return f"""
[targets.hook]
kind = "webhook"
url = "{receiver.url("/hook")}"
secret = "{secret}"
[targets.chat]
kind = "slack"
webhook_url = "{receiver.url("/services/T0/B0/x")}"
"""


if __name__ == "__main__":
    sys.exit(run({"rest": main}))
