"""Deployments: requests and delay on a simulated clock, one that an event tells of, and memory while reading an output.

The simulation is that of `pacing`, with one deployment at a time.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from math import log
from pathlib import Path
from random import Random

import psutil

from benchmarks.pacing import HISTORY
from benchmarks.policies import EverySeconds, Opwatch, Policy
from benchmarks.service import BenchmarkError, Stage, run, wait_until
from benchmarks.simulation import Begun, Shown, simulate, truly
from benchmarks.table import Row, percentile, print_circumstances, print_goals, print_table
from operations.kind import Kind
from standin.operations import new_uuid
from tests.support.receiver import Receiver
from tests.support.running import WEBHOOK_SECRET

LASTS_S, SPREAD = 300.0, 0.1
DEPLOYMENTS = 200
GOALS = {"cold": (25.0, 8.0), "learned": (12.0, 5.0)}
"""The most requests, and the longest mean delay in seconds."""

MANY = ((5, 0.0), (20, 0.0), (20, 600.0), (50, 600.0))
"""How many deployments, and within how many seconds they begin."""

FEWEST, VARIES, STARTS_FOR_S = 200, 0.5, 15.0
EVENTS, APART_S = 5, 8.0
"""In 8 s the budget of the default settings is full again."""

MOST_REQUESTS, TOLD_WITHIN_S = 3, 2.0
LARGE_BYTES, GROWTH_GOAL_MB = 50_000_000, 5.0
CAUSE = "ModuleNotFoundError: No module named 'psycopg2'"
OUTPUT = f"\n       {CAUSE}\n !     Error deploying the application\n !     → Invalid return code from buildpack\n"
SECRET = "an-events-secret-for-benchmarks"  # noqa: S105 - it opens nothing
SETTINGS = {"OPWATCH_EVENTS_SECRET": SECRET, "WEBHOOK_SECRET": WEBHOOK_SECRET}


def main() -> None:
    """Simulate, measure and print."""
    print_circumstances("deployment")
    _print_pace()
    _print_many()
    with Receiver() as receiver:
        settings = SETTINGS | {"WEBHOOK_URL": receiver.url("/hook")}
        with Stage(settings=settings) as stage:
            stage.start_api()
            _, worker = stage.start_service()
            told = [_told_by_event(stage, receiver) for _ in range(EVENTS)]
            growth_mb = _growth_mb(stage, receiver, worker.pid)
    late_s, requests = [seconds for seconds, _ in told], max(count for _, count in told)
    print_goals(
        f"deployment: {EVENTS} failed ones that an event tells of at their end, and an output of 50 MB",
        [
            Row(
                "requests, the most (the first signs in)",
                f"{requests}",
                f"<= {MOST_REQUESTS}",
                requests <= MOST_REQUESTS,
            ),
            Row("from the event to the message, median", f"{statistics.median(late_s):.2f} s"),
            Row("the same, longest", f"{max(late_s):.2f} s", f"< {TOLD_WITHIN_S:g} s", max(late_s) < TOLD_WITHIN_S),
            Row(
                "the worker's peak memory (RSS) above that before",
                f"{growth_mb:.1f} MB",
                f"< {GROWTH_GOAL_MB:g} MB",
                growth_mb < GROWTH_GOAL_MB,
            ),
        ],
    )


def _print_pace() -> None:
    random = Random(1)  # noqa: S311 - a repeatable simulation
    durations_s = [LASTS_S * random.uniform(1 - SPREAD, 1 + SPREAD) for _ in range(HISTORY + DEPLOYMENTS)]
    policies: dict[str, Callable[[], Policy]] = {
        "cold": lambda: Opwatch((), kind=Kind.DEPLOYMENT),
        "learned": lambda: Opwatch(durations_s[:HISTORY], kind=Kind.DEPLOYMENT),
        "every 5 s": lambda: EverySeconds(5.0),
        "every 10 s": lambda: EverySeconds(10.0),
    }
    rows, lines = [], []
    for name, policy in policies.items():
        results = [simulate(policy(), [Begun(0.0, duration_s)]) for duration_s in durations_s[HISTORY:]]
        late_s, requests = [late for (late,), _ in results], statistics.mean(count for _, count in results)
        mean_s = statistics.mean(late_s)
        lines.append((name, f"{requests:.1f}", f"{mean_s:.1f} s", f"{percentile(late_s, 95):.1f} s"))
        if name in GOALS:
            most, longest_s = GOALS[name]
            rows.append(Row(f"{name}: requests", f"{requests:.1f}", f"<= {most:g}", requests <= most))
            rows.append(Row(f"{name}: mean delay", f"{mean_s:.1f} s", f"<= {longest_s:g} s", mean_s <= longest_s))
    title = f"deployment: {DEPLOYMENTS} of {LASTS_S:g} s ± {SPREAD:.0%}, one at a time"
    print_table(title, ("", "requests", "mean delay", "p95"), lines)
    print_goals("deployment: goals", rows)


def _at_its_end(begun: Begun, now_s: float, random: Random) -> bool:
    """Show a deployment only while its app starts, as the list of apps does."""
    return begun.duration_s - now_s + begun.at_s <= STARTS_FOR_S and truly(begun, now_s, random)


def _print_many() -> None:
    """Compare glances at the list of apps and at the newest events, for many deployments, 50 durations known."""
    ways: dict[str, tuple[bool, Shown]] = {"no": (False, truly), "apps": (True, _at_its_end), "events": (True, truly)}
    lines = []
    for number, over_s in MANY:
        cells = []
        for may_glance, shown in ways.values():
            late_s, requests = list[float](), 0
            for seed in range(max(1, FEWEST // number)):
                random = Random(seed)  # noqa: S311 - a repeatable simulation
                known = [random.lognormvariate(log(LASTS_S), VARIES) for _ in range(HISTORY)]
                starts_s = sorted(random.uniform(0, over_s) for _ in range(number))
                begun = [Begun(at_s, random.lognormvariate(log(LASTS_S), VARIES)) for at_s in starts_s]
                policy = Opwatch(known, kind=Kind.DEPLOYMENT, may_glance=may_glance)
                late, made = simulate(policy, begun, shown=shown, seed=seed)
                late_s, requests = late_s + late, requests + made
            cells.append(f"{statistics.mean(late_s):.1f} s @ {requests / len(late_s):.1f}")
        lines.append((f"{number} within {over_s:g} s", *cells))
    title = f"deployment: many of about {LASTS_S:g} s (log-normal, {VARIES:g}), mean delay @ requests each"
    print_table(title, ("", *(f"{way} glances" for way in ways)), lines)


def _told_by_event(stage: Stage, receiver: Receiver, output_bytes: int = 9_000) -> tuple[float, int]:
    """Send the event of a deployment that has just failed. Returns the seconds to its message, and the requests."""
    time.sleep(APART_S)
    uuid, before, messages = new_uuid(), len(stage.seen_by_api()["requests"]), len(receiver.requests)
    failed = {"kind": "deployment", "outcome": "build-error", "output": OUTPUT, "output_bytes": output_bytes}
    stage.begin("shop", id=uuid, **failed)
    event = {"type": "deployment", "app_name": "shop", "type_data": {"deployment_uuid": uuid}}
    sent_at = time.time()
    answer = stage.request("POST", f"/v1/scalingo/{SECRET}", event, token=None)
    wait_until(lambda: answer.good and len(receiver.requests) > messages, *stage.children)
    message = receiver.requests[messages]
    if json.loads(message.body)["data"]["operation"]["error"].partition("\n")[0] != CAUSE:
        raise BenchmarkError(f"the message does not say why: {message.body!r}")
    return message.received_at - sent_at, len(stage.seen_by_api()["requests"]) - before


def _growth_mb(stage: Stage, receiver: Receiver, pid: int) -> float:
    """Let the worker read a large output. Returns by how much its peak memory was above that before."""
    files = [Path(f"/proc/{each}") for each in (pid, *(child.pid for child in psutil.Process(pid).children()))]
    try:
        for each in files:
            (each / "clear_refs").write_text("5")  # the peak is now what it has
        before_mb = sum(_peak_mb(each) for each in files)
        _told_by_event(stage, receiver, LARGE_BYTES)
        return sum(_peak_mb(each) for each in files) - before_mb
    except OSError as error:
        message = f"memory is measured on Linux only ({error})"
        raise BenchmarkError(message) from error


def _peak_mb(process: Path) -> float:
    lines = (process / "status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    sys.exit(run({"deployment": main}))
