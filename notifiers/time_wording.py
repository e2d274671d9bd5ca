"""The words for durations, the same in every kind. Pure."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from operations.model import Usual
from operations.telling.announcement import Announcement

NO_BREAK = "\u00a0"

_HOUR_S = 3600
_WHOLE_FROM_S = 0.95
_UNITS_S = {"h": _HOUR_S, "min": 60, "s": 1}


def duration(seconds: float | None) -> str:
    """Write a duration: `0.4 s`, `42 s`, `3 min 5 s`, `1 h 2 min`, `1 h`; empty if unknown.

    A no-break space keeps each number and its unit on one line.
    """
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds:.1f}{NO_BREAK}s"
    whole = round(seconds)
    large, small = ("min", "s") if whole < _HOUR_S else ("h", "min")
    counts = (whole // _UNITS_S[large], large), (whole % _UNITS_S[large] // _UNITS_S[small], small)
    return " ".join(f"{number}{NO_BREAK}{unit}" for number, unit in counts if number)


def is_unusual(seconds: float, usual: Usual) -> bool:
    """Tell whether a duration is far from the usual ones: half as long again, or half as short, by 5 s at least."""
    return seconds > max(1.5 * usual.p90, usual.p90 + 5) or seconds < min(0.5 * usual.p50, usual.p50 - 5)


def span(usual: Usual) -> str:
    """Write the usual duration, from p50 to p90: `15–20 s`, `15 s`, `2–3 min`, `40 s – 3 min`."""
    upper = unit_of(usual.p90)
    lower = upper if usual.p50 >= _UNITS_S[upper] else unit_of(usual.p50)
    first, last = count(usual.p50, lower), count(usual.p90, upper)
    if lower != upper:
        return f"{first}{NO_BREAK}{lower} – {last}{NO_BREAK}{upper}"
    return f"{first}{NO_BREAK}{upper}" if first == last else f"{first}–{last}{NO_BREAK}{upper}"


def unit_of(seconds: float) -> str:
    """Choose the largest unit that fits at least twice."""
    return next((unit for unit, size_s in _UNITS_S.items() if seconds >= 2 * size_s), "s")


def count(seconds: float, unit: str) -> str:
    """Write the number of units: whole ones, except below a second."""
    return f"{seconds:.1f}" if seconds < _WHOLE_FROM_S else str(int(seconds / _UNITS_S[unit] + 0.5))


def since(announcement: Announcement, dated: Callable[[datetime, str], str]) -> Iterator[str]:
    """Yield when the operation ended and what has happened since, if the message does not come at once."""
    at, late_s = announcement.ended_at, announcement.late_s
    if at is None or (late_s is None and not announcement.overtaken):
        return
    same_day = (at + timedelta(seconds=late_s or 0)).date() == at.date()
    yield f"ended {dated(at, f'{at:%H:%M} UTC' if same_day else f'{at:%Y-%m-%d %H:%M} UTC')}"
    if late_s is not None:
        unit = unit_of(late_s)
        yield f"told {count(late_s, unit)}{NO_BREAK}{unit} late"
    if announcement.overtaken:
        yield "overtaken by a newer outcome"
