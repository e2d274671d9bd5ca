"""Measures how many operations one worker can track, the cost of a look, and the cost of the usual way with RQ.

An operation is seen by a look or by a glance; how long ago that was is read from Redis, twice a second.
CPU time is the worker's alone. Commands are counted by Redis, including those inside scripts. Reads are how often Redis
read from a socket, about the number of round trips.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from benchmarks import crowd
from benchmarks.counts import Counts, start_api
from benchmarks.service import Stage, call, run, wait_until
from benchmarks.table import Row, percentile, print_circumstances, print_goals, print_table
from benchmarks.usual import RQ_WORKERS, Usual, usual_way
from operations.storage.store import Store

OPERATIONS = (10_000, 20_000)
WORKERS = (1, 2, 4)
WARM_UP_S, MEASURED_S = 20.0, 60.0
READ_EVERY_S = 0.5
UNSEEN_GOAL_S, COMMANDS_GOAL, BYTES_GOAL, RATIO_GOAL = 7.5, 8.0, 1500.0, 20.0
"""New operations are worth a look about each 5.5 s, which may be 2 s late: so each should be seen within 7.5 s."""

SHORTEST_GAP_S = 1.9
"""The pace waits at least 2 s from an answer to the next request, so closer looks are duplicates."""


@dataclass(frozen=True, slots=True)
class Held:
    """The results of one run."""

    name: str
    operations: int
    limit: int
    looks_per_s: float
    glances_per_s: float
    unseen_s: list[float]
    cpu: float
    redis_cpu: float
    cpu_us: float
    commands: float
    reads: float
    bytes_each: float
    most_in_60_s: int
    shortest_gap_s: float
    too_close: int

    @property
    def p99_s(self) -> float:
        """The 99th percentile of how long ago operations were seen."""
        return percentile(self.unseen_s, 99)


def main(
    operations: Sequence[int] = OPERATIONS,
    workers: Sequence[int] = WORKERS,
    measured_s: float = MEASURED_S,
    *,
    mixed: bool = True,
) -> None:
    """Measure and print."""
    print_circumstances("scale")
    plans = [(count, 1, True) for count in operations]
    plans += [(operations[0], number, True) for number in workers if number > 1]
    plans += [(operations[0], 1, False)] if mixed else []
    held = [_held(count, number, measured_s, new=new) for count, number, new in plans]
    _print_held(held)
    usual = [usual_way(name, command, wait_s) for name, command, wait_s in RQ_WORKERS]
    _print_usual(held[0], usual)
    _print_goals(held, usual)


def _held(operations: int, workers: int, measured_s: float, *, new: bool) -> Held:
    settings = crowd.settings(operations, crowd.ACCOUNTS)
    with Stage(settings=settings, targets="") as stage:
        start_api(stage)
        empty = stage.redis.info("memory")["used_memory"]
        store = Store(stage.redis, retention=timedelta(days=7))
        identities = crowd.fill(store, operations, crowd.ACCOUNTS, new=new)
        running = [stage.start("worker") for _ in range(workers)]
        wait_until(lambda: bool(stage.redis.zcard("opwatch:workers") >= workers), *running)
        wait_until(partial(_all_signed_in, stage), *running, timeout_s=120.0, every_s=0.5)
        time.sleep(WARM_UP_S)
        cohort = crowd.Cohort(stage.redis, identities)
        before, began = Counts.read(stage, running), time.monotonic()
        while time.monotonic() - began < measured_s:
            cohort.read()
            time.sleep(READ_EVERY_S)
        after = Counts.read(stage, running)
        for worker in running:
            worker.check()
        report = call("GET", f"{stage.api}/_report?since={before.at}&apart={SHORTEST_GAP_S}", cohort.operations)
        for worker in running:
            worker.kill()
        bytes_each = (stage.redis.info("memory")["used_memory"] - empty) / operations
    looks, took_s = report["looks"], after.at - before.at
    kind = "" if new else ", ages as they come"
    return Held(
        name=f"{operations:,} operations, {workers} worker{'s' if workers > 1 else ''}{kind}",
        operations=operations,
        limit=int(settings["SCALINGO_REQUESTS_PER_MINUTE"]),
        looks_per_s=looks / took_s,
        glances_per_s=report["glances"] / took_s,
        unseen_s=cohort.unseen_s,
        cpu=(after.workers_s - before.workers_s) / took_s,
        redis_cpu=(after.redis_s - before.redis_s) / took_s,
        cpu_us=(after.workers_s - before.workers_s) / max(1, looks) * 1e6,
        commands=(after.commands - before.commands - cohort.commands) / max(1, looks),
        reads=(after.reads - before.reads - cohort.commands) / max(1, looks),
        bytes_each=bytes_each,
        most_in_60_s=report["most_in_60_s"],
        shortest_gap_s=report["shortest_gap_s"],
        too_close=report["too_close"],
    )


def _all_signed_in(stage: Stage) -> bool:
    return bool(call("GET", f"{stage.api}/_report?since={time.time()}")["accounts"] >= crowd.ACCOUNTS)


def _print_held(held: Sequence[Held]) -> None:
    columns = (
        "",
        "wanted/s",
        "looks/s",
        "glances/s",
        "seen p50",
        "p99",
        "CPU",
        "a look",
        "Redis CPU",
        "cmds",
        "reads",
        "bytes",
    )
    lines = [
        (
            each.name,
            f"{each.operations / crowd.EACH_S:.0f}",
            f"{each.looks_per_s:.0f}",
            f"{each.glances_per_s:.0f}",
            f"{statistics.median(each.unseen_s):.2f} s",
            f"{each.p99_s:.2f} s",
            f"{each.cpu:.0%}",
            f"{each.cpu_us:.0f} us",
            f"{each.redis_cpu:.0%}",
            f"{each.commands:.1f}",
            f"{each.reads:.2f}",
            f"{each.bytes_each:.0f}",
        )
        for each in held
    ]
    print_table(f"scale: {crowd.ACCOUNTS} accounts, a look each {crowd.EACH_S:g} s allowed at all", columns, lines)


def _print_usual(ours: Held, usual: Sequence[Usual]) -> None:
    lines = [(ours.name, f"{ours.looks_per_s:.0f}", f"{ours.cpu_us:.0f} us", f"{ours.commands:.1f}", "")]
    lines += [
        (u.name, f"{u.looks_per_s:.0f}", f"{u.cpu_us:.0f} us", f"{u.commands:.1f}", f"{u.cpu_us / ours.cpu_us:.1f}")
        for u in usual
    ]
    print_table("scale: beside the usual way", ("", "looks/s", "CPU a look", "commands", "times ours"), lines)


def _print_goals(held: Sequence[Held], usual: Sequence[Usual]) -> None:
    first = held[0]
    ratio = usual[0].cpu_us / first.cpu_us
    rows = [
        Row("seen, p99", f"{first.p99_s:.2f} s", f"< {UNSEEN_GOAL_S:g} s", first.p99_s < UNSEEN_GOAL_S),
        _at_most("Redis commands a look", first.commands, COMMANDS_GOAL),
        _at_most("bytes of Redis memory a tracking", first.bytes_each, BYTES_GOAL),
        Row("looks a CPU second, ours / RQ's default", f"{ratio:.1f}", f">= {RATIO_GOAL:g}", ratio >= RATIO_GOAL),
    ]
    for each in held:
        kept = each.most_in_60_s <= each.limit
        rows.append(Row(f"{each.name}: most requests in 60 s", str(each.most_in_60_s), f"<= {each.limit}", kept))
        rows.append(Row("  looks done twice", str(each.too_close), "0", each.too_close == 0))
        rows.append(Row("  shortest time between two looks at one operation", f"{each.shortest_gap_s:.2f} s"))
    print_goals("scale: goals", rows)


def _at_most(what: str, figure: float, goal: float) -> Row:
    return Row(what, f"{figure:.1f}", f"<= {goal:g}", figure <= goal)


def _arguments() -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--operations", type=int, nargs="+", default=OPERATIONS)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--seconds", type=float, default=MEASURED_S, dest="measured_s")
    parser.add_argument("--no-mixed", action="store_false", dest="mixed", help="leave out ages as they come")
    return vars(parser.parse_args())


if __name__ == "__main__":
    sys.exit(run({"scale": partial(main, **_arguments())}))
