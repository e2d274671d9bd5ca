"""The words of a message, the same in every kind. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from operations.kind import Kind
from operations.model import DeliveryState, State, Usual, Verdict
from operations.telling.announcement import Announcement
from operations.telling.live import Progress
from operations.text import cut_middle, first_line, plain, url_fault, whole_lines

ONE_OFF = "start-one-off"  # its success means that it has started; how it ends is unknown
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
"""The words for states in messages, one-line answers and on the page."""

NO_ERROR_TEXT = "Scalingo gave no error text"
NO_BREAK = "\u00a0"

_MINUTE_S, _HOUR_S = 60, 3600
_WHOLE_FROM_S = 0.95
_VALUE_LIMIT, _URL_LIMIT = 150, 1_000
_KNOWN_FIRST = ("environment", "actor", "commit")
_PING = re.compile(r"[@<](?=[\w!@#&])")
_UNITS_S = {"h": _HOUR_S, "min": _MINUTE_S, "s": 1}


def what(announcement: Announcement | Progress) -> str:
    """Name what ran, in the API's word if known: `restart`, `scale`, `deployment`, `database upgrade`, `backup`."""
    return type_name(announcement.kind, announcement.type)


def type_name(kind: Kind, word: str | None) -> str:
    """Name a type of operation for people; `word` is the API's."""
    shown = first_line(plain(word or ""), 40)
    if kind is Kind.DATABASE:
        return f"database {shown or 'operation'}"
    return "one-off" if word == ONE_OFF else shown or kind.value


def progress(seen: Progress) -> str:
    """Write the progress: `pending for 3 s`, `running for 42 s`, `cancelled after 42 s`."""
    age = duration(seen.age_s)
    if seen.over:
        return f"{WORDS[State.CANCELLED]} after {age}"
    status = first_line(plain(seen.status), 40) or WORDS[State.TRACKING]
    return f"still {status} after {age}" if seen.slow else f"{status} for {age}"


def progress_mark(seen: Progress) -> str:
    """Return the emoji for an operation without an outcome."""
    if seen.over:
        return MARKS[State.CANCELLED]
    if seen.slow:
        return SLOW_MARK
    return PENDING_MARK if seen.waiting else MARKS[State.TRACKING]


def usually(seen: Progress) -> str:
    """Write how long such operations usually take: ` (usually 15–20 s)`; empty if unknown."""
    return "" if seen.usual is None or seen.over else f" (usually {span(seen.usual)})"


def verdict(announcement: Announcement) -> str:
    """Write verdict and duration: `failed after 42 s`; for a slow operation, `still running after 42 s`."""
    took = duration(announcement.duration_s)
    if announcement.slow:
        return f"still running after {took}"
    started = announcement.type == ONE_OFF and announcement.verdict is Verdict.SUCCEEDED
    word = "started" if started else WORDS[State(announcement.verdict)]
    return f"{word} after {took}" if took else word


def compared(announcement: Announcement, dated: Callable[[datetime, str], str] | None = None) -> str:
    """Write what is added to the duration: ` (usually 15–20 s), ended 16:20 UTC, told 25 min late`.

    The usual duration is left out if either is unknown, and for `lost`, whose duration is not that of the operation.
    The end is added if the message is late or overtaken. `dated` writes a time, given also as text, in another way.
    """
    lost = announcement.verdict is Verdict.LOST and not announcement.slow
    known = announcement.usual is not None and announcement.duration_s is not None and not lost
    usual = f" (usually {span(announcement.usual)})" if announcement.usual is not None and known else ""
    return usual + "".join(f", {each}" for each in _since(announcement, dated or (lambda _, text: text)))


def _since(announcement: Announcement, dated: Callable[[datetime, str], str]) -> Iterator[str]:
    """Yield when the operation ended and what has happened since, if the message does not come at once."""
    at, late_s = announcement.ended_at, announcement.late_s
    if at is None or (late_s is None and not announcement.overtaken):
        return
    same_day = (at + timedelta(seconds=late_s or 0)).date() == at.date()
    yield f"ended {dated(at, f'{at:%H:%M} UTC' if same_day else f'{at:%Y-%m-%d %H:%M} UTC')}"
    if late_s is not None:
        unit = _unit(late_s)
        yield f"told {_count(late_s, unit)}{NO_BREAK}{unit} late"
    if announcement.overtaken:
        yield "overtaken by a newer outcome"


def headline(announcement: Announcement) -> str:
    """Write the announcement in one line: `❌ shop: restart failed after 42 s`, or the alert."""
    if announcement.alert is None:
        return outcome(announcement)
    return f"{alert_mark(announcement)} {announcement.alert}"


def alert_mark(announcement: Announcement) -> str:
    """Return the emoji for an alert."""
    return MARKS[State.SUCCEEDED] if announcement.recovered else ALERT_MARK


def mark(announcement: Announcement) -> str:
    """Return the emoji for an outcome or a warning."""
    return SLOW_MARK if announcement.slow else MARKS[State(announcement.verdict)]


def explanation(announcement: Announcement) -> str:
    """Return the text below the headline: the cause; for an alert, the outcome that could not be delivered."""
    if announcement.alert is None:
        return shown_cause(announcement)
    return f"{outcome(announcement)}\n{shown_cause(announcement)}".strip() if announcement.ended else ""


def went_wrong(announcement: Announcement) -> bool:
    """Tell whether to mention somebody: not for a success, a slow operation, or an outcome that was overtaken."""
    if announcement.slow or announcement.quiet:
        return False
    bad = announcement.verdict is not Verdict.SUCCEEDED and not announcement.overtaken
    return announcement.alert is not None or bad


def context(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of the caller's context, each in one short line, well-known names first; without `url`."""
    for name in (*_KNOWN_FIRST, *(name for name in given if name not in (*_KNOWN_FIRST, "url"))):
        label, value = (first_line(plain(text), _VALUE_LIMIT) for text in (name, given.get(name, "")))
        if label and value:
            yield label, value


def link(given: Mapping[str, str]) -> str:
    """Return the `url` of a context if it is an http(s) URL that cannot pass for markup; else an empty text."""
    url = given.get("url", "")
    return url if url_fault(url) is None and len(url) <= _URL_LIMIT else ""


def plain_text(announcement: Announcement, limit_bytes: int) -> str:
    """Write everything below the headline as plain text. A long cause is cut in the middle."""
    below = "\n".join(
        [*(f"{name}: {value}" for name, value in context(announcement.context)), link(announcement.context)]
    ).strip()
    below = cut_middle(below, limit_bytes // 2, size_bytes)
    above = whole_lines(cut_middle(explanation(announcement), limit_bytes - size_bytes(below) - 2, size_bytes))
    return "\n\n".join(part for part in (above, below) if part)


def unpinged(text: str) -> str:
    """Insert a zero-width space into possible mentions (`@here`, `<!channel>`), so that they notify nobody."""
    return _PING.sub("\\g<0>\u200b", text)


def size_bytes(text: str) -> int:
    """Count bytes in UTF-8, which are never fewer than the characters that a vendor may count."""
    return len(text.encode("utf-8", "replace"))


def outcome(announcement: Announcement) -> str:
    """Write the outcome, or that it is slow: `❌ shop: restart failed after 42 s (usually 15–20 s)`."""
    return f"{mark(announcement)} {in_words(announcement)}"


def in_words(announcement: Announcement) -> str:
    """Write the outcome without an emoji: `shop: restart failed after 42 s (usually 15–20 s)`."""
    return f"{announcement.app}: {what(announcement)} {verdict(announcement)}{compared(announcement)}"


def cause(announcement: Announcement) -> str:
    """Return the error text or else the reason of the verdict, without colours and control characters."""
    return plain(announcement.error or announcement.reason or "").strip()


def shown_cause(announcement: Announcement) -> str:
    """Return the cause as messages show it. A failure without an error text says so: readers would look for it."""
    failed = announcement.ended and announcement.verdict is Verdict.FAILED
    return cause(announcement) or (NO_ERROR_TEXT if failed else "")


def cut_cause(announcement: Announcement, limit: int, size: Callable[[str], int] = len) -> str:
    """Return the cause. A long one loses whole lines in its middle, so that `size` of the result is at most `limit`."""
    return whole_lines(cut_middle(shown_cause(announcement), limit, size))


def duration(seconds: float | None) -> str:
    """Write a duration: `0.4 s`, `42 s`, `3 min 5 s`, `1 h 2 min`; empty if unknown.

    A no-break space keeps each number and its unit on one line.
    """
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds:.1f}{NO_BREAK}s"
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole}{NO_BREAK}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}{NO_BREAK}min {whole % _MINUTE_S}{NO_BREAK}s"
    return f"{whole // _HOUR_S}{NO_BREAK}h {whole % _HOUR_S // _MINUTE_S}{NO_BREAK}min"


def for_terminals(text: str) -> str:
    """Write ordinary spaces for no-break ones, where scripts search for words or headers are folded."""
    return text.replace(NO_BREAK, " ")


def span(usual: Usual) -> str:
    """Write the usual duration, from p50 to p90: `15–20 s`, `15 s`, `2–3 min`, `40 s – 3 min`."""
    upper = _unit(usual.p90)
    lower = upper if usual.p50 >= _UNITS_S[upper] else _unit(usual.p50)
    first, last = _count(usual.p50, lower), _count(usual.p90, upper)
    if lower != upper:
        return f"{first} {lower} – {last} {upper}"
    return f"{first} {upper}" if first == last else f"{first}–{last} {upper}"


def _unit(seconds: float) -> str:
    """Choose the largest unit that fits at least twice."""
    return next((unit for unit, size_s in _UNITS_S.items() if seconds >= 2 * size_s), "s")


def _count(seconds: float, unit: str) -> str:
    """Write the number of units: whole ones, except below a second."""
    return f"{seconds:.1f}" if seconds < _WHOLE_FROM_S else str(int(seconds / _UNITS_S[unit] + 0.5))
