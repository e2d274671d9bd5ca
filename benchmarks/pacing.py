"""Compares Opwatch's pace with other policies, by detection delay and requests, on a simulated clock.

Opwatch's decisions are those of operations/watching, on records as they are stored. All policies share one budget (50
requests a minute, as operations/storage/budget.py grants them) and queue for it. Real clients of the others would get
429s instead, so these figures flatter them. Each operation is of an app of its own, and glances tell the truth.
"""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from random import Random

from benchmarks.policies import BeforeGlances, Clairvoyant, EverySeconds, Exponential, Opwatch, Policy, RoundRobin
from benchmarks.service import BenchmarkError, run
from benchmarks.simulation import REQUESTS_PER_MINUTE, Begun, simulate
from benchmarks.table import Row, percentile, print_circumstances, print_goals, print_table

STAGGERED_OVER_S = 300.0
HISTORY = 50
IN_FLIGHT = (1, 5, 20, 50, 200)
FEWEST_OPERATIONS = 400
"""In each cell, over as many seeds as needed."""

ONCE, STAGGERED = "at once", "staggered"
COLD, LEARNED = "cold", "learned"
CLAIRVOYANT, ROUND_ROBIN, OPWATCH, BEFORE = "clairvoyant", "round-robin", "Opwatch", "without glances"
MANY = 20
"""From so many in flight on, glances must pay: half of the delay before, or half of the way to the clairvoyant."""

HALF, MORE_REQUESTS = 0.5, 1.10
NOISE = 1.02
"""Up to this ratio, two means count as equal: they are of some hundred operations."""

PLOT = Path(__file__).parents[1] / "docs" / "pacing.png"


def _drifting(random: Random, progress: float) -> float:
    return (30 + 60 * progress) * random.lognormvariate(0, 0.2)


def _two_peaked(random: Random, _progress: float) -> float:
    return (15 if random.random() < 0.6 else 90) * random.lognormvariate(0, 0.15)


SHAPES: Mapping[str, Callable[[Random, float], float]] = {
    "tight": lambda random, _: 45 * random.lognormvariate(0, 0.2),
    "wide": lambda random, _: 45 * random.lognormvariate(0, 0.8),
    "two-peaked": _two_peaked,
    "heavy-tailed": lambda random, _: 15 * random.paretovariate(1.3),
    "drifting": _drifting,
}
"""Durations in seconds. The number is the share of the burst that began before, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The results of one policy in one cell."""

    mean_s: float
    p95_s: float
    requests: float


Cell = tuple[str, str, str, int]
"""Shape, arrivals, knowledge, and number of operations."""

Burst = tuple[Sequence[float], Sequence[Begun]]
"""The durations known before, newest first, and the operations that begin."""


def main() -> None:
    """Simulate, print, and draw docs/pacing.png."""
    print_circumstances("pacing")
    cells = list(product(SHAPES, (ONCE, STAGGERED), (COLD, LEARNED), IN_FLIGHT))
    measured = {cell: _cell(cell) for cell in cells}
    for shape in SHAPES:
        mine = {cell: figures for cell, figures in measured.items() if cell[0] == shape}
        columns = ("mean delay in s (p95) at requests an operation", *next(iter(mine.values())))
        lines = [(_name(cell), *map(_written, figures.values())) for cell, figures in mine.items()]
        print_table(f"pacing: {shape}", columns, lines)
    _print_goals(measured)
    draw(measured)


def _policies(history_s: Sequence[float], operations: Sequence[Begun]) -> dict[str, Callable[[], Policy]]:
    return {
        CLAIRVOYANT: partial(Clairvoyant, [each.at_s + each.duration_s for each in operations]),
        "each 1 s": partial(EverySeconds, 1.0),
        "each 5 s": partial(EverySeconds, 5.0),
        "exponential": Exponential,
        ROUND_ROBIN: RoundRobin,
        BEFORE: partial(BeforeGlances, history_s),
        OPWATCH: partial(Opwatch, history_s),
    }


def _cell(cell: Cell) -> dict[str, Figures]:
    """Run every policy on the same bursts."""
    bursts = [_burst(cell, seed) for seed in range(-(-FEWEST_OPERATIONS // cell[3]))]
    names = _policies(*bursts[0])
    return {name: _figures([_policies(*burst)[name]() for burst in bursts], bursts) for name in names}


def _burst(cell: Cell, seed: int) -> Burst:
    shape, arrivals, knowledge, count = cell
    random = Random(f"{shape} {arrivals} {count} {seed}")  # noqa: S311 - a repeatable simulation
    history_s = [SHAPES[shape](random, 0.0) for _ in range(HISTORY)]
    at_s = sorted(random.uniform(0, STAGGERED_OVER_S if arrivals == STAGGERED else 0) for _ in range(count))
    progress = [number / count if arrivals == STAGGERED else 0.5 for number in range(count)]
    begun = [Begun(at, SHAPES[shape](random, share)) for at, share in zip(at_s, progress, strict=True)]
    return history_s if knowledge == LEARNED else [], begun


def _figures(policies: Sequence[Policy], bursts: Sequence[Burst]) -> Figures:
    late: list[float] = []
    requests = 0
    for seed, (policy, (_, begun)) in enumerate(zip(policies, bursts, strict=True)):
        more, asked = simulate(policy, begun, seed=seed)
        late += more
        requests += asked
    return Figures(statistics.fmean(late), percentile(late, 95), requests / len(late))


def _print_goals(measured: Mapping[Cell, Mapping[str, Figures]]) -> None:
    """Compare the figures with the goals, cell by cell."""
    worse = [
        f"{_name(cell)}: {name}"
        for cell, figures in measured.items()
        for name, other in figures.items()
        if name not in (CLAIRVOYANT, OPWATCH) and _better_in_both(other, figures[OPWATCH])
    ]
    many = {cell: figures for cell, figures in measured.items() if cell[3] >= MANY}
    slow = [f"{_name(cell)}: {_of_goal(figures):.2f}" for cell, figures in many.items() if _of_goal(figures) > 1]
    ratios = {cell: figures[OPWATCH].requests / figures[BEFORE].requests for cell, figures in measured.items()}
    dear = [f"{_name(cell)}: {ratio:.2f}" for cell, ratio in ratios.items() if ratio > MORE_REQUESTS and cell[3] > 1]
    alone = measured["tight", ONCE, LEARNED, 1][OPWATCH]
    print_goals(
        "pacing: goals",
        [
            Row("cells where a fixed policy is better in both", f"{len(worse)} of {len(measured)}", "0", not worse),
            Row(f"{MANY} and more: delay above the goal", f"{len(slow)} of {len(many)}", "0", not slow),
            Row("more than one: over 10 % more requests than before", f"{len(dear)}", "0", not dear),
            Row("alone, tight, learned: mean delay", f"{alone.mean_s:.2f} s", "<= 1.0 s", alone.mean_s <= 1.0),
            Row("the same: requests", f"{alone.requests:.1f}", "<= 16", alone.requests <= 16),
        ],
    )
    for title, missed in (
        ("a fixed policy is better in both", worse),
        ("delay, as a multiple of the goal", slow),
        ("requests, as a multiple of those before", dear),
    ):
        print(f"\n{title}: {'; '.join(missed) or 'nowhere'}")
    print_table(
        "pacing: Opwatch's mean delay as a share of that before",
        ("", *(f"{count} in flight" for count in IN_FLIGHT)),
        [
            (
                f"{shape}, {arrivals}, {knowledge}",
                *(_share(measured[shape, arrivals, knowledge, count]) for count in IN_FLIGHT),
            )
            for shape, arrivals, knowledge in product(SHAPES, (ONCE, STAGGERED), (COLD, LEARNED))
        ],
    )


def _of_goal(figures: Mapping[str, Figures]) -> float:
    """Return the delay as a multiple of its goal: half of that before, if the clairvoyant allows it."""
    before_s, least_s = figures[BEFORE].mean_s, figures[CLAIRVOYANT].mean_s
    goal_s = HALF * before_s if least_s < HALF * before_s else (before_s + least_s) / 2
    return figures[OPWATCH].mean_s / goal_s


def _share(figures: Mapping[str, Figures]) -> str:
    return f"{figures[OPWATCH].mean_s / figures[BEFORE].mean_s:.2f} at {figures[OPWATCH].requests:.1f}"


def _better_in_both(one: Figures, other: Figures) -> bool:
    return one.mean_s * NOISE < other.mean_s and one.requests * NOISE < other.requests


def _name(cell: Cell) -> str:
    shape, arrivals, knowledge, count = cell
    return f"{shape}, {count} {arrivals}, {knowledge}"


def _written(figures: Figures) -> str:
    return f"{figures.mean_s:.1f} ({figures.p95_s:.0f}) at {figures.requests:.1f}"


def draw(measured: Mapping[Cell, Mapping[str, Figures]]) -> None:
    """Draw the learned cells by delay and requests. Raises BenchmarkError without matplotlib."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - large, and only needed here
    except ImportError as error:
        message = "the plot needs matplotlib: install requirements-dev.txt"
        raise BenchmarkError(message) from error
    picture = Figure(figsize=(15, 6.4), layout="constrained")
    panels = picture.subplots(2, len(SHAPES), sharex=True, sharey=True)
    for (row, arrivals), (column, shape) in product(enumerate((ONCE, STAGGERED)), enumerate(SHAPES)):
        panel = panels[row][column]
        for name in next(iter(measured.values())):
            points = [measured[shape, arrivals, LEARNED, count][name] for count in IN_FLIGHT]
            panel.plot(
                [p.requests for p in points],
                [p.mean_s for p in points],
                marker="o",
                markersize=4,
                linewidth=2.2 if name == OPWATCH else 1,
                zorder=3 if name == OPWATCH else 2,
                label=name,
            )
        panel.set(title=f"{shape}, {arrivals}", xscale="log", yscale="log")
        panel.grid(alpha=0.3)
    panels[1][2].set_xlabel("requests an operation")
    picture.supylabel("mean delay from end to notice, s")
    picture.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=7)
    picture.suptitle(
        f"What is known is learned; {', '.join(map(str, IN_FLIGHT))} operations along each line, "
        f"which share {REQUESTS_PER_MINUTE} requests a minute"
    )
    picture.savefig(PLOT, dpi=80)


if __name__ == "__main__":
    sys.exit(run({"pacing": main}))
