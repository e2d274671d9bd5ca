"""A tracking, or a problem, in one line that a shell script can read: `read -r state id rest`. Pure.

The first word is the state (of a problem: `error`), the second the id (of a problem: the HTTP status); the rest is for
people, in the words that targets are told. Nothing from outside can begin another line.
"""

from datetime import datetime
from http import HTTPStatus

from notifiers import wording
from operations import announcement, pace
from operations.announcement import Announcement
from operations.model import State, Tracking
from operations.text import first_line, plain

LONGEST_STATUS = 40
LONGEST_CAUSE = 300


def of(tracking: Tracking, now: datetime) -> str:
    """Say where a tracking stands: `failed osc-fr1-… shop: restart failed after 42 s: it broke`."""
    kind = wording.named(tracking.operation.type if tracking.operation is not None else None)
    if tracking.state is State.TRACKING:
        words = f"{tracking.app}: {kind} {_so_far(tracking, now)}"
        trouble = f"the last look failed: {tracking.last_error}" if tracking.last_error else ""
    elif tracking.state is State.CANCELLED:
        words, trouble = f"{tracking.app}: {kind} not tracked any more", ""
    else:
        told = announced(tracking)
        words, trouble = wording.in_words(told), wording.cause(told)
    if trouble := first_line(plain(trouble), LONGEST_CAUSE):
        words += f": {trouble}"
    return f"{tracking.state} {tracking.id} {words}\n"


def of_problem(status: HTTPStatus, detail: str) -> str:
    """Say what went wrong: `error 404 no operation of this id is tracked`."""
    return f"error {status.value} {' '.join(plain(detail).split())}\n"


def announced(tracking: Tracking) -> Announcement:
    """Give what targets are told of a tracking that has ended with a verdict."""
    return announcement.read(tracking.id, announcement.body_of(tracking))


def _so_far(tracking: Tracking, now: datetime) -> str:
    if tracking.operation is None:
        return "not seen yet"
    status = first_line(plain(tracking.operation.status), LONGEST_STATUS)
    usual = f" (usually {wording.span(tracking.usual)})" if tracking.usual is not None else ""
    return f"{status} for {wording.duration(pace.age_s(tracking, now))}{usual}"
