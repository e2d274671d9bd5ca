"""What was seen and tried, and when: the entries of a tracking's timeline."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AwareDatetime, Field

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""No time outside these bounds is accepted or stored, so that sums stay within the range of a datetime."""

OLDEST_START = timedelta(days=1)
"""If the tracking began later than this after the operation's start, the age counts from the tracking."""

Moment = Annotated[AwareDatetime, Field(ge=EARLIEST, lt=LATEST)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """Consecutive looks with the same result `what`: a status of the API, or an error if they `failed`.

    `last_at` is None for a single look. If `glanced`, it was not a look at the operation, but a glance at its app.
    """

    what: str
    first_at: Moment
    last_at: Moment | None = None
    times: int = 1
    failed: bool = False
    glanced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of a delivery: when it ended, and the error if it failed. Or who asked for another one: `by`."""

    at: Moment
    error: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """The members that the last closing message of a group covers: how many, and when the newest joined."""

    members: int
    newest_at: Moment
