"""When a watch ends, and how: what a look met, and for how long it has been so, against the rules. Pure.

A transient failure by itself never ends a watch, and is never a failed operation.
"""

from datetime import datetime, timedelta

from operations.errors import AccessRefusedError, OperationMissingError, OpwatchError
from operations.model import Operation, Tracking, Verdict

LOST_AFTER_MISSING_LOOKS = 3
LOST_AFTER_MISSING = timedelta(seconds=60)
LOST_AFTER_REFUSED_LOOKS = 3
LOST_AFTER_REFUSED = timedelta(minutes=5)
TIMED_OUT_AFTER_UNANSWERED = timedelta(minutes=15)
CLOCK_SKEW = timedelta(seconds=60)
"""How far the API's clock and ours may differ before its times are not believed."""

_VERDICT_OF_STATUS = {"done": Verdict.SUCCEEDED, "error": Verdict.FAILED}


def judge(tracking: Tracking, seen: Operation | OpwatchError, now: datetime) -> tuple[Verdict | None, str | None]:
    """Say whether the watch ends here, and why. A transient failure by itself never ends it."""
    past_deadline = now >= tracking.created_at + timedelta(seconds=tracking.timeout_s)
    if isinstance(seen, Operation):
        verdict = _VERDICT_OF_STATUS.get(seen.status)
        if verdict is None and past_deadline:
            return Verdict.TIMED_OUT, f"still {seen.status} after {tracking.timeout_s} s; it may yet end well"
        return verdict, None
    if isinstance(seen, OperationMissingError) and _is_missing(tracking, now):
        return Verdict.LOST, f"{seen} ({tracking.missing_looks} times over {_span(tracking.missing_since, now)})"
    if isinstance(seen, AccessRefusedError) and _is_refused(tracking, now):
        return Verdict.LOST, str(seen)
    if past_deadline and _lasted(tracking.unanswered_since, now, TIMED_OUT_AFTER_UNANSWERED):
        span = _span(tracking.unanswered_since, now)
        return Verdict.TIMED_OUT, f"no usable answer for {span}, the end is unknown; the last failure: {seen}"
    return None, None


def api_duration_s(tracking: Tracking, verdict: Verdict, now: datetime) -> float | None:
    """Take the operation's duration from the API's own times, where both are there, in order and not in the future."""
    operation = tracking.operation
    if operation is None or verdict not in (Verdict.SUCCEEDED, Verdict.FAILED):
        return None
    start, end = operation.created_at, operation.finished_at
    if start is None or end is None or not start <= end <= now + CLOCK_SKEW:
        return None
    return (end - start).total_seconds()


def _is_missing(tracking: Tracking, now: datetime) -> bool:
    enough = tracking.missing_looks >= LOST_AFTER_MISSING_LOOKS
    return enough and _lasted(tracking.missing_since, now, LOST_AFTER_MISSING)


def _is_refused(tracking: Tracking, now: datetime) -> bool:
    enough = tracking.refused_looks >= LOST_AFTER_REFUSED_LOOKS
    return enough and _lasted(tracking.refused_since, now, LOST_AFTER_REFUSED)


def _lasted(since: datetime | None, now: datetime, at_least: timedelta) -> bool:
    return since is not None and now - since >= at_least


def _span(since: datetime | None, now: datetime) -> str:
    return f"{(now - (since or now)).total_seconds():.0f} s"
