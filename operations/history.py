"""What became of every look and of every attempt to deliver, in short, for the people who look at the page. Pure.

Nothing is decided by it, and neither the API's answers nor announcements carry it: their names are a contract, what is
told is fixed at the outcome, and how to tell a history is the page's affair. It is bounded, since it is written anew
with every look: a record in flight grows by about 100 bytes for each change of what its looks meet. An older version
that writes the record drops it, and the history begins anew.
"""

from dataclasses import replace
from datetime import datetime

from operations.model import Attempt, Looks
from operations.text import first_line, plain

LOOKS_KEPT = 20
ATTEMPTS_KEPT = 10
_LONGEST_TEXT = 160


def with_look(known: tuple[Looks, ...], met: str, at: datetime, *, failed: bool) -> tuple[Looks, ...]:
    """Add a look: to the last entry if it met the same, else as a new one. The first entry stays, and the latest."""
    what = first_line(plain(met), _LONGEST_TEXT)
    if known and (known[-1].what, known[-1].failed) == (what, failed):
        return (*known[:-1], replace(known[-1], last_at=at, times=known[-1].times + 1))
    longer = (*known, Looks(what=what, first_at=at, failed=failed))
    return longer if len(longer) <= LOOKS_KEPT else longer[:1] + longer[2:]


def with_attempt(known: tuple[Attempt, ...], error: str | None, at: datetime) -> tuple[Attempt, ...]:
    """Add an attempt; the latest are kept."""
    short = None if error is None else first_line(plain(error), _LONGEST_TEXT)
    return (*known, Attempt(at=at, error=short))[-ATTEMPTS_KEPT:]
