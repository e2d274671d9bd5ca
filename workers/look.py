"""A round of looks: claim the trackings that are most worth a look, look at each, and record the result."""

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import redis
import structlog

from operations.errors import OpwatchError, RateLimitedError, SignInRejectedError, TransientError
from operations.model import Operation, State, Tracking
from operations.storage.glances import evidence_changes
from operations.storage.index import IndexChange, added
from operations.storage.records import Stored
from operations.storage.store import Change
from operations.storage.tallies import detection_s
from operations.telling.attempts import is_anything_due
from operations.watching import looks
from workers import choice
from workers.choice import Look
from workers.glance import glance
from workers.loop import AT_ONCE
from workers.runtime import LOOK_DEADLINE_S, LOOKS_FOLD_S, Runtime, current, in_thread

log = structlog.get_logger()

CATCH_UP_WITHIN_S = 0.5
"""A round must not run ahead of the event loop: it would claim what other workers could do, and tokens would expire."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A tracking claimed for a look."""

    stored: Stored
    claim: str
    look: Look
    at: datetime


def look_round() -> None:
    """Look at what is due, as far as the budget allows. An RQ job; safe to lose, to repeat and to run twice at once.

    The looks continue after it returns, on the process's event loop, each under its lease.
    """
    runtime, began_at_s = current(), time.monotonic()
    due: dict[str, list[Stored]] = defaultdict(list)
    for stored in runtime.records.due_trackings(choice.window(runtime.settings)):
        due[stored.tracking.account].append(stored)
    granted = glances = claimed = 0
    is_short = False
    for some in choice.some_accounts_at_a_time(due):
        chosen = choice.choose(runtime, some)
        runtime.loop.submit(*(partial(glance, runtime, each) for each in chosen.glances))
        claimed += _claim_and_look(runtime, chosen.looks)
        granted, glances, is_short = granted + chosen.tokens, glances + len(chosen.glances), is_short or chosen.is_short
    took_s = time.monotonic() - began_at_s
    log.log(
        logging.INFO if is_short and claimed else logging.DEBUG,
        "look round",
        due=sum(map(len, due.values())),
        granted=granted,
        glances=glances,
        claimed=claimed,
        took_ms=round(took_s * 1000, 2),
    )
    # With thousands in flight, planning takes long: then rounds come with the clock's ticks.
    if is_short and took_s < LOOKS_FOLD_S / 4 and runtime.budget.allowance.per_second * LOOKS_FOLD_S >= 1:
        runtime.looks_due.ring()  # the bucket would be full before the clock's next tick


def release_looks_of(runtime: Runtime, workers: frozenset[str]) -> int:
    """Release the looks of dead workers: they are due now. Returns how many.

    If such a worker is alive after all, an operation is looked at twice, which only costs a request. Deliveries are not
    released: a message may be on its way until its lease has run out.
    """
    released = 0
    for stored in runtime.records.claimed_trackings():
        claim = stored.tracking.claim or ""
        if claim.partition(".")[0] in workers:
            now = runtime.records.now()
            after = runtime.store.update(stored, partial(looks.released, claim=claim, now=now))
            released += after is not None
    return released


def _claim_and_look(runtime: Runtime, chosen: list[Look]) -> int:
    """Claim what no other round has claimed in the meantime, and start a look at each. Returns how many."""
    started = 0
    claim = f"{runtime.name}.{secrets.token_hex(4)}"
    for start in range(0, len(chosen), AT_ONCE):
        some = chosen[start : start + AT_ONCE]
        now = runtime.records.now()
        try:
            answers = runtime.store.update_all([_claiming(each.stored, claim, now) for each in some])
        except redis.RedisError:  # the claims may have been stored
            runtime.loop.submit(*(partial(_release, runtime, Claimed(each.stored, claim, each, now)) for each in some))
            raise
        mine = [
            Claimed(answer, claim, look, now)
            for answer, look in zip(answers, some, strict=True)
            if isinstance(answer, Stored)  # another round has claimed the rest
        ]
        started += len(mine)
        runtime.loop.submit(*(partial(_look, runtime, claimed) for claimed in mine))
        runtime.loop.catch_up(CATCH_UP_WITHIN_S)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
    return started


def _claiming(stored: Stored, claim: str, now: datetime) -> Change:
    def take(tracking: Tracking) -> Tracking | None:
        # It was due by Redis's clock, and ours may be a little behind: only check that nothing has changed.
        untouched = tracking.next_look_at == stored.tracking.next_look_at
        return looks.claimed(tracking, claim, now) if untouched else None

    return Change(stored, take)


async def _look(runtime: Runtime, claimed: Claimed) -> None:
    """Look once: ask, decide, record, tell. The claim is already made."""
    began_at_s = time.monotonic()
    try:
        seen = await _ask(runtime, claimed)
        took_ms = round((time.monotonic() - began_at_s) * 1000, 2)
        after = await runtime.record(_decision(runtime, claimed, seen))
    except (redis.RedisError, asyncio.CancelledError):  # Redis is away, or the process stops
        await _release(runtime, claimed)
        return
    if after is not None:
        tracking, looked_at = after.tracking, after.tracking.last_polled_at
        group_waits = tracking.group is not None and tracking.ended_at is not None
        if looked_at is not None and (group_waits or is_anything_due(tracking, looked_at)):
            runtime.deliveries_due.ring()
        _log(tracking, seen, took_ms)
    await _heed(runtime, claimed.stored.tracking.account, seen)


async def _ask(runtime: Runtime, claimed: Claimed) -> Operation | OpwatchError:
    """Ask the API once. Errors are returned, not raised."""
    try:
        async with asyncio.timeout(LOOK_DEADLINE_S):
            asked = claimed.stored.tracking
            return await runtime.client.look(asked, granted_at_s=claimed.look.granted_at_s, within_s=LOOK_DEADLINE_S)
    except OpwatchError as error:
        return error
    except TimeoutError:
        return TransientError(f"no answer within {LOOK_DEADLINE_S:.0f} s, including the wait for the budget")


def _decision(runtime: Runtime, claimed: Claimed, seen: Operation | OpwatchError) -> Change:
    """Make the change that records a look. It runs later, in a thread that may ask Redis; this function may not."""
    seen_at_s, known, hint = time.monotonic(), claimed.stored.tracking, claimed.look.hint
    learned: list[IndexChange] = []
    if isinstance(seen, Operation):
        known = replace(known, operation=seen)
        learned = evidence_changes(known, hint, seen, claimed.at)

    def decide(tracking: Tracking) -> Tracking | None:
        since = timedelta(milliseconds=round((time.monotonic() - seen_at_s) * 1000))  # Redis may have been away since
        (durations,) = runtime.learned.durations([known])
        ended = known.operation is not None and known.operation.outcome is not None
        return looks.after_look(
            looks.hinted(tracking, hint),
            claimed.claim,
            seen,
            now=runtime.records.now() - since,
            durations=durations,
            rules=runtime.rules,
            alert_target=runtime.settings.alert_target,
            earlier=runtime.store.told.earlier(known) if ended else None,
        )

    return Change(claimed.stored, decide, also=(added(f"looks:{looks.result(seen)}"), *learned))


async def _release(runtime: Runtime, claimed: Claimed) -> None:
    """Release the claim: the look is due now. Reads the record again: the claim may not have been stored."""
    latest, now = await in_thread(lambda: (runtime.records.get(claimed.stored.tracking.id), runtime.records.now()))
    if latest is not None:
        await runtime.record(Change(latest, partial(looks.released, claim=claimed.claim, now=now)))


async def _heed(runtime: Runtime, account: str, seen: Operation | OpwatchError) -> None:
    """Apply what a look says about its account: a lower rate after a 429, or a rejected API token."""
    if isinstance(seen, RateLimitedError):
        await runtime.slow_down(account, seen)
    elif isinstance(seen, SignInRejectedError):
        if await in_thread(partial(runtime.account_alerts.raise_for, account, str(seen))):
            log.error("API token rejected", account=account, error=str(seen))
    elif isinstance(seen, Operation) and time.monotonic() >= runtime.account_alerts.clear_until_s.get(account, 0.0):
        await in_thread(partial(runtime.account_alerts.clear, account))


def _log(tracking: Tracking, seen: Operation | OpwatchError, took_ms: float) -> None:
    log.info(
        "looked" if tracking.state is State.TRACKING else "ended",
        tracking=tracking.id,
        app=tracking.app,
        account=tracking.account,
        result=looks.result(seen),
        state=tracking.state.value,
        status=tracking.operation.status if tracking.operation else None,
        error=tracking.last_error,
        polls=tracking.polls,
        took_ms=took_ms,
        duration_s=tracking.duration_s,
        detection_s=None if tracking.ended_at is None else detection_s(tracking),
    )
