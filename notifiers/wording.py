"""The words of a message, the same in every kind. Pure."""

import re
from collections.abc import Iterator, Mapping

from operations.model import DeliveryState, State, Usual, Verdict
from operations.telling.announcement import Announcement
from operations.telling.live import Progress
from operations.text import cut_middle, first_line, plain, url_fault

ALERT_MARK = "⚠️"
SLOW_MARK = "⏳"
PENDING_MARK = "🕐"
MARKS = {
    State.TRACKING: "🔄",
    State.SUCCEEDED: "✅",
    State.FAILED: "❌",
    State.TIMED_OUT: "⏱️",
    State.LOST: "❓",
    State.CANCELLED: "⏹️",
}
WORDS = {
    State.TRACKING: "under way",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.TIMED_OUT: "not finished",
    State.LOST: "lost from sight",
    State.CANCELLED: "cancelled",
}
DELIVERY_WORDS = {state: "given up" if state is DeliveryState.DEAD else state.value for state in DeliveryState}
"""What people are told of a state, in messages, in one-line answers and on the page."""

_MINUTE_S, _HOUR_S = 60, 3600
_WHOLE_FROM_S = 0.95
_VALUE_LIMIT, _URL_LIMIT = 150, 1_000
_KNOWN_FIRST = ("environment", "actor", "commit")
_PING = re.compile(r"[@<](?=[\w!@#&])")
_UNITS_S = {"h": _HOUR_S, "min": _MINUTE_S, "s": 1}


def what(announcement: Announcement | Progress) -> str:
    """Name what is or was done in the API's word, such as `restart` or `scale`."""
    return first_line(plain(announcement.type or ""), 40) or "operation"


def progress(seen: Progress) -> str:
    """Say how it goes: `pending for 3 s`, `running for 42 s`, `cancelled after 42 s`."""
    age = duration(seen.age_s)
    if seen.stopped:
        return f"{WORDS[State.CANCELLED]} after {age}"
    status = first_line(plain(seen.status), 40) or WORDS[State.TRACKING]
    return f"still {status} after {age}" if seen.slow else f"{status} for {age}"


def progress_mark(seen: Progress) -> str:
    """Give the sign in front of what has not ended."""
    if seen.stopped:
        return MARKS[State.CANCELLED]
    if seen.slow:
        return SLOW_MARK
    return PENDING_MARK if seen.status == "pending" else MARKS[State.TRACKING]


def usually(seen: Progress) -> str:
    """Say how long such operations usually take, where that is known: ` (usually 15–20 s)`."""
    return "" if seen.usual is None or seen.stopped else f" (usually {span(seen.usual)})"


def verdict(announcement: Announcement) -> str:
    """Say how it ended and how long it took: `failed after 42 s`; of what is slow, `still running after 42 s`."""
    took = duration(announcement.duration_s)
    if announcement.slow:
        return f"still running after {took}"
    word = WORDS[State(announcement.verdict)]
    return f"{word} after {took}" if took else word


def compared(announcement: Announcement) -> str:
    """Say how long such operations usually take, to stand behind how long it took: ` (usually 15–20 s)`.

    Empty where either is unknown, and of one that was lost: how long it was in sight compares with nothing.
    """
    lost = announcement.verdict is Verdict.LOST and not announcement.slow
    if announcement.usual is None or announcement.duration_s is None or lost:
        return ""
    return f" (usually {span(announcement.usual)})"


def headline(announcement: Announcement) -> str:
    """Say it all in one line: `❌ shop: restart failed after 42 s`, or of what the operator is alerted."""
    return outcome(announcement) if announcement.alert is None else f"{ALERT_MARK} {announcement.alert}"


def mark(announcement: Announcement) -> str:
    """Give the sign in front of an outcome, or of a warning that there is none yet."""
    return SLOW_MARK if announcement.slow else MARKS[State(announcement.verdict)]


def explanation(announcement: Announcement) -> str:
    """Give what stands below the headline: the cause; in an alert, the outcome that could not be told."""
    if announcement.alert is None:
        return cause(announcement)
    return f"{outcome(announcement)}\n{cause(announcement)}".strip() if announcement.ended else ""


def went_wrong(announcement: Announcement) -> bool:
    """Whether somebody has to be called: no success, no warning of what is only slow."""
    return not announcement.slow and (announcement.alert is not None or announcement.verdict is not Verdict.SUCCEEDED)


def context(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give name and value of what the caller passed along, each as one short line, what is known first; not `url`."""
    for name in (*_KNOWN_FIRST, *(name for name in given if name not in (*_KNOWN_FIRST, "url"))):
        label, value = (first_line(plain(text), _VALUE_LIMIT) for text in (name, given.get(name, "")))
        if label and value:
            yield label, value


def link(given: Mapping[str, str]) -> str:
    """Give the `url` of a context if it is an http(s) URL, of which nothing can be taken for markup; else nothing."""
    url = given.get("url", "")
    return url if url_fault(url) is None and len(url) <= _URL_LIMIT else ""


def plain_text(announcement: Announcement, limit_bytes: int) -> str:
    """Say everything below the headline as plain text, the cause cut in the middle where it would grow too long."""
    below = "\n".join(
        [*(f"{name}: {value}" for name, value in context(announcement.context)), link(announcement.context)]
    ).strip()
    below = cut_middle(below, limit_bytes // 2, size_bytes)
    above = cut_middle(explanation(announcement), limit_bytes - size_bytes(below) - 2, size_bytes)
    return "\n\n".join(part for part in (above, below) if part)


def unpinged(text: str) -> str:
    """Break what might call somebody (`@here`, `<!channel>`) with an invisible space; it looks the same."""
    return _PING.sub("\\g<0>\u200b", text)


def size_bytes(text: str) -> int:
    """Count bytes in UTF-8: never fewer than the characters by which a vendor may count, whatever those are."""
    return len(text.encode("utf-8", "replace"))


def outcome(announcement: Announcement) -> str:
    """Say how the operation ended, or that it is slow: `❌ shop: restart failed after 42 s (usually 15–20 s)`."""
    return f"{mark(announcement)} {in_words(announcement)}"


def in_words(announcement: Announcement) -> str:
    """Say the outcome without a sign in front: `shop: restart failed after 42 s (usually 15–20 s)`."""
    return f"{announcement.app}: {what(announcement)} {verdict(announcement)}{compared(announcement)}"


def cause(announcement: Announcement) -> str:
    """Give the error text or, without one, why the watch ended; free of colours and control characters."""
    return plain(announcement.error or announcement.reason or "").strip()


def duration(seconds: float | None) -> str:
    """Write a duration as people say it: `0.4 s`, `42 s`, `3 min 5 s`, `1 h 2 min`; empty when unknown."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"


def span(usual: Usual) -> str:
    """Write what is usual as people say it, from p50 to p90: `15–20 s`, `15 s`, `2–3 min`, `40 s – 3 min`."""
    upper = _unit(usual.p90)
    lower = upper if usual.p50 >= _UNITS_S[upper] else _unit(usual.p50)
    first, last = _count(usual.p50, lower), _count(usual.p90, upper)
    if lower != upper:
        return f"{first} {lower} – {last} {upper}"
    return f"{first} {upper}" if first == last else f"{first}–{last} {upper}"


def _unit(seconds: float) -> str:
    """Choose what to count in: the largest unit of which there are two."""
    return next((unit for unit, size_s in _UNITS_S.items() if seconds >= 2 * size_s), "s")


def _count(seconds: float, unit: str) -> str:
    """Write how many units that is: whole ones, but for less than a second."""
    return f"{seconds:.1f}" if seconds < _WHOLE_FROM_S else str(int(seconds / _UNITS_S[unit] + 0.5))
