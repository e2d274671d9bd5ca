"""Small charts, drawn by the server as SVG: shapes as numbers, for the templates. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil
from statistics import quantiles

from notifiers.time_wording import span
from operations.model import WENT_WRONG, State, Usual
from operations.storage.listing import End
from operations.telling import sample
from operations.text import plain
from page.search import type_of

MOST_DAYS = 31
HEIGHT = 24
_COLUMN = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """A duration against the usual one, in percent of the bar's width."""

    took: float
    usual_from: float
    usual_to: float
    mood: str


class Column:
    """One day of a chart: what ended, and the part of it that went wrong; `y` counts from the top."""

    def __init__(self, number: int, day: date, ends: Sequence[End], most: int) -> None:
        ended, wrong, unit = len(ends), _wrong(ends), HEIGHT / max(most, 1)
        self.x = number * _COLUMN
        self.y = round(HEIGHT - ended * unit, 1)
        self.height = round(ended * unit, 1)
        self.wrong_y = round(HEIGHT - wrong * unit, 1)
        self.wrong_height = round(wrong * unit, 1)
        self.words = f"{day.day} {day:%b}: {ended} ended" + (f", {wrong} went wrong" if wrong else "")


class AppRow:
    """How often one type of operation of an app ended and went wrong, how long it usually takes, and its days."""

    def __init__(self, app: str, place: str, what: str, ends: Sequence[End], days: Sequence[date]) -> None:
        by_day = defaultdict[date, list[End]](list)
        for end in ends:
            by_day[end.ended_at.astimezone(UTC).date()].append(end)
        most = max(len(by_day[day]) for day in days)
        self.app, self.place, self.what = app, place, what
        self.filters = {"app": f'"{app}"', "type": what, **({"q": place} if place else {})}
        self.ended = len(ends)
        self.wrong = _wrong(ends)
        self.usual = _usual([e.duration_s for e in ends if e.duration_s is not None and e.state is State.SUCCEEDED])
        self.columns = [Column(number, day, by_day[day], most) for number, day in enumerate(days)]
        there = "; ".join(column.words for column in self.columns if column.height)
        self.words = f"{app} {what}: {there or 'none on these days'}"

    @property
    def rate(self) -> str:
        """The part that went wrong, in percent; a few are never rounded to none, nor most to all."""
        percent = 100 * self.wrong / self.ended
        return f"{min(99, max(1, round(percent)))} %" if 0 < self.wrong < self.ended else f"{percent:.0f} %"

    @property
    def width(self) -> int:
        """The chart's width."""
        return len(self.columns) * _COLUMN


def bar(took_s: float | None, usual: Usual | None) -> Bar | None:
    """Compare a duration with the usual one; None if either is unknown."""
    if took_s is None or usual is None:
        return None
    unit = 100 / (1.1 * max(took_s, usual.p90, 0.001))
    mood = "long" if took_s > usual.p90 else ""
    return Bar(round(took_s * unit, 1), round(usual.p50 * unit, 1), round(usual.p90 * unit, 1), mood)


def days_until(now: datetime, retention_days: float) -> list[date]:
    """List the days for which trackings are kept, at most the last 31."""
    count = min(MOST_DAYS, ceil(retention_days) + 1)
    today = now.astimezone(UTC).date()
    return [today - timedelta(days=ago) for ago in reversed(range(count))]


def app_rows(ends: Iterable[End], days: Sequence[date]) -> list[AppRow]:
    """Sum up ends by app and type of operation; what went wrong most often comes first."""
    known = defaultdict[tuple[str, str, str], list[End]](list)
    for each in ends:
        if each.app != sample.APP and each.state is not State.CANCELLED:
            known[plain(each.app), each.place, type_of(each)].append(each)
    rows = (AppRow(*names, some, days) for names, some in known.items())
    return sorted(rows, key=lambda row: (-row.wrong, -row.ended, row.app, row.what))


def _wrong(ends: Iterable[End]) -> int:
    return sum(each.state in WENT_WRONG for each in ends)


def _usual(durations_s: Sequence[float]) -> str:
    if not durations_s:
        return ""
    cuts = quantiles(durations_s, n=10, method="inclusive") if len(durations_s) > 1 else [durations_s[0]] * 9
    return span(Usual(p50=cuts[4], p90=cuts[8], samples=len(durations_s)))
