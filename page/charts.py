"""Small charts, drawn by the server as SVG: shapes as numbers, for the templates. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil
from statistics import quantiles

from notifiers.time_wording import span
from notifiers.wording import type_name
from operations.model import WENT_WRONG, State, Usual
from operations.storage.listing import End
from operations.telling import sample
from operations.text import plain

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


@dataclass(frozen=True, slots=True)
class Column:
    """One day of a chart: what ended, and the part of it that went wrong; `y` counts from the top."""

    x: int
    y: float
    height: float
    wrong_y: float
    wrong_height: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRow:
    """How often one type of operation of an app ended and went wrong, how long it usually takes, and its days."""

    app: str
    place: str
    what: str
    ended: int
    wrong: int
    usual: str
    columns: tuple[Column, ...]
    words: str

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
            what = type_name(each.kind, each.operation.type if each.operation else None)
            known[plain(each.app), each.place, what].append(each)
    rows = (_row(*names, some, days) for names, some in known.items())
    return sorted(rows, key=lambda row: (-row.wrong, -row.ended, row.app, row.what))


def _row(app: str, place: str, what: str, ends: Sequence[End], days: Sequence[date]) -> AppRow:
    by_day = {day: [0, 0] for day in days}
    for each in ends:
        counts = by_day.get(each.ended_at.astimezone(UTC).date())
        if counts is not None:
            counts[0] += 1
            counts[1] += each.state in WENT_WRONG
    most = max((ended for ended, _ in by_day.values()), default=0)
    columns = tuple(_column(number, day, by_day[day], most) for number, day in enumerate(days))
    return AppRow(
        app=app,
        place=place,
        what=what,
        ended=len(ends),
        wrong=sum(each.state in WENT_WRONG for each in ends),
        usual=_usual([e.duration_s for e in ends if e.duration_s is not None and e.state is State.SUCCEEDED]),
        columns=columns,
        words=f"{app} {what}: " + ("; ".join(c.words for c in columns if c.height) or "none on these days"),
    )


def _column(number: int, day: date, counts: Sequence[int], most: int) -> Column:
    ended, wrong = counts
    unit = HEIGHT / max(most, 1)
    wrong_words = f", {wrong} went wrong" if wrong else ""
    return Column(
        number * _COLUMN,
        round(HEIGHT - ended * unit, 1),
        round(ended * unit, 1),
        round(HEIGHT - wrong * unit, 1),
        round(wrong * unit, 1),
        f"{day.day} {day:%b}: {ended} ended{wrong_words}",
    )


def _usual(durations_s: Sequence[float]) -> str:
    if not durations_s:
        return ""
    cuts = quantiles(durations_s, n=10, method="inclusive") if len(durations_s) > 1 else [durations_s[0]] * 9
    return span(Usual(p50=cuts[4], p90=cuts[8], samples=len(durations_s)))
