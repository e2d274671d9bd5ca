"""Measures how simultaneous operations of twenty apps share Scalingo's 60 requests a minute, by default settings."""

import statistics
import sys
import time
from collections.abc import Sequence
from datetime import datetime

from benchmarks.policies import Opwatch
from benchmarks.service import Stage, run, wait_until
from benchmarks.simulation import Begun, simulate
from benchmarks.table import Row, percentile, print_circumstances, print_goals
from local.processes import Child

OPERATIONS = 20
STRIDE = 7  # has no common divisor with it
SHORTEST_S, LONGEST_S = 30.0, 60.0
LIMIT = 60
OUR_SHARE = 50
WINDOW_S = 60.0
ALL_ENDED_WITHIN_S = 180.0
MEAN_GOAL_S = 6.0


def main() -> None:
    """Measure and print."""
    print_circumstances("limit")
    span_s = LONGEST_S - SHORTEST_S
    # Not in the order of their ends: looks follow the order of intake, and each would just miss its end.
    order = [number * STRIDE % OPERATIONS for number in range(OPERATIONS)]
    durations_s = [SHORTEST_S + span_s * number / (OPERATIONS - 1) for number in order]
    with Stage() as stage:  # no targets: outcomes are printed on the console
        stage.start_api(limit=LIMIT)
        processes = stage.start_service()
        _round(stage, processes, durations_s, [])
        time.sleep(WINDOW_S)  # until the bucket is full and the API's window is empty again
        _round(stage, processes, durations_s, durations_s[::-1])


def _round(
    stage: Stage, processes: tuple[Child, ...], durations_s: Sequence[float], history_s: Sequence[float]
) -> None:
    """Begin all at once, with these learned durations. Prints a simulation of the same for comparison."""
    before = len(stage.seen_by_api()["requests"])
    urls = [stage.begin(f"shop-{number}", duration_s=each_s) for number, each_s in enumerate(durations_s)]
    tracked = {stage.track(url) for url in urls}
    took_s = wait_until(
        lambda: not stage.redis.zcard("opwatch:due"), *processes, timeout_s=ALL_ENDED_WITHIN_S, every_s=0.2
    )
    trackings = [each for each in stage.ask("GET", "/v1/operations?limit=100")["operations"] if each["id"] in tracked]
    seen = stage.seen_by_api()
    well = sum(each["state"] == "succeeded" for each in trackings)
    delays_s = [_s(each["ended_at"]) - _s(each["operation"]["finished_at"]) for each in trackings if each["operation"]]
    looks = [each["polls"] for each in trackings]
    times_s = [each["at"] for each in seen["requests"]]
    most, refused = most_in_a_window(times_s), seen["rate_limited"]
    simulated_s, simulated_looks = simulate(Opwatch(history_s), [Begun(0.0, each_s) for each_s in durations_s])
    print_goals(
        f"limit: {OPERATIONS} operations of {SHORTEST_S:g} to {LONGEST_S:g} s at once, "
        f"{'learned' if history_s else 'cold'}, {took_s:.0f} s in all",
        [
            Row("answers 429", str(refused), "0", refused == 0),
            Row("most requests in any 60 s", str(most), f"<= {OUR_SHARE}", most <= OUR_SHARE),
            Row("ended as they should", f"{well} of {OPERATIONS}", "all", well == OPERATIONS),
            Row("requests in all, sign-in included", str(len(times_s) - before)),
            Row("looks per operation, mean", f"{statistics.mean(looks):.1f}"),
            Row("looks per operation, mean, simulated", f"{simulated_looks / OPERATIONS:.1f}"),
            Row("looks per operation, most", str(max(looks))),
            Row(
                "delay of detection, mean",
                f"{statistics.mean(delays_s):.1f} s",
                f"<= {MEAN_GOAL_S:g} s",
                statistics.mean(delays_s) <= MEAN_GOAL_S,
            ),
            Row("delay of detection, mean, simulated", f"{statistics.mean(simulated_s):.1f} s"),
            Row("delay of detection, median", f"{statistics.median(delays_s):.1f} s"),
            Row("delay of detection, p90", f"{percentile(delays_s, 90):.1f} s"),
            Row("delay of detection, longest", f"{max(delays_s):.1f} s"),
        ],
    )


def most_in_a_window(times_s: list[float]) -> int:
    """Count the requests in the busiest 60 s. Only windows that begin with a request matter."""
    return max(sum(1 for at_s in times_s if first_s <= at_s < first_s + WINDOW_S) for first_s in times_s)


def _s(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


if __name__ == "__main__":
    sys.exit(run({"limit": main}))
