"""A round of deliveries: claim what is due, attempt each delivery once, and record the result."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

import aiohttp
import redis
import structlog

from notifiers import Mentioning, editing
from notifiers.targets import Target
from operations.errors import REFUSED_BY_US, OpwatchError, PermanentError, RateLimitedError, Reason, no_answer
from operations.model import Delivery, DeliveryState, MessageRef, Tracking
from operations.storage.index import added
from operations.storage.records import Stored
from operations.storage.store import Change
from operations.storage.tallies import attempt as attempt_counter
from operations.storage.tallies import dwell_s
from operations.telling import attempts, live
from operations.telling.announcement import Announcement
from operations.telling.attempts import Policy, Result
from operations.telling.view import timestamp
from workers.groups import check_groups
from workers.line import attempted_now, due_in_order
from workers.live import edit_round
from workers.preparing import prepare
from workers.runtime import STALE_AFTER_S, Runtime, current, in_thread

log = structlog.get_logger()

ATTEMPT_WITHIN_S = 20.0
WARN_WITHIN_S = 5.0
"""Short, because an outcome may wait for the slot of a warning that hangs."""

EDITS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery claimed for one attempt, just after `at_s` (monotonic clock)."""

    stored: Stored
    delivery: Delivery
    at_s: float


@dataclass(frozen=True, slots=True)
class Way:
    """How a target is told: by a new message, by editing its live message, or by a reply to its group's."""

    tell: Callable[[Announcement], Awaitable[None]]
    within_s: float = ATTEMPT_WITHIN_S


def delivery_round() -> None:
    """Attempt what is due. An RQ job; safe to lose, to repeat and to run twice at once.

    The attempts continue after it returns, on the process's event loop, each under its lease. Warnings come after
    outcomes, so that no outcome waits for them; edits of live messages come last.
    """
    runtime = current()
    check_groups(runtime)
    due = due_in_order(runtime)
    for stored, deliveries in attempted_now(runtime, due):
        _claim_and_attempt(runtime, stored, deliveries)
    if edits := list(runtime.records.due_live(EDITS_AT_ONCE)):
        edit_round(runtime, edits, {delivery.target for _, delivery in due})


def _claim_and_attempt(runtime: Runtime, stored: Stored, free: list[Delivery]) -> None:
    """Claim the deliveries that get a slot, and start an attempt at each."""
    at_once = {name: target.notifier.at_once for name, target in runtime.targets.items()}
    admitted = [d for d in free if runtime.slots.take(d.target, at_once.get(d.target, 1))]
    if not admitted:
        return
    claimed_at_s = time.monotonic()  # before the claim: if the process is suspended now, it must notice
    claim, now = secrets.token_hex(8), runtime.records.now()
    mine: list[Claimed] = []
    try:
        taken = partial(attempts.claimed, wanted=admitted, claim=claim, now=now)
        after = runtime.store.update(stored, taken)
        if after is not None:
            mine = [Claimed(after, d, claimed_at_s) for d in after.tracking.outgoing if d.claim == claim]
    except redis.RedisError:  # the claim may have been stored
        for delivery in admitted:
            maybe_mine = Claimed(stored, replace(delivery, claim=claim), claimed_at_s)
            runtime.loop.submit(partial(_release, runtime, maybe_mine))
        raise
    finally:  # also if Redis fails: a slot that is never freed would silence the target
        ids = {claimed.delivery.id for claimed in mine}
        for delivery in admitted:
            if delivery.id not in ids:
                runtime.slots.free(delivery.target)
    runtime.loop.submit(*(partial(_attempt, runtime, claimed) for claimed in mine))


async def _attempt(runtime: Runtime, claimed: Claimed) -> None:
    """Attempt a delivery once: choose the way, tell, decide, record. The claim is already made."""
    target = runtime.targets.get(claimed.delivery.target)
    try:
        prepared = await in_thread(partial(prepare, runtime, claimed.stored.tracking, claimed.delivery))
        announced, way = prepared.announced, _way(runtime, claimed, target, prepared.posted)
        # Check the time directly before sending.
        if time.monotonic() - claimed.at_s > STALE_AFTER_S:
            await _release(runtime, claimed)
            return
        if announced is None:
            return
        began_at_s = time.monotonic()
        error = await _tell(way, announced)
        took_ms = round((time.monotonic() - began_at_s) * 1000, 2)
        if isinstance(error, RateLimitedError):
            pause = attempts.pause(claimed.delivery, error, await in_thread(runtime.records.now))
            runtime.slots.hold(claimed.delivery.target, pause.total_seconds())
        quiet = isinstance(announced, Announcement) and _mentions_nobody(target, announced)
        await _record(runtime, claimed, Result(error=error, quiet=quiet), prepared.policy, took_ms)
    except asyncio.CancelledError:  # the process stops
        await _release(runtime, claimed)
    finally:
        if runtime.slots.free(claimed.delivery.target):
            runtime.deliveries_due.ring()


def _way(runtime: Runtime, claimed: Claimed, target: Target | None, of_group: MessageRef | None) -> Way:
    """Choose how to tell the target. `of_group` is where the live message of the operation's group is."""
    tracking, delivery, http = claimed.stored.tracking, claimed.delivery, runtime.loop.targets
    if target is None:
        return Way(partial(_gone, delivery.target))
    within_s = WARN_WITHIN_S if delivery.warns else ATTEMPT_WITHIN_S
    notifier = editing(target.notifier)
    if notifier is not None and of_group is not None:
        return Way(lambda announced: notifier.reply(announced, of_group, http), within_s)
    posted = live.posted_for(tracking, delivery)
    if notifier is not None and posted is not None and not target.rule.closes(tracking):
        return Way(lambda announced: notifier.follow_up(announced, posted, http), within_s)
    return Way(lambda announced: target.notifier.send(announced, http), within_s)


def _mentions_nobody(target: Target | None, announced: Announcement) -> bool:
    """Tell whether a message mentions nobody; of a third party's kind, whether it should not."""
    if target is not None and isinstance(target.notifier, Mentioning):
        return target.notifier.mention_for(announced) is None
    return announced.quiet or announced.overtaken


async def _gone(target: str, _announcement: Announcement) -> None:
    raise PermanentError(f"the target {target} is no longer configured", reason=Reason.GONE)


async def _tell(way: Way, announced: Announcement | OpwatchError) -> OpwatchError | None:
    """Tell the target once, within the deadline. Returns the error, if any."""
    if isinstance(announced, OpwatchError):
        return announced
    return await failure_of(way.tell(announced), way.within_s)


async def failure_of(attempt: Awaitable[object], within_s: float) -> OpwatchError | None:
    """Await an attempt of a notifier, within a deadline. Returns its error, if any, without secrets."""
    try:
        async with asyncio.timeout(within_s):
            await attempt
    except OpwatchError as error:
        return error
    except aiohttp.InvalidURL:
        message = f"{REFUSED_BY_US}: the URL in this target's settings cannot be dialled; correct the settings"
        return PermanentError(message, reason=Reason.GUARD)
    except Exception as error:  # noqa: BLE001 - a third-party kind may raise anything: it is a failed attempt
        return no_answer(error)
    return None


async def _record(runtime: Runtime, claimed: Claimed, result: Result, policy: Policy, took_ms: float) -> None:
    delivery = claimed.delivery

    def decide(tracking: Tracking) -> Tracking | None:  # runs in a thread, even while the process stops
        return attempts.after_attempt(tracking, delivery, result, runtime.records.now(), policy)

    reason = Reason.OK if result.error is None else result.error.reason
    counted = added(attempt_counter(delivery.target, reason))
    after = await runtime.record(Change(claimed.stored, decide, also=(counted,)))
    _log(claimed, result.error, None if after is None else after.tracking, took_ms)
    if after is not None and attempts.is_anything_due(after.tracking, await in_thread(runtime.records.now)):
        runtime.deliveries_due.ring()  # an alert was planned


async def _release(runtime: Runtime, claimed: Claimed) -> None:
    """Release the claim: the delivery is due now. Reads the record again: the claim may not have been stored."""
    latest, now = await in_thread(lambda: (runtime.records.get(claimed.stored.tracking.id), runtime.records.now()))
    if latest is not None:
        mine, claim = claimed.delivery.id, claimed.delivery.claim or ""
        await runtime.record(Change(latest, lambda tracking: attempts.released(tracking, mine, claim, now)))


_EVENTS = {
    (DeliveryState.DELIVERED, False): (logging.INFO, "delivered"),
    (DeliveryState.RETRYING, False): (logging.WARNING, "delivery retrying"),
    (DeliveryState.DEAD, False): (logging.WARNING, "delivery dead"),
    (DeliveryState.DELIVERED, True): (logging.INFO, "alert delivered"),
    (DeliveryState.RETRYING, True): (logging.WARNING, "alert retrying"),
    (DeliveryState.DEAD, True): (logging.ERROR, "alert dead: the operator was not told"),
}
_OVERTAKEN = (logging.WARNING, "attempt overtaken")


def _log(claimed: Claimed, error: OpwatchError | None, recorded: Tracking | None, took_ms: float) -> None:
    """Log the result of an attempt and what follows. `recorded` is None if the result came too late to count."""
    delivery = claimed.delivery
    after = None if recorded is None else next((d for d in recorded.outgoing if d.id == delivery.id), None)
    is_alert = delivery.alert is not None
    level, event = _OVERTAKEN if after is None else _EVENTS.get((after.state, is_alert), _OVERTAKEN)
    log.log(
        level,
        event,
        tracking=claimed.stored.tracking.id,
        delivery=delivery.id,
        target=delivery.target,
        attempt=delivery.attempts,
        took_ms=took_ms,
        dwell_s=None if after is None else dwell_s(claimed.stored.tracking, after),
        error=None if error is None else str(error),
        reason=(Reason.OK if error is None else error.reason).value,
        next_attempt_at=timestamp(after.next_attempt_at) if after is not None and after.unfinished else None,
    )
