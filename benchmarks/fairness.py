"""A mass restart of one app at the same time as another app's single deploy, on a simulated clock (see pacing.py)."""

import statistics
import sys
from random import Random

from benchmarks.pacing import HISTORY, OPWATCH, ROUND_ROBIN, SHAPES
from benchmarks.policies import Opwatch, RoundRobin
from benchmarks.service import run
from benchmarks.simulation import Begun, simulate
from benchmarks.table import print_circumstances, print_table

MASS, SINGLE_AT_S, SEEDS = 50, 10.0, 40


def main() -> None:
    """Simulate and print."""
    print_circumstances("fairness")
    late: dict[str, list[list[float]]] = {OPWATCH: [], ROUND_ROBIN: []}
    for seed in range(SEEDS):
        random = Random(seed)  # noqa: S311 - a repeatable simulation
        history_s = [SHAPES["tight"](random, 0.0) for _ in range(HISTORY)]
        begun = [Begun(0.0, SHAPES["tight"](random, 0.0)) for _ in range(MASS)]
        begun.append(Begun(SINGLE_AT_S, SHAPES["tight"](random, 0.0)))
        late[OPWATCH].append(simulate(Opwatch(history_s, lambda number: str(number == MASS)), begun)[0])
        late[ROUND_ROBIN].append(simulate(RoundRobin(), begun)[0])
    lines = [
        (
            name,
            f"{statistics.fmean(one[MASS] for one in runs):.1f} s ({max(one[MASS] for one in runs):.0f} s)",
            f"{statistics.fmean(statistics.fmean(one[:MASS]) for one in runs):.1f} s",
        )
        for name, runs in late.items()
    ]
    columns = ("", "delay of the other's single deploy: mean (longest)", f"of the {MASS}: mean")
    print_table(
        f"fairness: {MASS} of one app at once, tight and learned; another's one {SINGLE_AT_S:g} s later", columns, lines
    )


if __name__ == "__main__":
    sys.exit(run({"fairness": main}))
