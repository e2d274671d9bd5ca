"""The words for an operation without an outcome, the same in every kind. Pure."""

from notifiers import wording
from notifiers.context_wording import PLAIN, Markup
from notifiers.time_wording import duration, span
from operations.model import State
from operations.telling.progress import Progress
from operations.text import first_line, plain

PENDING_MARK = "🕐"


def line(seen: Progress, markup: Markup = PLAIN) -> str:
    """Write the progress of an operation in one line: `🔄 shop: restart running for 42 s (usually 15–20 s)`."""
    said = markup.strong(markup.safe(progress(seen)))
    return f"{_mark(seen)} {wording.app(seen, markup)}: {markup.safe(wording.what(seen))} {said}{usually(seen)}"


def progress(seen: Progress) -> str:
    """Write the progress: `pending for 3 s`, `running for 42 s`, `cancelled after 42 s`."""
    age = duration(seen.age_s)
    if seen.over:
        return f"{wording.WORDS[State.CANCELLED]} after {age}"
    status = first_line(plain(seen.status), 40) or wording.WORDS[State.TRACKING]
    return f"still {status} after {age}" if seen.slow else f"{status} for {age}"


def _mark(seen: Progress) -> str:
    if seen.over:
        return wording.MARKS[State.CANCELLED]
    if seen.slow:
        return wording.SLOW_MARK
    return PENDING_MARK if seen.waiting else wording.MARKS[State.TRACKING]


def usually(seen: Progress) -> str:
    """Write how long such operations usually take: ` (usually 15–20 s)`; empty if unknown."""
    return "" if seen.usual is None or seen.over else f" (usually {span(seen.usual)})"
