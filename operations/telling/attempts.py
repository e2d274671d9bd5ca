"""All transitions of a delivery, as pure functions from one record to the next.

A 429 is no failure: it is a request to wait. It uses up no retry, and only the time of the whole schedule ends it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from operations.errors import OpwatchError, RateLimitedError, Reason, TransientError
from operations.history import Attempt
from operations.model import Delivery, DeliveryState, Tracking
from operations.telling import alerts, retries
from operations.telling.retries import next_attempt_at
from operations.text import first_line, plain

LEASE = timedelta(seconds=30)
"""How long a claim is valid. After that, any worker may claim the delivery."""

CLOCKS_DIFFER = timedelta(seconds=1)
"""An attempt counts as ahead of its schedule only if it is earlier than this: workers' readings of the time differ."""

DIED = TransientError("the worker died during the attempt: it recorded no result within 30 s")

ATTEMPTS_KEPT = 10
LONGEST_TEXT = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of an attempt: `error`, or success. `quiet`: the message mentioned nobody."""

    error: OpwatchError | None = None
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The parameters of the decision: the target's retry delays, the jitter (-1…1), and the alert target.

    `alerted_at` is when the operator was told that deliveries to the target fail, if not since told otherwise.
    """

    delays_s: tuple[float, ...] = ()
    jitter: float = 0.0
    alert_target: str | None = None
    alerted_at: datetime | None = None


def claimed(tracking: Tracking, wanted: Collection[Delivery], claim: str, now: datetime) -> Tracking:
    """Claim those deliveries that still equal `wanted`, for one attempt each. The attempt counts from now on."""

    def taken(delivery: Delivery) -> Delivery:
        if delivery not in wanted:
            return delivery
        planned_at = delivery.next_attempt_at if delivery.state is DeliveryState.RETRYING else None
        return replace(
            delivery,
            claim=claim,
            attempts=delivery.attempts + 1,
            next_attempt_at=now + LEASE,
            planned_retry_at=planned_at if planned_at is not None and planned_at - now > CLOCKS_DIFFER else None,
        )

    return each_delivery(tracking, taken)


def released(tracking: Tracking, delivery_id: str, claim: str, now: datetime) -> Tracking | None:
    """Release a claimed delivery without an attempt: it is due now. None if the claim is no longer ours."""
    return _if_claimed(
        tracking,
        delivery_id,
        claim,
        lambda d: replace(
            d, claim=None, attempts=d.attempts - 1, next_attempt_at=d.planned_retry_at or now, planned_retry_at=None
        ),
    )


def after_attempt(
    tracking: Tracking, delivery: Delivery, result: Result, now: datetime, policy: Policy
) -> Tracking | None:
    """Decide what follows an attempt: delivered, retried later, or given up. None if the claim is no longer ours.

    `delivery` is the claimed one. If deliveries to the target keep failing, the operator is alerted.
    """
    after = _if_claimed(tracking, delivery.id, delivery.claim, lambda d: _attempted(d, result, now, policy))
    return after and alerts.with_alert(after, delivery.id, policy.alert_target, policy.alerted_at, now)


def abandoned(tracking: Tracking, delivery: Delivery, now: datetime, policy: Policy) -> Tracking | None:
    """Record that the worker of this attempt died: the lease has ended without a result. It counts as a failed attempt.

    The wait counts from the beginning of the attempt.
    """
    after = after_attempt(tracking, delivery, Result(error=DIED), now, policy)

    def hurried(each: Delivery) -> Delivery:
        if each.id != delivery.id or each.next_attempt_at is None:
            return each
        return replace(each, next_attempt_at=max(now, each.next_attempt_at - LEASE))

    return None if after is None else each_delivery(after, hurried)


def pause(delivery: Delivery, error: RateLimitedError, now: datetime) -> timedelta:
    """Return for how long the target of this delivery asks to be left alone."""
    lasted_s = (now - (delivery.limited_since or now)).total_seconds()
    return retries.pause(error.retry_after_s, lasted_s if is_limit(error) else 0.0)


def is_limit(error: OpwatchError | None) -> bool:
    """Tell whether the target answered 429. Other answers that ask for a pause are failures."""
    return isinstance(error, RateLimitedError) and error.reason is Reason.RATE_LIMITED


def retried(tracking: Tracking, target: str, now: datetime, by: str | None = None) -> Tracking | None:
    """Make the current run's delivery to `target` due now, for the caller `by`. None if it cannot be retried.

    A dead delivery restarts its backoff, a waiting one is due now, and a claimed one does not change. A delivered one
    is never sent again.
    """
    mine = {d.id for d in tracking.deliveries if d.run == tracking.run and d.target == target}
    if not any(d.id in mine and (d.unfinished or d.state is DeliveryState.DEAD) for d in tracking.deliveries):
        return None
    return each_delivery(tracking, lambda d: _hurried(d, now, by) if d.id in mine else d)


def each_delivery(tracking: Tracking, change: Callable[[Delivery], Delivery]) -> Tracking:
    """Change all deliveries: of outcomes, alerts and warnings."""
    warning = tracking.slow and replace(tracking.slow, deliveries=tuple(map(change, tracking.slow.deliveries)))
    return replace(
        tracking,
        deliveries=tuple(map(change, tracking.deliveries)),
        alerts=tuple(map(change, tracking.alerts)),
        slow=warning,
    )


def last_end(tracking: Tracking) -> datetime | None:
    """Return when the run and its last delivery ended; None while there is something left to do."""
    unfinished = any(d.unfinished for d in tracking.outgoing) or any(m.due_at for m in tracking.live)
    if tracking.ended_at is None or unfinished:
        return None
    return max([tracking.ended_at, *(d.ended_at for d in tracking.outgoing if d.ended_at)])


def pulled(tracking: Tracking, now: datetime) -> Tracking:
    """Pull back what lies further ahead than a lease without waiting for a retry: Redis's clock was set back since."""

    def pull(delivery: Delivery) -> Delivery:
        waits = delivery.claim is None and delivery.state is DeliveryState.RETRYING
        if waits or not delivery.unfinished or (delivery.next_attempt_at or now) <= now + LEASE:
            return delivery
        return replace(delivery, next_attempt_at=now if delivery.claim is None else now + LEASE)

    return each_delivery(tracking, pull)


def is_anything_due(tracking: Tracking, now: datetime) -> bool:
    """Tell whether a delivery or a live message is due."""
    if any(d.unfinished and d.claim is None and (d.next_attempt_at or now) <= now for d in tracking.outgoing):
        return True
    return any(m.due_at is not None and m.claim is None and m.due_at <= now for m in tracking.live)


def with_attempt(known: tuple[Attempt, ...], error: str | None, at: datetime) -> tuple[Attempt, ...]:
    """Add an attempt to the history, which keeps the latest."""
    short = None if error is None else first_line(plain(error), LONGEST_TEXT)
    return (*known, Attempt(at=at, error=short))[-ATTEMPTS_KEPT:]


def _attempted(delivery: Delivery, result: Result, now: datetime, policy: Policy) -> Delivery:
    error = result.error
    why = None if error is None else str(error)
    after = replace(
        delivery,
        claim=None,
        limited_since=None,
        asked_until=None,
        last_error=why,
        next_attempt_at=None,
        planned_retry_at=None,
        history=with_attempt(delivery.history, why, now),
    )
    if error is None:
        return replace(after, state=DeliveryState.DELIVERED, ended_at=now, quiet=result.quiet)
    if not isinstance(error, TransientError):
        return replace(after, state=DeliveryState.DEAD, ended_at=now)
    if is_limit(error):
        return _limited(replace(after, limited_since=delivery.limited_since or now), error, now, policy)
    if error.retry_after_s:
        after = replace(after, asked_until=now + retries.pause(error.retry_after_s, 0.0))
    if delivery.planned_retry_at is not None and error is not DIED:  # an attempt ahead of its schedule does not count
        due_at: datetime | None = max(now, delivery.planned_retry_at)
        return replace(after, state=DeliveryState.RETRYING, next_attempt_at=due_at)
    failures = delivery.failures + 1
    due_at = next_attempt_at(failures, error.retry_after_s, policy.delays_s, now=now, jitter=policy.jitter)
    if due_at is None:
        why = f"given up after {failures} failed attempts; the last error: {error}"
        return replace(after, state=DeliveryState.DEAD, ended_at=now, last_error=why)
    return replace(after, state=DeliveryState.RETRYING, failures=failures, next_attempt_at=due_at)


def _limited(delivery: Delivery, error: TransientError, now: datetime, policy: Policy) -> Delivery:
    """Wait as long as the 429 asks. Give up if 429s alone have lasted as long as all retries would."""
    lasted_s = (now - (delivery.limited_since or now)).total_seconds()
    if lasted_s > sum(policy.delays_s) and delivery.attempts > len(policy.delays_s):
        why = f"given up: rate limited for {lasted_s:.0f} s; the last error: {error}"
        return replace(delivery, state=DeliveryState.DEAD, ended_at=now, last_error=why)
    due_at = now + retries.pause(error.retry_after_s, lasted_s)
    return replace(delivery, state=DeliveryState.RETRYING, next_attempt_at=due_at)


def _hurried(delivery: Delivery, now: datetime, by: str | None) -> Delivery:
    history = delivery.history
    if by is not None:  # the text is for older versions, which do not know `by`
        history = (*history, Attempt(at=now, error="retried by hand", by=by))[-ATTEMPTS_KEPT:]
    if delivery.state is DeliveryState.DEAD:
        again = replace(
            delivery, state=DeliveryState.PENDING, attempts=0, failures=0, limited_since=None, ended_at=None
        )
        return replace(again, next_attempt_at=now, history=history)
    if delivery.claim is None and delivery.unfinished:
        return replace(delivery, next_attempt_at=now, history=history)
    return delivery


def _if_claimed(
    tracking: Tracking, delivery_id: str, claim: str | None, change: Callable[[Delivery], Delivery]
) -> Tracking | None:
    if not any(d.id == delivery_id and d.claim == claim and d.unfinished for d in tracking.outgoing):
        return None
    return each_delivery(tracking, lambda d: change(d) if d.id == delivery_id else d)
