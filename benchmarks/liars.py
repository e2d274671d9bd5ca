"""What glances that lie cost, on a simulated clock (see pacing.py)."""

import statistics
import sys
from collections.abc import Callable, Mapping
from random import Random

from benchmarks.pacing import SHAPES
from benchmarks.policies import Opwatch
from benchmarks.service import run
from benchmarks.simulation import Begun, Shown, simulate, truly
from benchmarks.table import print_circumstances, print_table

OPERATIONS, OVER_S, SEEDS = 60, 300.0, 8
EARLY_S, LATE_S = 5.0, 8.0
MOST_S = 3.0
"""By how much, on average, an end may be noticed later than without glances."""


def _at_random(_begun: Begun, now_s: float, random: Random) -> bool:
    return Random(f"{random.random()} {now_s:.0f}").random() < 0.5  # noqa: S311 - a repeatable simulation


def _also_before(begun: Begun, now_s: float, random: Random) -> bool:
    return now_s - begun.at_s < random.uniform(0, 60.0)


def _shifted(by_s: float) -> Shown:
    return lambda begun, now_s, random: truly(Begun(begun.at_s, begun.duration_s + by_s), now_s, random)


LIARS: Mapping[str, Shown] = {
    "the truth": truly,
    f"turns {EARLY_S:g} s early": _shifted(-EARLY_S),
    f"turns {LATE_S:g} s late": _shifted(LATE_S),
    "never turns": lambda begun, now_s, _: now_s >= begun.at_s,
    "never shows": lambda *_: False,
    "shows after 15 s": lambda begun, now_s, random: now_s - begun.at_s > 15 and truly(begun, now_s, random),
    "at random": _at_random,
    "of another app": _also_before,
}
"""What glances show of operations."""


def without_and_with_glances(liar: str, seeds: int) -> tuple[float, float]:
    """Return the mean delay in seconds without glances, and with those of this liar; nothing is known before."""
    policies: tuple[Callable[[], Opwatch], ...] = (lambda: Opwatch((), may_glance=False), lambda: Opwatch(()))
    means = []
    for policy in policies:
        late = list[float]()
        for seed in range(seeds):
            random = Random(seed)  # noqa: S311 - a repeatable simulation
            starts_s = sorted(random.uniform(0, OVER_S) for _ in range(OPERATIONS))
            begun = [Begun(at_s, SHAPES["wide"](random, 0.0)) for at_s in starts_s]
            late += simulate(policy(), begun, shown=LIARS[liar], seed=seed)[0]
        means.append(statistics.fmean(late))
    return means[0], means[1]


def main() -> None:
    """Simulate and print."""
    print_circumstances("liars")
    lines = []
    for liar in LIARS:
        without_s, with_s = without_and_with_glances(liar, SEEDS)
        lines.append((liar, f"{without_s:.1f} s", f"{with_s:.1f} s", "yes" if with_s <= without_s + MOST_S else "NO"))
    columns = ("a glance", "mean delay without glances", "with them", f"at most {MOST_S:g} s later")
    print_table(f"liars: {OPERATIONS} staggered over {OVER_S:g} s, wide, cold", columns, lines)


if __name__ == "__main__":
    sys.exit(run({"liars": main}))
