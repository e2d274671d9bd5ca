"""The words for an operation without an outcome, the same in every kind. Pure."""

from notifiers import wording
from notifiers.time_wording import duration, span
from operations.model import State
from operations.telling.progress import Progress
from operations.text import first_line, plain

PENDING_MARK = "🕐"


def progress(seen: Progress) -> str:
    """Write the progress: `pending for 3 s`, `running for 42 s`, `cancelled after 42 s`."""
    age = duration(seen.age_s)
    if seen.over:
        return f"{wording.WORDS[State.CANCELLED]} after {age}"
    status = first_line(plain(seen.status), 40) or wording.WORDS[State.TRACKING]
    return f"still {status} after {age}" if seen.slow else f"{status} for {age}"


def progress_mark(seen: Progress) -> str:
    """Return the emoji for an operation without an outcome."""
    if seen.over:
        return wording.MARKS[State.CANCELLED]
    if seen.slow:
        return wording.SLOW_MARK
    return PENDING_MARK if seen.waiting else wording.MARKS[State.TRACKING]


def usually(seen: Progress) -> str:
    """Write how long such operations usually take: ` (usually 15–20 s)`; empty if unknown."""
    return "" if seen.usual is None or seen.over else f" (usually {span(seen.usual)})"
