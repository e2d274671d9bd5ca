"""How long operations of one kind take: what was learned of them, over what is known of none. Pure.

A distribution of weighted points, in seconds: those of the latest operations of the same app and type, newer ones
weighing more; a little of all operations of the type; and a prior with a heavy tail, so that nothing is impossible.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from operations.model import Usual

KEPT = 50
"""How many durations of one kind are remembered."""

FADE = 0.97
"""What each duration weighs beside the next newer one: half after 23 operations."""

WEIGHT_OF_TYPE = 2.0
"""What all that other apps have taught weighs, in operations; whatever is learned of the app itself outweighs it."""

SPREAD, SPREAD_OVER = 0.06, 5
"""A duration stands for all between its next shorter and its next longer one, or 6 % to each side, as five points."""

FEWEST_SAMPLES = 3
"""From fewer nothing is called usual."""

PRIOR_MEDIAN_S, PRIOR_SHAPE = 25.0, 1.5
_PRIOR_FROM_S, _PRIOR_TO_S, _PRIOR_POINTS = 1.0, 172_800.0, 60

Weighted = tuple[float, float]
"""A duration in seconds, and its weight."""


@dataclass(frozen=True, slots=True)
class Durations:
    """A distribution as points in order, with sums over each and all after it: questions cost a binary search.

    `weight_from[k]` is the weight of the points from the k-th on, `moment_from[k]` the same times their seconds.
    """

    points_s: tuple[float, ...]
    weight_from: tuple[float, ...]
    moment_from: tuple[float, ...]
    usual: Usual | None = None

    @classmethod
    def of(cls, own_s: Sequence[float] = (), of_type_s: Sequence[float] = ()) -> "Durations":
        """Learn from durations of the same app and type, and of the type in any app, the newest first.

        Only its own are called usual: what other apps take says little to those who know this one.
        """
        weighted = list(_PRIOR)
        each = WEIGHT_OF_TYPE / max(len(of_type_s), WEIGHT_OF_TYPE)
        weighted += _spread((duration_s, each) for duration_s in of_type_s)
        weighted += _spread((duration_s, FADE**age) for age, duration_s in enumerate(own_s))
        weighted.sort()
        backwards = weighted[::-1]
        return cls(
            points_s=tuple(point for point, _ in weighted),
            weight_from=_sums_from(weight for _, weight in backwards),
            moment_from=_sums_from(point * weight for point, weight in backwards),
            usual=_usual(own_s),
        )

    def unseen_s(self, seen_at_s: float, age_s: float) -> float:
        """Say for how many seconds it has probably been finished, unseen: the mean of `max(0, age - duration)`.

        Over the durations that it may have: those longer than the age at which it was last seen unfinished.
        """
        first, now = bisect_right(self.points_s, seen_at_s), bisect_right(self.points_s, age_s)
        if self.weight_from[first] <= 0:
            return max(0.0, age_s - seen_at_s)
        return self._unseen(first, now, age_s) / self.weight_from[first]

    def age_s(self, seen_at_s: float, unseen_s: float) -> float:
        """Say at what age the probable unseen time reaches `unseen_s`; infinity beyond all durations."""
        first, last = bisect_right(self.points_s, seen_at_s), len(self.points_s)
        wanted = unseen_s * self.weight_from[first]
        if wanted <= 0:
            return float("inf")
        now = bisect_left(
            range(last), wanted, lo=first, key=lambda point: self._unseen(first, point, self.points_s[point])
        )
        ended, moment = self.weight_from[first] - self.weight_from[now], self.moment_from[first] - self.moment_from[now]
        return (wanted + moment) / ended if ended > 0 else self.points_s[min(now, last - 1)]

    def _unseen(self, first: int, now: int, age_s: float) -> float:
        ended = self.weight_from[first] - self.weight_from[now]
        return age_s * ended - (self.moment_from[first] - self.moment_from[now])


def _sums_from(backwards: Iterable[float]) -> tuple[float, ...]:
    return tuple(accumulate(backwards, initial=0.0))[::-1]


def _spread(samples: Iterable[Weighted]) -> Iterator[Weighted]:
    """Fill the gaps between samples: where they lie far apart, the next may lie anywhere between."""
    ordered = sorted(samples)
    for number, (duration_s, weight) in enumerate(ordered):
        shorter_s = min(ordered[max(0, number - 1)][0], duration_s * (1 - SPREAD))
        longer_s = max(ordered[min(len(ordered) - 1, number + 1)][0], duration_s * (1 + SPREAD))
        for point in range(SPREAD_OVER):
            share = (point + 0.5) / SPREAD_OVER
            yield shorter_s ** (1 - share) * longer_s**share, weight / SPREAD_OVER


def _usual(newest_first_s: Sequence[float]) -> Usual | None:
    if len(newest_first_s) < FEWEST_SAMPLES:
        return None
    weighted = sorted((duration_s, FADE**age) for age, duration_s in enumerate(newest_first_s))
    total = sum(weight for _, weight in weighted)
    sums = list(accumulate(weight for _, weight in weighted))
    p50, p90 = (weighted[bisect_left(sums, share * total * (1 - 1e-9))][0] for share in (0.5, 0.9))
    return Usual(p50=round(p50, 3), p90=round(p90, 3), samples=len(newest_first_s))


def _prior() -> tuple[Weighted, ...]:
    """Spread one operation's weight over points in geometric order, as a log-logistic distribution has it."""
    ratio = (_PRIOR_TO_S / _PRIOR_FROM_S) ** (1 / _PRIOR_POINTS)
    points_s = [_PRIOR_FROM_S * ratio**number for number in range(_PRIOR_POINTS + 1)]
    survive = [1 / (1 + (point * ratio**0.5 / PRIOR_MEDIAN_S) ** PRIOR_SHAPE) for point in points_s[:-1]]
    weights = [before - after for before, after in zip([1.0, *survive], [*survive, 0.0], strict=True)]
    return tuple(zip(points_s, weights, strict=True))


_PRIOR = _prior()
