"""Estimates how long operations take, from past durations and a prior. Pure.

The estimate is a distribution. It mixes the latest operations of the same app and type (newer ones weigh more), with a
small weight all operations of the type, and a prior with a heavy tail, so that no duration is impossible.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import sqrt

from operations.kind import Kind
from operations.model import Usual

KEPT = 50
"""How many durations are stored per app and type, and per type."""

FADE = 0.97
"""The weight of each duration relative to the next newer one: a half after 23 operations."""

WEIGHT_OF_TYPE = 2.0
"""The total weight of the type's durations, in operations. The app's own durations soon outweigh it."""

SPREAD, NEIGHBOURS = 0.06, 2
"""Each sample is spread evenly between its second-nearest neighbours, at least ±6 % (nearest-neighbour density, k = 2).
"""

LONGEST_S = 172_800.0
"""Two days. Longer durations are ignored: no run lasts so long, so a clock must be wrong."""

FEWEST_SAMPLES = 3
"""With fewer samples, no duration is called usual."""

PRIOR_MEDIAN_S = {Kind.OPERATION: 25.0, Kind.DEPLOYMENT: 240.0, Kind.DATABASE: 600.0, Kind.BACKUP: 600.0}
PRIOR_SHAPE = 1.5
_PRIOR_FROM_S, _PRIOR_POINTS = 1.0, 48

Weighted = tuple[float, float]
"""A duration in seconds, and its weight."""

Span = tuple[float, float, float]
"""An interval of equally probable durations, and its weight."""


@dataclass(frozen=True, slots=True)
class Durations:
    """The weight of operations that still run at each age, as a piecewise linear function, and the area below it.

    Ages are in seconds. Each query is a binary search.
    """

    ages_s: "array[float]"
    running: "array[float]"
    area: "array[float]"
    usual: Usual | None = None

    @classmethod
    def learn(
        cls, own_s: Sequence[float] = (), of_type_s: Sequence[float] = (), *, kind: Kind = Kind.OPERATION
    ) -> "Durations":
        """Learn from durations of the same app and type, and of the type in any app, newest first.

        `usual` comes only from the app's own durations: those of other apps say little about it.
        """
        each = WEIGHT_OF_TYPE / max(len(of_type_s), WEIGHT_OF_TYPE)
        spans = list(_PRIORS[kind])
        spans += _spread((duration_s, each) for duration_s in of_type_s)
        spans += _spread((duration_s, FADE**age) for age, duration_s in enumerate(own_s))
        return cls(*_line(spans), usual=_usual(own_s))

    def unseen_s(self, seen_at_s: float, age_s: float) -> float:
        """Return for how many seconds it has probably been finished, unseen: the mean of `max(0, age - duration)`.

        The mean is over the possible durations: those longer than the age at which it was last seen unfinished.
        """
        running, area = self._at(seen_at_s)
        if running <= 0:
            return max(0.0, age_s - seen_at_s)
        return max(0.0, age_s - seen_at_s - (self._at(age_s)[1] - area) / running)

    def age_s(self, seen_at_s: float, unseen_s: float) -> float:
        """Return the age at which the probable unseen time is `unseen_s`, if last seen unfinished at `seen_at_s`."""
        running, area = self._at(seen_at_s)
        if running <= 0:
            return seen_at_s + unseen_s

        def lacks_s(point: int) -> float:
            return unseen_s - (self.ages_s[point] - seen_at_s) + (self.area[point] - area) / running

        last = len(self.ages_s) - 1
        after = bisect_left(range(last + 1), 0.0, lo=bisect_right(self.ages_s, seen_at_s), key=lambda p: -lacks_s(p))
        if after > last:
            return self.ages_s[last] + lacks_s(last)
        before_s = max(seen_at_s, self.ages_s[after - 1])
        here, below = self._at(before_s)
        # From here the area grows as a parabola: the missing part is `slope * t + bend * t * t`.
        missing_s = unseen_s - (before_s - seen_at_s) + (below - area) / running
        slope = 1 - here / running
        bend = (here - self.running[after]) / (self.ages_s[after] - before_s) / (2 * running)
        root = slope + sqrt(max(0.0, slope * slope + 4 * bend * missing_s))
        return before_s + (2 * missing_s / root if root > 0 else self.ages_s[after] - before_s)

    def _at(self, age_s: float) -> Weighted:
        """Return the weight that still runs at this age, and the area up to it."""
        point = bisect_right(self.ages_s, age_s) - 1
        if point == len(self.ages_s) - 1:
            return 0.0, self.area[point]
        since_s, lasts_s = age_s - self.ages_s[point], self.ages_s[point + 1] - self.ages_s[point]
        running = self.running[point] + (self.running[point + 1] - self.running[point]) * since_s / lasts_s
        return running, self.area[point] + since_s * (self.running[point] + running) / 2


def _line(spans: Sequence[Span]) -> tuple["array[float]", "array[float]", "array[float]"]:
    """Sum up the spans over all ages: within a span, operations end evenly."""
    turns = [(from_s, weight / (to_s - from_s)) for from_s, to_s, weight in spans]
    turns += [(to_s, -weight / (to_s - from_s)) for from_s, to_s, weight in spans]
    ages_s, running, area = array("d", [0.0]), array("d", [sum(weight for *_, weight in spans)]), array("d", [0.0])
    ending = 0.0  # weight per second
    for at_s, change in sorted(turns):
        passed_s = at_s - ages_s[-1]
        if passed_s > 0:
            left = max(0.0, running[-1] - ending * passed_s)
            area.append(area[-1] + passed_s * (running[-1] + left) / 2)
            ages_s.append(at_s)
            running.append(left)
        ending += change
    running[-1] = 0.0  # but for rounding
    return ages_s, running, area


def _spread(samples: Iterable[Weighted]) -> Iterator[Span]:
    """Fill the gaps between samples: the next duration may be anywhere between two of them."""
    ordered = sorted(samples)
    for number, (duration_s, weight) in enumerate(ordered):
        shorter_s = min(ordered[max(0, number - NEIGHBOURS)][0], duration_s * (1 - SPREAD))
        longer_s = max(ordered[min(len(ordered) - 1, number + NEIGHBOURS)][0], duration_s * (1 + SPREAD), 0.001)
        yield shorter_s, longer_s, weight


def _usual(newest_first_s: Sequence[float]) -> Usual | None:
    if len(newest_first_s) < FEWEST_SAMPLES:
        return None
    weighted = sorted((duration_s, FADE**age) for age, duration_s in enumerate(newest_first_s))
    total = sum(weight for _, weight in weighted)
    sums = list(accumulate(weight for _, weight in weighted))
    p50, p90 = (weighted[bisect_left(sums, share * total * (1 - 1e-9))][0] for share in (0.5, 0.9))
    return Usual(p50=round(p50, 3), p90=round(p90, 3), samples=len(newest_first_s))


def _prior(median_s: float) -> tuple[Span, ...]:
    """Spread the weight of one operation by a log-logistic distribution, over growing spans."""
    ratio = (LONGEST_S / _PRIOR_FROM_S) ** (1 / _PRIOR_POINTS)
    edges_s = [0.0, *(_PRIOR_FROM_S * ratio**number for number in range(_PRIOR_POINTS + 1))]
    survive = [1 / (1 + (edge_s / median_s) ** PRIOR_SHAPE) for edge_s in edges_s]
    survive[-1] = 0.0
    return tuple(
        (from_s, to_s, before - after)
        for (from_s, to_s), (before, after) in zip(pairwise(edges_s), pairwise(survive), strict=True)
    )


_PRIORS = {kind: _prior(median_s) for kind, median_s in PRIOR_MEDIAN_S.items()}
