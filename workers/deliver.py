"""A round of deliveries: claim what is due, attempt each once, record how it went."""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

import aiohttp
import redis

from notifiers import editing
from notifiers.targets import Target
from operations.errors import REFUSED_BY_US, OpwatchError, PermanentError, RateLimitedError, Reason, no_answer
from operations.model import Delivery, Tracking
from operations.storage import tallies
from operations.storage.records import Stored
from operations.telling import alerts, announcement, group_message, live
from operations.telling.retries import after_attempt
from operations.watching import lifecycle
from workers import attempt_log
from workers.live import edit_round
from workers.runtime import STALE_AFTER_S, Runtime, current, kept_trying
from workers.together import DEADLINE_S as TURN_DEADLINE_S
from workers.together import Turn, turn_of

ATTEMPT_DEADLINE_S = 20.0
WARNING_DEADLINE_S = 5.0
"""A warning that hangs has a place that an outcome may be waiting for."""


def delivery_round() -> None:
    """Attempt what is due. An RQ job; safe to lose, to repeat and to run twice at once.

    The attempts go on after it returns, on the process' event loop, each under its lease. Warnings come last, so that
    they keep no outcome waiting for its turn, and after them the edits of messages that show how operations go.
    """
    runtime = current()
    warnings: list[tuple[Stored, list[Delivery]]] = []
    busy: set[str] = set()
    for stored, due in runtime.records.due_deliveries():
        tracking = stored.tracking
        mine = [d for d in tracking.outgoing if tracking.delivery_id(d) in due and _is_free(runtime, d)]
        busy.update(d.target for d in mine)
        _attempt_all(runtime, stored, [d for d in mine if not d.warns])
        if warning := [d for d in mine if d.warns]:
            warnings.append((stored, warning))
    for stored, warning in warnings:
        _attempt_all(runtime, stored, warning)
    edit_round(runtime, busy)


def _attempt_all(runtime: Runtime, stored: Stored, free: list[Delivery]) -> None:
    """Claim and attempt those that there is room for."""
    admitted = [delivery for delivery in free if _enter(runtime, delivery)]
    if admitted:
        _claim_and_attempt(runtime, stored, admitted)


def _is_free(runtime: Runtime, delivery: Delivery) -> bool:
    """Whether it waits for somebody to attempt it: a lease may have run out while Redis was away, its holder alive.

    Such a holder records the answer it got as soon as Redis is back; until then nobody sends the message again.
    """
    return delivery.claim is None or runtime.heartbeat.is_settled


def _enter(runtime: Runtime, delivery: Delivery) -> bool:
    target = runtime.targets.get(delivery.target)
    return runtime.room.enter(delivery.target, target.notifier.at_once if target else 1)


def _claim_and_attempt(runtime: Runtime, stored: Stored, admitted: list[Delivery]) -> None:
    claimed_at_s = time.monotonic()  # before the claim is made: a process stopped meanwhile must notice
    now = runtime.records.now()
    claim = secrets.token_hex(8)

    def take(tracking: Tracking) -> Tracking:
        untouched = frozenset(tracking.delivery_id(d) for d in tracking.outgoing if d in admitted)
        return lifecycle.attempting(tracking, untouched, claim, now)

    claimed, mine = stored, list[Delivery]()
    try:
        claimed = runtime.store.update(stored, take) or stored
        mine = [d for d in claimed.tracking.outgoing if d.claim == claim]
    except redis.RedisError:  # the claim was made, or was not
        for delivery in admitted:
            maybe_mine = replace(delivery, claim=claim)
            runtime.loop.submit(partial(_hand_back_later, runtime, stored, maybe_mine))
        raise
    finally:  # also when Redis fails: a place that nobody gives back would silence the target
        taken = {claimed.tracking.delivery_id(d) for d in mine}
        for delivery in admitted:
            if stored.tracking.delivery_id(delivery) not in taken:
                runtime.room.leave(delivery.target)
    for delivery in mine:
        runtime.loop.submit(partial(_attempt, runtime, claimed, delivery, claimed_at_s))


async def _attempt(runtime: Runtime, claimed: Stored, delivery: Delivery, claimed_at_s: float) -> None:
    tells = delivery.verdict is not None
    turn = turn_of(runtime, claimed.tracking, delivery.target, delivery.run) if tells else None
    try:
        await _attempt_once(runtime, claimed, delivery, claimed_at_s, turn)
    finally:
        if runtime.room.leave(delivery.target):
            runtime.deliveries_due.ring()
        if turn is not None:
            await turn.end()


async def _attempt_once(
    runtime: Runtime, claimed: Stored, delivery: Delivery, claimed_at_s: float, turn: Turn | None = None
) -> None:
    target, tracking = runtime.targets.get(delivery.target), claimed.tracking
    try:
        body = await kept_trying(partial(runtime.records.announcement, tracking.id, delivery.run))
        its_turn = turn is None or await turn.begin()
        # The clock is asked at the very last moment before something is sent.
        if not its_turn or time.monotonic() - claimed_at_s > STALE_AFTER_S:
            await _hand_back_later(runtime, claimed, delivery)
            return
        if delivery.warns and body is not None:  # this run has ended meanwhile, and the record says `skipped`
            return
        began_at_s = time.monotonic()
        error = await _sent(runtime, target, tracking, delivery, body, turn)
        took_ms = round((time.monotonic() - began_at_s) * 1000, 2)
    except asyncio.CancelledError:  # the process stops
        await _hand_back_later(runtime, claimed, delivery)
        return
    if target is not None and isinstance(error, RateLimitedError):
        runtime.room.hold(target.name, error.retry_after_s or 1.0)
    await kept_trying(partial(_record, runtime, claimed, delivery, target, error, turn, took_ms))


async def _sent(
    runtime: Runtime,
    target: Target | None,
    tracking: Tracking,
    delivery: Delivery,
    body: bytes | None,
    turn: Turn | None = None,
) -> OpwatchError | None:
    """Send once, within the deadline; returns what went wrong."""
    if target is None:
        return PermanentError(f"the target {delivery.target} is no longer configured", reason=Reason.GONE)
    try:
        told, posted = _to_tell(tracking, delivery, body), live.posted_for(tracking, delivery)
    except OpwatchError as error:
        return error
    notifier, http = editing(target.notifier), runtime.loop.targets
    if turn is not None:
        return await failure_of(turn.tell(told), TURN_DEADLINE_S)
    if notifier is not None and posted is not None:
        telling = notifier.follow_up(told, posted, http)
    else:
        telling = target.notifier.send(told, http)
    return await failure_of(telling, WARNING_DEADLINE_S if delivery.warns else ATTEMPT_DEADLINE_S)


async def failure_of(attempt: Awaitable[object], within_s: float) -> OpwatchError | None:
    """Await what a notifier does, within a deadline; returns what went wrong, as an error that holds no secret."""
    try:
        async with asyncio.timeout(within_s):
            await attempt
    except OpwatchError as error:
        return error
    except aiohttp.InvalidURL:
        message = f"{REFUSED_BY_US}: the URL in this target's settings is not one that can be dialled; mend it there"
        return PermanentError(message, reason=Reason.GUARD)
    except Exception as error:  # noqa: BLE001 - a kind may be somebody else's; whatever it raises is one failed attempt
        return no_answer(error)
    return None


def _to_tell(tracking: Tracking, delivery: Delivery, body: bytes | None) -> announcement.Announcement:
    delivery_id = tracking.delivery_id(delivery)
    if delivery.alert is not None:
        return announcement.read_alert(delivery_id, delivery.alert, body)
    if delivery.warns and tracking.slow is not None:
        body = tracking.slow.body.encode()
    return announcement.read(delivery_id, body or b"")


def _record(
    runtime: Runtime,
    claimed: Stored,
    delivery: Delivery,
    target: Target | None,
    error: OpwatchError | None,
    turn: Turn | None,
    took_ms: float,
) -> Stored | None:
    now = runtime.records.now()
    delays_s = target.notifier.retry_delays_s if target else ()
    jitter = random.uniform(-1, 1)  # noqa: S311 - it spreads retries, nothing more
    decision = after_attempt(delivery.failures + 1, error, delays_s, now=now, jitter=jitter)
    tracking = claimed.tracking
    delivery_id, claim = tracking.delivery_id(delivery), delivery.claim or ""

    def take_in(latest: Tracking) -> Tracking | None:
        after = lifecycle.attempted(latest, delivery_id, claim, decision, now)
        if after is not None and turn is not None and turn.written is not None and turn.group is not None:
            after = group_message.told(after, delivery, turn.written, turn.group, now)
        return None if after is None else alerts.with_failing(after, delivery_id, runtime.settings.alert_target, now)

    reason = Reason.OK if error is None else error.reason
    after = runtime.store.update(claimed, take_in, counters=(tallies.attempt(delivery.target, reason),))
    if after is not None and alerts.news(tracking, after.tracking):
        runtime.deliveries_due.ring()
    outcome = None if after is None else decision
    attempt_log.write(tracking, delivery, error, outcome, now=now, took_ms=took_ms)
    return after


async def _hand_back_later(runtime: Runtime, claimed: Stored, delivery: Delivery) -> None:
    await kept_trying(partial(_hand_back, runtime, claimed, delivery))


def _hand_back(runtime: Runtime, claimed: Stored, delivery: Delivery) -> Stored | None:
    now, latest = runtime.records.now(), runtime.records.get(claimed.tracking.id)
    delivery_id, claim = claimed.tracking.delivery_id(delivery), delivery.claim or ""
    return latest and runtime.store.update(latest, lambda known: lifecycle.given_back(known, delivery_id, claim, now))
