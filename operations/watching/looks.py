"""Decides what follows a look: the run continues, or ends with a verdict. Pure functions from record to record.

The store applies a change by compare-and-swap. With the claim, this makes the first outcome win: a late answer finds
another record, and is decided again or dropped.
A transient failure alone never ends a run, and never counts as a failed operation.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from operations.errors import (
    AccessRefusedError,
    OperationMissingError,
    OpwatchError,
    RateLimitedError,
    SignInRejectedError,
    TransientError,
)
from operations.history import Looks
from operations.model import Operation, State, Tracking, Usual, Verdict
from operations.telling import alerts, audience, live
from operations.telling.announcement import Earlier, failures_in_a_row
from operations.telling.attempts import LEASE
from operations.telling.audience import Rules
from operations.text import first_line, plain
from operations.watching import pace, slow
from operations.watching.durations import Durations
from operations.watching.glances import Hint

RESTARTABLE = frozenset({State.CANCELLED, State.TIMED_OUT, State.LOST})
"""Sending an operation in one of these states again starts its next run: nothing final is known of it."""

LOST_AFTER_MISSING_LOOKS = 3
LOST_AFTER_MISSING = timedelta(seconds=60)
LOST_AFTER_REFUSED_LOOKS = 3
LOST_AFTER_REFUSED = timedelta(minutes=5)
TIMED_OUT_AFTER_UNANSWERED = timedelta(minutes=15)
HURRIED_PAUSE = timedelta(seconds=1)
"""The pause before the second look that an event causes."""

CLOCK_SKEW = timedelta(seconds=60)
"""How far the API's clock may be ahead of ours before its times are ignored."""

LOOKS_KEPT = 20
"""Each entry adds about 100 bytes to a record that every look rewrites."""

LONGEST_TEXT = 160

_RESULTS = {
    RateLimitedError: "rate_limited",
    SignInRejectedError: "sign_in_rejected",
    TransientError: "transient",
    AccessRefusedError: "access_refused",
    OperationMissingError: "operation_missing",
    OpwatchError: "other",
}
RESULTS = ("answered", *_RESULTS.values())
"""The results of looks: the labels of a metric, so all are listed."""


def result(seen: Operation | OpwatchError) -> str:
    """Name the result of a look, for counters and logs: one of RESULTS."""
    return "answered" if isinstance(seen, Operation) else next(_RESULTS[c] for c in type(seen).__mro__ if c in _RESULTS)


def claimed(tracking: Tracking, claim: str, now: datetime) -> Tracking:
    """Claim the tracking for one look, until the lease ends."""
    return replace(tracking, claim=claim, next_look_at=now + LEASE)


def released(tracking: Tracking, claim: str, now: datetime) -> Tracking | None:
    """Release a claimed tracking without a look: it is due now. None if the claim is no longer ours."""
    if tracking.state is not State.TRACKING or tracking.claim != claim:
        return None
    return replace(tracking, claim=None, next_look_at=now)


def hurried(tracking: Tracking, now: datetime) -> Tracking | None:
    """Move the next look forward to now, because an event tells of it. None if it has ended, or is hurried already.

    If that look sees it unfinished, another follows soon: the event may be ahead of the API.
    """
    if tracking.state is not State.TRACKING or tracking.hurried:
        return None
    due = tracking.next_look_at
    return replace(tracking, hurried=True, next_look_at=due if due is None or tracking.claim else min(due, now))


def after_look(  # noqa: PLR0913 - what decides everything is given all that is known
    tracking: Tracking,
    claim: str,
    seen: Operation | OpwatchError,
    *,
    now: datetime,
    durations: Durations,
    rules: Rules,
    alert_target: str | None = None,
    earlier: Earlier | None = None,
) -> Tracking | None:
    """Decide what follows a look: plan the next look, or end the run and plan deliveries. None if not our claim.

    `durations` estimates how long such operations take, and `earlier` is how earlier ones ended. `rules` are the
    targets'. Deliveries of earlier runs go on.
    """
    if tracking.state is not State.TRACKING or tracking.claim != claim:
        return None
    after = _remember(tracking, seen, durations.usual, now)
    verdict, reason = judge(after, seen, now)
    if verdict is not None:
        after = _ended(after, verdict, reason, now)
        after = replace(after, failures_in_a_row=failures_in_a_row(after, earlier))
        planned = audience.deliveries(after, verdict, rules, now)
        after = replace(after, deliveries=after.deliveries + planned)
        after = live.left_to_deliveries(after)
    else:
        due = pace.next_look_at(after, durations, now)
        if tracking.hurried:
            due = min(due, now + HURRIED_PAUSE)
        after = replace(after, claim=None, hurried=False, next_look_at=due)
        if any(rule.slow or rule.live for rule in rules.values()):
            after = live.followed(slow.watched(after, rules), rules)
    return alerts.with_rejected(after, seen, alert_target, now)


def judge(tracking: Tracking, seen: Operation | OpwatchError, now: datetime) -> tuple[Verdict | None, str | None]:
    """Return the verdict and its reason, if the run ends now. `tracking` already includes this look."""
    past_deadline = now >= tracking.created_at + timedelta(seconds=tracking.timeout_s)
    if isinstance(seen, Operation):
        if seen.outcome is None and past_deadline:
            return Verdict.TIMED_OUT, f"still {seen.status} after {tracking.timeout_s} s; it may still succeed"
        return seen.outcome, None
    if isinstance(seen, OperationMissingError) and _is_missing(tracking, now):
        return Verdict.LOST, f"{seen} ({tracking.missing_looks} times over {_span(tracking.missing_since, now)})"
    if isinstance(seen, AccessRefusedError) and _is_refused(tracking, now):
        return Verdict.LOST, str(seen)
    if past_deadline and _lasted(tracking.unanswered_since, now, TIMED_OUT_AFTER_UNANSWERED):
        span = _span(tracking.unanswered_since, now)
        return Verdict.TIMED_OUT, f"no usable answer for {span}, the end is unknown; the last failure: {seen}"
    return None, None


def cancelled(tracking: Tracking, now: datetime, by: str | None = None) -> Tracking | None:
    """Cancel the tracking; nobody is told. `by` is the caller. None if it has ended."""
    if tracking.state is not State.TRACKING:
        return None
    return live.cancelled(replace(_finished(tracking, State.CANCELLED, now), cancelled_by=by), now)


def started_anew(old: Tracking, fresh: Tracking) -> Tracking:
    """Start the next run of an operation. Unfinished deliveries of earlier runs go on."""
    deliveries, told_to_operator = (tuple(d for d in each if d.unfinished) for each in (old.deliveries, old.alerts))
    return replace(fresh, run=old.run + 1, deliveries=deliveries, alerts=told_to_operator, live=live.still_needed(old))


def api_duration_s(tracking: Tracking, verdict: Verdict, now: datetime) -> float | None:
    """Return the duration by the API's times, if both exist, are in order and are not in the future."""
    operation = tracking.operation
    if operation is None or verdict not in (Verdict.SUCCEEDED, Verdict.FAILED):
        return None
    start, end = operation.created_at, operation.finished_at
    if start is None or end is None or not start <= end <= now + CLOCK_SKEW:
        return None
    return (end - start).total_seconds()


def with_look(known: tuple[Looks, ...], met: str, at: datetime, *, failed: bool) -> tuple[Looks, ...]:
    """Add a look: to the last entry if the result is the same, else as a new one. Keeps the first and the latest."""
    what = first_line(plain(met), LONGEST_TEXT) if failed else met[:LONGEST_TEXT]
    if known and (known[-1].what, known[-1].failed, known[-1].glanced) == (what, failed, False):
        return (*known[:-1], replace(known[-1], last_at=at, times=known[-1].times + 1))
    return _longer(known, Looks(what=what, first_at=at, failed=failed))


def _longer(known: tuple[Looks, ...], entry: Looks) -> tuple[Looks, ...]:
    longer = (*known, entry)
    return longer if len(longer) <= LOOKS_KEPT else longer[:1] + longer[2:]


def hinted(tracking: Tracking, hint: Hint) -> Tracking:
    """Remember that a glance has probably shown the end, for the tracking's story."""
    if not hint.reveals or hint.at is None:
        return tracking
    return replace(tracking, looks=_longer(tracking.looks, Looks(what=hint.status, first_at=hint.at, glanced=True)))


def _remember(tracking: Tracking, seen: Operation | OpwatchError, usual: Usual | None, now: datetime) -> Tracking:
    after = replace(tracking, polls=tracking.polls + 1, last_polled_at=now, usual=usual)
    if isinstance(seen, Operation):
        answered = replace(after, operation=seen, looks=with_look(tracking.looks, seen.status, now, failed=False))
        return without_failures(answered)
    missing = isinstance(seen, OperationMissingError)
    refused = isinstance(seen, AccessRefusedError)
    return replace(
        after,
        looks=with_look(tracking.looks, str(seen), now, failed=True),
        last_error=str(seen),
        missing_looks=tracking.missing_looks + missing,
        missing_since=tracking.missing_since or (now if missing else None),
        refused_looks=tracking.refused_looks + refused,
        refused_since=tracking.refused_since or (now if refused else None),
        unanswered_since=tracking.unanswered_since or now,
    )


def without_failures(tracking: Tracking) -> Tracking:
    """Forget the looks that failed."""
    return replace(
        tracking,
        last_error=None,
        missing_looks=0,
        missing_since=None,
        refused_looks=0,
        refused_since=None,
        unanswered_since=None,
    )


def _ended(tracking: Tracking, verdict: Verdict, reason: str | None, now: datetime) -> Tracking:
    after = replace(_finished(tracking, State(verdict.value), now), reason=reason)
    duration_s = api_duration_s(tracking, verdict, now)
    return after if duration_s is None else replace(after, duration_s=round(duration_s, 3))


def _finished(tracking: Tracking, state: State, now: datetime) -> Tracking:
    ours_s = (now - tracking.created_at).total_seconds()
    after = replace(tracking, state=state, claim=None, next_look_at=None, ended_at=now, duration_s=round(ours_s, 3))
    return slow.overtaken(after)


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
