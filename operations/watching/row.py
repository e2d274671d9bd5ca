"""Failures in a row: how often the operations of an app and type have failed since the last success. Pure.

`timed_out` and `lost` neither count nor end the row: nobody knows how those operations ended. Nor does an outcome that
is recorded late, after a newer one that it would contradict: a success before the latest failure, or a failure before
the latest success.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from operations.model import State, Tracking
from operations.telling.announcement import end_of

_ROUNDED = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The earlier operations of the same account, region, app and type: failures in a row, and the newest end."""

    failures: int = 0
    newest_end: datetime | None = None


def failures_in_a_row(ended: Tracking, earlier: Earlier | None) -> int | None:
    """Count the failures up to this one, or before this success. None if it is no part of a row."""
    if earlier is None:
        return None
    at, newest = end_of(ended), earlier.newest_end
    late = at is not None and newest is not None and newest - at > _ROUNDED
    if ended.state is State.FAILED:
        return None if late and not earlier.failures else earlier.failures + 1
    if ended.state is State.SUCCEEDED:
        return None if late and earlier.failures else earlier.failures
    return None
