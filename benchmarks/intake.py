"""How fast new operations are taken in, beside what Flask and Redis allow at best in the same set-up.

One gunicorn process of 8 threads each, one Valkey that is emptied before each run, no worker; the runs alternate.
"""

import json
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.service import TOKEN, BenchmarkError, Stage, run, wait_until
from benchmarks.table import Row, print_circumstances, print_goals, print_table
from local.http import answers
from local.processes import Child
from local.service import free_port
from scalingo.operation import OFFICIAL_REGIONS

GOAL = 0.75
ROUNDS = 8
RUN_S = 2
WARM_UP_S = 1
CONNECTIONS = 8
SETTLE_S = 0.2
"""For what the run before left half done."""
SCRIPT = Path(__file__).with_name("intake.lua")
GUNICORN = 'exec gunicorn --config config/gunicorn.conf.py "{app}"'
ONE_PROCESS = {
    "WEB_CONCURRENCY": "1",
    "SCALINGO_API_URL": OFFICIAL_REGIONS["osc-fr1"],
    "OPWATCH_MAX_IN_FLIGHT": "100000",  # none of them ends
}


@dataclass(frozen=True, slots=True)
class Run:
    """What wrk measured in one run."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Of the gunicorn worker, for one request: other programs disturb it less than they do the rate."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One thing to measure: where it is, and the sorted set that grows by one with each good request, if any."""

    name: str
    url: str
    path: str
    server: Child
    counted_in: str | None


def main() -> None:
    """Measure and print."""
    if shutil.which("wrk") is None:
        message = "it needs wrk: `apt install wrk`, `brew install wrk`, or https://github.com/wg/wrk"
        raise BenchmarkError(message)
    print_circumstances("intake")
    with Stage(settings=ONE_PROCESS) as stage:
        port = free_port()
        bare_url = f"http://127.0.0.1:{port}"
        ours = _serve(stage, "app:create_app()", stage.port, "/healthz")
        bare = _serve(stage, "benchmarks.bare:create_app()", port, "/hello")
        contenders = (
            Contender("POST /v1/operations, new ones", stage.url, "/v1/operations", ours, "opwatch:recent"),
            Contender("bare Flask, one Lua call", bare_url, "/script", bare, "bare:recent"),
            Contender("bare Flask, hello", bare_url, "/hello", bare, None),
        )
        for contender in contenders:
            _run(stage, contender, WARM_UP_S)
        runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
        for _ in range(ROUNDS):
            for contender in contenders:
                runs[contender.name].append(_run(stage, contender, RUN_S))
    _print(contenders, runs)


def _serve(stage: Stage, app: str, port: int, path: str) -> Child:
    process = stage.start(app.partition(":")[0], GUNICORN.format(app=app), {"PORT": str(port)})
    wait_until(lambda: answers(f"http://127.0.0.1:{port}{path}"), process)
    return process


def _run(stage: Stage, contender: Contender, duration_s: int) -> Run:
    time.sleep(SETTLE_S)
    stage.redis.flushall()
    cpu_before_s = _cpu_s(contender.server)
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{duration_s}s", "-s", str(SCRIPT), contender.url]
    finished = subprocess.run(
        [*wrk, "--", contender.path, secrets.token_hex(6), TOKEN], capture_output=True, text=True, check=False
    )
    cpu_s = _cpu_s(contender.server) - cpu_before_s
    line = next((line for line in finished.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        message = f"wrk failed: {finished.stdout}{finished.stderr}"
        raise BenchmarkError(message)
    result = json.loads(line.removeprefix("RESULT "))
    _check(stage, contender, result["requests"], result["failed"])
    return Run(
        per_s=result["requests"] / (result["duration_us"] / 1e6),
        p50_ms=result["p50_us"] / 1000,
        p99_ms=result["p99_us"] / 1000,
        cpu_us=cpu_s / result["requests"] * 1e6,
    )


def _cpu_s(server: Child) -> float:
    times = [worker.cpu_times() for worker in psutil.Process(server.pid).children()]
    return sum(time.user + time.system for time in times)


def _check(stage: Stage, contender: Contender, requests: int, failed: int) -> None:
    """Make sure that every request did what it was sent for: those cut off at the end may have, too."""
    stored = stage.redis.zcard(contender.counted_in) if contender.counted_in else requests
    if failed or not requests <= stored <= requests + CONNECTIONS:
        message = f"{contender.name}: of {requests} requests {failed} failed, and {stored} were stored"
        raise BenchmarkError(message)


def _print(contenders: tuple[Contender, ...], runs: dict[str, list[Run]]) -> None:
    lines = []
    for contender in contenders:
        mine = runs[contender.name]
        per_s = [run.per_s for run in mine]
        medians = [
            statistics.median(values)
            for values in zip(*((run.per_s, run.p50_ms, run.p99_ms, run.cpu_us) for run in mine), strict=True)
        ]
        rate, p50_ms, p99_ms, cpu_us = medians
        span = f"{min(per_s):.0f}-{max(per_s):.0f}"
        lines.append((contender.name, f"{rate:.0f}", span, f"{p50_ms:.1f} ms", f"{p99_ms:.1f} ms", f"{cpu_us:.0f} us"))
    title = f"intake: wrk, {CONNECTIONS} connections, medians of {ROUNDS} alternating runs of {RUN_S} s"
    print_table(title, ("", "requests/s", "min-max", "p50", "p99", "CPU a request"), lines)
    ours, script, hello = (runs[contender.name] for contender in contenders)
    shares = [mine.per_s / other.per_s for mine, other in zip(ours, script, strict=True)]
    of_hello = [mine.per_s / other.per_s for mine, other in zip(ours, hello, strict=True)]
    cpu = [mine.cpu_us / other.cpu_us for mine, other in zip(ours, script, strict=True)]
    share = statistics.median(shares)
    print_goals(
        "intake: medians of the ratios within each round",
        [
            Row("requests/s, ours / bare with one Lua call", f"{share:.0%}", f">= {GOAL:.0%}", share >= GOAL),
            Row("the same, lowest and highest round", f"{min(shares):.0%}-{max(shares):.0%}"),
            Row("requests/s, ours / hello", f"{statistics.median(of_hello):.0%}"),
            Row("CPU a request, ours / bare with one Lua call", f"{statistics.median(cpu):.2f}"),
        ],
    )


if __name__ == "__main__":
    sys.exit(run({"intake": main}))
