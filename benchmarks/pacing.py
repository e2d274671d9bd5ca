"""Compares Opwatch's pace with other policies, by detection delay and requests, on a simulated clock.

Opwatch's decisions are those of operations/watching/pace.py, on records as they are stored. All policies share one
budget (50 requests a minute, as operations/storage/budget.py grants them) and queue for it. Real clients of the others
would get 429s instead, so these figures flatter them. All operations are of one app.
"""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from random import Random

from benchmarks.policies import Clairvoyant, EverySeconds, Exponential, Opwatch, Policy, RoundRobin
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
CLAIRVOYANT, ROUND_ROBIN, OPWATCH = "clairvoyant", "round-robin", "Opwatch"
THRIFTY = "evenly, as dear"
"""Evenly spaced looks, with as many requests as Opwatch made. It is not a real policy, since it must know that number.

If no even spacing needs so few requests, it is round-robin.
"""
NO_SLOWER, ROUND_ROBIN_GOAL = 1.05, 0.70
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
        OPWATCH: partial(Opwatch, history_s),
    }


def _cell(cell: Cell) -> dict[str, Figures]:
    """Run every policy on the same bursts."""
    bursts = [_burst(cell, seed) for seed in range(-(-FEWEST_OPERATIONS // cell[3]))]
    names = _policies(*bursts[0])
    figures = {name: _figures([_policies(*burst)[name]() for burst in bursts], bursts) for name in names}
    evenly = _evenly_spaced(bursts, figures[OPWATCH].requests)
    cheap_enough = evenly.requests <= figures[OPWATCH].requests * NOISE
    return {**figures, THRIFTY: evenly if cheap_enough else figures[ROUND_ROBIN]}


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
    for policy, (_, begun) in zip(policies, bursts, strict=True):
        more, asked = simulate(policy, begun)
        late += more
        requests += asked
    return Figures(statistics.fmean(late), percentile(late, 95), requests / len(late))


def _evenly_spaced(bursts: Sequence[Burst], requests: float) -> Figures:
    """Return the results of the fixed interval that needs about these requests."""
    shortest_s, longest_s = 1.0, 300.0
    while longest_s > shortest_s * 1.02:
        every_s = (shortest_s * longest_s) ** 0.5
        figures = _figures([EverySeconds(every_s) for _ in bursts], bursts)
        shortest_s, longest_s = (shortest_s, every_s) if figures.requests <= requests else (every_s, longest_s)
    return _figures([EverySeconds(longest_s) for _ in bursts], bursts)


def _print_goals(measured: Mapping[Cell, Mapping[str, Figures]]) -> None:
    """Compare the figures with the goals, cell by cell."""
    worse = [
        f"{_name(cell)}: {name}"
        for cell, figures in measured.items()
        for name, other in figures.items()
        if name not in (CLAIRVOYANT, OPWATCH, THRIFTY) and _better_in_both(other, figures[OPWATCH])
    ]
    staggered = {cell: figures for cell, figures in measured.items() if cell[1:3] == (STAGGERED, LEARNED)}
    ratios = {cell: figures[OPWATCH].mean_s / figures[ROUND_ROBIN].mean_s for cell, figures in staggered.items()}
    thrifty = {cell: figures[OPWATCH].mean_s / figures[THRIFTY].mean_s for cell, figures in staggered.items()}
    behind = {cell: _behind_the_best(figures) for cell, figures in measured.items() if cell[1] == ONCE}
    reached, spared = (sum(r <= ROUND_ROBIN_GOAL for r in each.values()) for each in (ratios, thrifty))
    near = sum(ratio <= NO_SLOWER for ratio in behind.values())
    print_goals(
        "pacing: goals",
        [
            Row("cells where a fixed policy is better in both", f"{len(worse)} of {len(measured)}", "0", not worse),
            Row(
                f"staggered, learned: at most {ROUND_ROBIN_GOAL:.2f} of the mean of round-robin with the whole budget",
                f"{reached} of {len(staggered)}",
                "all",
                reached == len(staggered),
            ),
            Row(
                f"staggered, learned: at most {ROUND_ROBIN_GOAL:.2f} of that of evenly spaced looks, as many",
                f"{spared} of {len(staggered)}",
                "all",
                spared == len(staggered),
            ),
            Row(
                "at once: within 5 % of the best that makes no more requests",
                f"{near} of {len(behind)}",
                "all",
                near == len(behind),
            ),
        ],
    )
    for title, missed in (
        ("a fixed policy is better in both", worse),
        ("behind the best at once", [f"{_name(c)}: {r:.2f}" for c, r in behind.items() if r > NO_SLOWER]),
    ):
        print(f"\n{title}: {'; '.join(missed) or 'nowhere'}")
    print_table(
        "pacing: Opwatch's mean delay, staggered and learned",
        ("", "of round-robin's with the whole budget", "of evenly spaced looks', as many"),
        [(_name(cell), f"{ratios[cell]:.2f}", f"{thrifty[cell]:.2f}") for cell in staggered],
    )


def _better_in_both(one: Figures, other: Figures) -> bool:
    return one.mean_s * NOISE < other.mean_s and one.requests * NOISE < other.requests


def _behind_the_best(figures: Mapping[str, Figures]) -> float:
    mine = figures[OPWATCH]
    others = [f for name, f in figures.items() if name not in (CLAIRVOYANT, OPWATCH, THRIFTY)]
    rivals = [f.mean_s for f in others if f.requests <= mine.requests * NOISE]
    return mine.mean_s / min([*rivals, mine.mean_s])


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
