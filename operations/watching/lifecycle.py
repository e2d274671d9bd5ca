"""Every change a tracking can go through, as pure functions from one record to the next.

The store applies a change only while the stored record is still the one the change was computed from. That, and the
claim, is how the first outcome wins: a late answer finds another record and is recomputed or dropped.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from operations import history
from operations.errors import AccessRefusedError, OperationMissingError, OpwatchError
from operations.model import Delivery, DeliveryState, Operation, State, Tracking, Usual, Verdict
from operations.telling import audience, live
from operations.telling.audience import Rules
from operations.telling.retries import Again, Decision, Delivered
from operations.watching import pace, slow, verdicts
from operations.watching.durations import Durations

LEASE = timedelta(seconds=30)
"""How long a claim holds; then any worker may take the work over."""

RESTARTABLE = frozenset({State.CANCELLED, State.TIMED_OUT, State.LOST})
"""Tracking one of these again starts anew: nothing final is known of the operation."""


def claimed(tracking: Tracking, claim: str, now: datetime) -> Tracking:
    """Take this tracking for one look: nobody else does until the lease runs out."""
    return replace(tracking, claim=claim, next_look_at=now + LEASE)


def released(tracking: Tracking, claim: str, now: datetime) -> Tracking | None:
    """Hand a claimed tracking back at once, without having looked; None when it is no longer ours."""
    if tracking.state is not State.TRACKING or tracking.claim != claim:
        return None
    return replace(tracking, claim=None, next_look_at=now)


def looked(
    tracking: Tracking, claim: str, seen: Operation | OpwatchError, *, now: datetime, durations: Durations
) -> Tracking | None:
    """Take in what a look met: watch on, or end with a verdict. None when the claim is no longer ours.

    `durations` is how long such operations take.
    `announced` then plans what is to be told, since that needs the targets' rules.
    """
    if tracking.state is not State.TRACKING or tracking.claim != claim:
        return None
    after = _remember(tracking, seen, durations.usual, now)
    verdict, reason = verdicts.judge(after, seen, now)
    if verdict is not None:
        return _ended(after, verdict, reason, now)
    return replace(after, claim=None, next_look_at=pace.next_look_at(after, durations, now))


def announced(tracking: Tracking, rules: Rules) -> Tracking:
    """Plan what a look gives to tell: the deliveries of a tracking that has ended, or how it goes and that it is slow.

    Deliveries of earlier runs go on.
    """
    if tracking.ended_at is None or tracking.state is State.CANCELLED:
        return live.followed(slow.watched(tracking, rules), rules)
    planned = audience.deliveries(tracking, Verdict(tracking.state), rules, tracking.ended_at)
    return live.handed_over(replace(tracking, deliveries=tracking.deliveries + planned))


def cancelled(tracking: Tracking, now: datetime) -> Tracking | None:
    """Stop watching, telling nobody; None once it has ended."""
    if tracking.state is not State.TRACKING:
        return None
    ours = (now - tracking.created_at).total_seconds()
    ended = replace(
        tracking, state=State.CANCELLED, claim=None, next_look_at=None, ended_at=now, duration_s=round(ours, 3)
    )
    return live.stopped(slow.overtaken(ended), now)


def started_anew(old: Tracking, fresh: Tracking) -> Tracking:
    """Watch again an operation of which nothing final is known; what is still to be told of earlier runs goes on."""
    deliveries, alerts = (tuple(d for d in all_ if d.unfinished) for all_ in (old.deliveries, old.alerts))
    return replace(fresh, run=old.run + 1, deliveries=deliveries, alerts=alerts, live=live.still_needed(old))


def also_told(tracking: Tracking, names: tuple[str, ...], rules: Rules, now: datetime) -> Tracking:
    """Add the targets in `names` that are new to it; told at once if it has already ended."""
    known = set(tracking.named) | {
        d.target for d in tracking.deliveries if d.run == tracking.run and d.state != "skipped"
    }
    new = tuple(name for name in dict.fromkeys(names) if name not in known)
    if not new:
        return tracking
    after = replace(tracking, named=tracking.named + new)
    if after.ended_at is None or after.state is State.CANCELLED:
        return after
    kept = tuple(d for d in after.deliveries if d.run != after.run or d.target not in new)
    planned = tuple(audience.plan(after, Verdict(after.state), name, rules, now) for name in new)
    return replace(after, deliveries=kept + planned)


def attempting(tracking: Tracking, due: frozenset[str], claim: str, now: datetime) -> Tracking:
    """Take the named deliveries for one attempt each; the attempt counts from here on, whatever becomes of it."""
    return _each_delivery(
        tracking,
        due,
        lambda d: replace(d, claim=claim, attempts=d.attempts + 1, next_attempt_at=now + LEASE),
    )


def attempted(tracking: Tracking, delivery_id: str, claim: str, decision: Decision, now: datetime) -> Tracking | None:
    """Take in how an attempt ended; None when the claim is no longer ours."""
    if not _holds(tracking, delivery_id, claim):
        return None
    return _each_delivery(tracking, frozenset({delivery_id}), lambda d: _after(d, decision, now))


def given_back(tracking: Tracking, delivery_id: str, claim: str, now: datetime) -> Tracking | None:
    """Hand a claimed delivery back at once, its attempt not made; None when it is no longer ours."""
    if not _holds(tracking, delivery_id, claim):
        return None
    return _each_delivery(
        tracking,
        frozenset({delivery_id}),
        lambda d: replace(d, claim=None, attempts=d.attempts - 1, next_attempt_at=now),
    )


def retried(tracking: Tracking, target: str, now: datetime) -> Tracking | None:
    """Make the current run's delivery to `target` due at once, by hand; None where there is nothing to retry.

    A dead one starts its schedule over, a waiting one is due now, one being attempted stays so. One that was
    delivered is never sent again.
    """
    mine = [d for d in tracking.deliveries if d.run == tracking.run and d.target == target]
    if not any(d.unfinished or d.state is DeliveryState.DEAD for d in mine):
        return None
    return _each_delivery(tracking, frozenset(map(tracking.delivery_id, mine)), lambda d: _hurried(d, now))


def _hurried(delivery: Delivery, now: datetime) -> Delivery:
    if delivery.state is DeliveryState.DEAD:
        return replace(
            delivery, state=DeliveryState.PENDING, attempts=0, failures=0, next_attempt_at=now, ended_at=None
        )
    if delivery.claim is None and delivery.unfinished:
        return replace(delivery, next_attempt_at=now)
    return delivery


def _holds(tracking: Tracking, delivery_id: str, claim: str) -> bool:
    return any(tracking.delivery_id(d) == delivery_id and d.claim == claim and d.unfinished for d in tracking.outgoing)


def _each_delivery(tracking: Tracking, ids: frozenset[str], change: Callable[[Delivery], Delivery]) -> Tracking:
    def changed(all_: tuple[Delivery, ...]) -> tuple[Delivery, ...]:
        return tuple(change(d) if tracking.delivery_id(d) in ids else d for d in all_)

    warning = tracking.slow and replace(tracking.slow, deliveries=changed(tracking.slow.deliveries))
    return replace(tracking, deliveries=changed(tracking.deliveries), alerts=changed(tracking.alerts), slow=warning)


def _after(delivery: Delivery, decision: Decision, now: datetime) -> Delivery:
    error = None if isinstance(decision, Delivered) else decision.why
    delivery = replace(delivery, history=history.with_attempt(delivery.history, error, now))
    if isinstance(decision, Delivered):
        return replace(
            delivery,
            state=DeliveryState.DELIVERED,
            ended_at=now,
            last_error=None,
            next_attempt_at=None,
            claim=None,
        )
    if isinstance(decision, Again):
        return replace(
            delivery,
            state=DeliveryState.RETRYING,
            failures=delivery.failures + 1,
            last_error=decision.why,
            next_attempt_at=decision.at,
            claim=None,
        )
    return replace(
        delivery, state=DeliveryState.DEAD, last_error=decision.why, next_attempt_at=None, ended_at=now, claim=None
    )


def _remember(tracking: Tracking, seen: Operation | OpwatchError, usual: Usual | None, now: datetime) -> Tracking:
    if isinstance(seen, Operation):
        return replace(
            tracking,
            polls=tracking.polls + 1,
            last_polled_at=now,
            usual=usual,
            operation=seen,
            looks=history.with_look(tracking.looks, seen.status, now, failed=False),
            last_error=None,
            missing_looks=0,
            missing_since=None,
            refused_looks=0,
            refused_since=None,
            unanswered_since=None,
        )
    missing = isinstance(seen, OperationMissingError)
    refused = isinstance(seen, AccessRefusedError)
    return replace(
        tracking,
        polls=tracking.polls + 1,
        last_polled_at=now,
        usual=usual,
        looks=history.with_look(tracking.looks, str(seen), now, failed=True),
        last_error=str(seen),
        missing_looks=tracking.missing_looks + missing,
        missing_since=tracking.missing_since or (now if missing else None),
        refused_looks=tracking.refused_looks + refused,
        refused_since=tracking.refused_since or (now if refused else None),
        unanswered_since=tracking.unanswered_since or now,
    )


def _ended(tracking: Tracking, verdict: Verdict, reason: str | None, now: datetime) -> Tracking:
    ours = (now - tracking.created_at).total_seconds()
    duration_s = verdicts.api_duration_s(tracking, verdict, now)
    ended = replace(
        tracking,
        state=State(verdict.value),
        claim=None,
        next_look_at=None,
        ended_at=now,
        duration_s=round(ours if duration_s is None else duration_s, 3),
        reason=reason,
    )
    return slow.overtaken(ended)
