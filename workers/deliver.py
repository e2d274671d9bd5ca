"""A round of deliveries: claim what is due, attempt each once, record how it went."""

import asyncio
import random
import secrets
import time
from functools import partial

import structlog

from notifiers.targets import Target
from operations import announcement, lifecycle
from operations.errors import OpwatchError, PermanentError, RateLimitedError, no_answer
from operations.model import Delivery, Tracking
from operations.retries import Delivered, after_attempt
from operations.store import Stored
from workers.runtime import STALE_AFTER_S, Runtime, current, kept_trying

log = structlog.get_logger()

ATTEMPT_DEADLINE_S = 20.0


def delivery_round() -> None:
    """Attempt what is due. An RQ job; safe to lose, to repeat and to run twice at once.

    The attempts go on after it returns, on the process' event loop, each under its lease.
    """
    runtime = current()
    for stored, due in runtime.store.due_deliveries():
        tracking = stored.tracking
        admitted = [d for d in tracking.deliveries if tracking.delivery_id(d) in due and _enter(runtime, d)]
        if admitted:
            _claim_and_attempt(runtime, stored, admitted)


def _enter(runtime: Runtime, delivery: Delivery) -> bool:
    target = runtime.targets.get(delivery.target)
    return runtime.room.enter(delivery.target, target.notifier.at_once if target else 1)


def _claim_and_attempt(runtime: Runtime, stored: Stored, admitted: list[Delivery]) -> None:
    claimed_at_s = time.monotonic()  # before the claim is made: a process stopped meanwhile must notice
    now = runtime.store.now()
    claim = secrets.token_hex(8)

    def take(tracking: Tracking) -> Tracking:
        untouched = frozenset(tracking.delivery_id(d) for d in tracking.deliveries if d in admitted)
        return lifecycle.attempting(tracking, untouched, claim, now)

    claimed, mine = stored, list[Delivery]()
    try:
        claimed = runtime.store.update(stored, take) or stored
        mine = [d for d in claimed.tracking.deliveries if d.claim == claim]
    finally:  # also when Redis fails: a place that nobody gives back would silence the target
        for delivery in admitted:
            if not any(d.target == delivery.target and d.run == delivery.run for d in mine):
                runtime.room.leave(delivery.target)
    for delivery in mine:
        runtime.loop.submit(partial(_attempt, runtime, claimed, delivery, claimed_at_s))


async def _attempt(runtime: Runtime, claimed: Stored, delivery: Delivery, claimed_at_s: float) -> None:
    try:
        await _attempt_once(runtime, claimed, delivery, claimed_at_s)
    finally:
        if runtime.room.leave(delivery.target):
            runtime.deliveries_due.ring()


async def _attempt_once(runtime: Runtime, claimed: Stored, delivery: Delivery, claimed_at_s: float) -> None:
    target, tracking = runtime.targets.get(delivery.target), claimed.tracking
    try:
        body = await kept_trying(partial(runtime.store.announcement, tracking.id, delivery.run))
        if time.monotonic() - claimed_at_s > STALE_AFTER_S:  # the very last moment before something is sent
            await kept_trying(partial(_hand_back, runtime, claimed, delivery))
            return
        error = await _sent(runtime, target, tracking.delivery_id(delivery), delivery.target, body)
    except asyncio.CancelledError:  # the process stops
        await kept_trying(partial(_hand_back, runtime, claimed, delivery))
        return
    if target is not None and isinstance(error, RateLimitedError):
        runtime.room.hold(target.name, error.retry_after_s or 1.0)
    await kept_trying(partial(_record, runtime, claimed, delivery, target, error))


async def _sent(
    runtime: Runtime, target: Target | None, delivery_id: str, name: str, body: bytes | None
) -> OpwatchError | None:
    """Send once, within the deadline; returns what went wrong."""
    if target is None:
        return PermanentError(f"the target {name} is no longer configured")
    try:
        async with asyncio.timeout(ATTEMPT_DEADLINE_S):
            await target.notifier.send(announcement.read(delivery_id, body or b""), runtime.loop.targets)
    except OpwatchError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a kind may be somebody else's; whatever it raises is one failed attempt
        return no_answer(error)
    return None


def _record(
    runtime: Runtime, claimed: Stored, delivery: Delivery, target: Target | None, error: OpwatchError | None
) -> Stored | None:
    now = runtime.store.now()
    delays_s = target.notifier.retry_delays_s if target else ()
    jitter = random.uniform(-1, 1)  # noqa: S311 - it spreads retries, nothing more
    decision = after_attempt(delivery.attempts, error, delays_s, now=now, jitter=jitter)
    tracking = claimed.tracking
    delivery_id, claim = tracking.delivery_id(delivery), delivery.claim or ""
    after = runtime.store.update(claimed, lambda latest: lifecycle.attempted(latest, delivery_id, claim, decision, now))
    write = log.info if isinstance(decision, Delivered) else log.warning
    write(
        type(decision).__name__.lower() if after else "attempt overtaken",
        tracking=tracking.id,
        delivery=delivery_id,
        target=delivery.target,
        attempt=delivery.attempts,
        error=None if error is None else str(error),
    )
    return after


def _hand_back(runtime: Runtime, claimed: Stored, delivery: Delivery) -> Stored | None:
    now = runtime.store.now()
    delivery_id, claim = claimed.tracking.delivery_id(delivery), delivery.claim or ""
    return runtime.store.update(claimed, lambda latest: lifecycle.given_back(latest, delivery_id, claim, now))
