"""Measures how fast new operations are accepted, compared with a minimal app of Flask and Redis in the same set-up.

One gunicorn process each, one Valkey that is emptied before each run, no worker; the runs alternate. With `--beside
DIR` another checkout is measured in the same rounds: `python -m benchmarks.intake --beside ../old`.
"""

import argparse
import json
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from benchmarks.service import TOKEN, BenchmarkError, Stage, run, wait_until
from benchmarks.table import print_circumstances, print_table
from local.http import responds
from local.processes import Child
from local.service import free_port
from scalingo.address import OFFICIAL_REGIONS

ROUNDS = 8
RUN_S = 2
WARM_UP_S = 1
CONNECTIONS = (8, 64)
SETTLE_S = 0.2
"""The pause for leftovers of the run before."""
SCRIPT = Path(__file__).with_name("intake.lua")
GUNICORN = 'exec gunicorn --config config/gunicorn.conf.py "{app}"'
ONE_PROCESS = {
    "WEB_CONCURRENCY": "1",
    "SCALINGO_API_URL": OFFICIAL_REGIONS["osc-fr1"],
    "OPWATCH_MAX_IN_FLIGHT": "100000",  # none of them ends
}


@dataclass(frozen=True, slots=True)
class Run:
    """wrk's results of one run."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """CPU time of the gunicorn worker per request, which other programs disturb less than the rate."""


@dataclass(frozen=True, slots=True)
class Server:
    """A gunicorn with one process, and its URL."""

    process: Child
    url: str


@dataclass(frozen=True, slots=True)
class Contender:
    """A server to measure, its path, and the sorted set that grows with each successful request."""

    name: str
    path: str
    server: Server
    counted_in: str


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intake", description=__doc__)
    parser.add_argument("--beside", type=Path, help="another checkout, measured in the same rounds")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=int, default=RUN_S)
    options = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        message = "it needs wrk: `apt install wrk`, `brew install wrk`, or https://github.com/wg/wrk"
        raise BenchmarkError(message)
    print_circumstances("intake")
    with Stage(settings=ONE_PROCESS) as stage:
        contenders = _contenders(stage, options.beside)
        for contender in contenders:
            _run(stage, contender, CONNECTIONS[0], WARM_UP_S)
        runs: dict[tuple[str, int], list[Run]] = {(c.name, n): [] for n in CONNECTIONS for c in contenders}
        for _ in range(options.rounds):
            for (name, connections), mine in runs.items():
                contender = next(each for each in contenders if each.name == name)
                mine.append(_run(stage, contender, connections, options.seconds))
    for connections in CONNECTIONS:
        title = f"{connections} connections, medians of {options.rounds} alternating runs of {options.seconds} s"
        _print(title, {name: mine for (name, number), mine in runs.items() if number == connections})


def _contenders(stage: Stage, beside: Path | None) -> list[Contender]:
    found = [Contender("POST /v1/operations, new ones", "/v1/operations", _serve(stage), "opwatch:recent")]
    if beside is not None:
        server = _serve(stage, folder=beside)
        found.append(Contender(f"the same, {beside}", "/v1/operations", server, "opwatch:recent"))
    bare = _serve(stage, "benchmarks.bare:create_app()", "/hello")
    found.append(Contender("bare Flask, one Lua call", "/script", bare, "bare:recent"))
    return found


def _serve(stage: Stage, app: str = "app:create_app()", path: str = "/healthz", folder: Path = Path()) -> Server:
    port = free_port()
    command = f"cd {folder.resolve()} && {GUNICORN.format(app=app)}"
    process = stage.start(app.partition(":")[0], command, {"PORT": str(port)})
    url = f"http://127.0.0.1:{port}"
    wait_until(partial(responds, url + path), process)
    return Server(process, url)


def _run(stage: Stage, contender: Contender, connections: int, duration_s: int) -> Run:
    time.sleep(SETTLE_S)
    stage.redis.flushall()
    cpu_before_s = _cpu_s(contender.server)
    wrk = ["wrk", "-t1", f"-c{connections}", f"-d{duration_s}s", "-s", str(SCRIPT), contender.server.url]
    finished = subprocess.run(
        [*wrk, "--", contender.path, secrets.token_hex(6), TOKEN], capture_output=True, text=True, check=False
    )
    cpu_s = _cpu_s(contender.server) - cpu_before_s
    line = next((line for line in finished.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        message = f"wrk failed: {finished.stdout}{finished.stderr}"
        raise BenchmarkError(message)
    result = json.loads(line.removeprefix("RESULT "))
    _check(stage, contender, connections, result["requests"], result["failed"])
    return Run(
        per_s=result["requests"] / (result["duration_us"] / 1e6),
        p50_ms=result["p50_us"] / 1000,
        p99_ms=result["p99_us"] / 1000,
        cpu_us=cpu_s / result["requests"] * 1e6,
    )


def _cpu_s(server: Server) -> float:
    times = [worker.cpu_times() for worker in psutil.Process(server.process.pid).children()]
    return sum(time.user + time.system for time in times)


def _check(stage: Stage, contender: Contender, connections: int, requests: int, failed: int) -> None:
    """Check that every request succeeded; those cut off at the end may have."""
    stored = stage.redis.zcard(contender.counted_in)
    if failed or not requests <= stored <= requests + connections:
        message = f"{contender.name}: of {requests} requests {failed} failed, and {stored} were stored"
        raise BenchmarkError(message)


def _print(title: str, runs: dict[str, list[Run]]) -> None:
    """Print medians, and the median ratio of the first contender's rate to each other's within a round."""
    first = next(iter(runs.values()))
    lines = []
    for name, mine in runs.items():
        ratios = [one.per_s / other.per_s for one, other in zip(first, mine, strict=True)]
        median = {field: statistics.median(getattr(each, field) for each in mine) for field in Run.__slots__}
        lines.append(
            (
                name,
                f"{median['per_s']:.0f}",
                f"{min(each.per_s for each in mine):.0f}-{max(each.per_s for each in mine):.0f}",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
                f"{median['p50_ms']:.1f} ms",
                f"{median['p99_ms']:.1f} ms",
                f"{median['cpu_us']:.0f} us",
            )
        )
    columns = ("", "requests/s", "min-max", "first / this", "p50", "p99", "CPU a request")
    print_table(f"intake: wrk, {title}", columns, lines)


if __name__ == "__main__":
    sys.exit(run({"intake": lambda: main(sys.argv[1:])}))
