"""Trackings and problems in one line that a shell script can read: `read -r state id rest`. Pure.

The first word is the state (or `error`), the second the id (or the HTTP status). The rest is for people, in the words
of the messages. No text from outside can start a second line.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from http import HTTPStatus
from urllib.parse import quote

from notifiers import group_wording, progress_wording, wording
from notifiers.time_wording import duration
from operations.model import State, Tracking
from operations.telling import announcement
from operations.telling.groups import WORST_FIRST, Group
from operations.telling.progress import progress_of
from operations.text import first_line, plain

LONGEST_CAUSE = 300
INCOMPLETE = timedelta(minutes=30)
"""A group of a known size that waits for another member so long after the last end will probably never be complete."""

MOST_NAMED = 5
"""Members of a group that went wrong."""

OVERDUE = timedelta(minutes=16)
"""A tracking that is unfinished so long after its deadline is not looked at: see `operations/watching/looks.py`."""


def tracking_line(tracking: Tracking, now: datetime) -> str:
    """Write the state of a tracking: `failed osc-fr1-… shop: restart failed after 42 s: it broke`."""
    return f"{tracking.state} {tracking.id} {wording.for_terminals(_words(tracking, now))}\n"


def _words(tracking: Tracking, now: datetime) -> str:
    if tracking.state in (State.TRACKING, State.CANCELLED):
        seen = progress_of(tracking, None, now)
        so_far = "not seen yet" if tracking.operation is None and not seen.over else progress_wording.progress(seen)
        words = f"{wording.app(seen)}: {wording.what(seen)} {so_far}{progress_wording.usually(seen)}"
        trouble = f"the last look failed: {tracking.last_error}" if tracking.last_error and not seen.over else ""
        overdue = now - tracking.created_at - timedelta(seconds=tracking.timeout_s)
        if overdue >= OVERDUE and not seen.over:  # `bin/opwatch` stops waiting at these words
            words += f": past its deadline for {duration(overdue.total_seconds())}"
    else:
        told = announcement.announce(tracking)
        words = wording.in_words(told)
        trouble = wording.short_cause(told, LONGEST_CAUSE) if wording.cause(told) else ""
    if trouble := first_line(plain(trouble), LONGEST_CAUSE):
        words += f": {trouble}"
    return words


def group_line(group: Group, now: datetime) -> str:
    """Write a group, its name percent-encoded, and what went wrong: `failed build%207 failed after 42 s; shop: …`."""
    words = "; ".join(_group_words(group, now))
    return f"{group.state} {quote(group.name, safe='')} {wording.for_terminals(words)}\n"


def _group_words(group: Group, now: datetime) -> Iterator[str]:
    yield "".join(group_wording.headline(group, now))
    quiet = now - max(member.ended_at or now for member in group.members)
    if not group.final and quiet >= INCOMPLETE:  # `bin/opwatch` stops waiting at these words
        yield f"no other has joined for {duration(quiet.total_seconds())}"
    wrong = [member for member in group.worst_first if member.state in WORST_FIRST[:3]]
    yield from (_words(member, now) for member in wrong[:MOST_NAMED])
    if len(wrong) > MOST_NAMED:
        yield f"and {len(wrong) - MOST_NAMED} more"


def problem_line(status: HTTPStatus, detail: str) -> str:
    """Write a problem: `error 404 no operation of this id is tracked`."""
    return f"error {status.value} {' '.join(plain(detail).split())}\n"
