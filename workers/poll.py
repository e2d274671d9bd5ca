"""A round of looks: claim the trackings most worth one, look at them at once, record what was seen."""

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import redis
import structlog

from config.settings import Settings
from operations.errors import OpwatchError, RateLimitedError, SignInRejectedError, TransientError
from operations.model import Operation, State, Tracking
from operations.storage import tallies
from operations.storage.records import WINDOW, Stored
from operations.storage.store import Change
from operations.telling import alerts, live
from operations.telling.view import timestamp
from operations.watching import lifecycle, pace, slow
from workers.batch import AT_ONCE
from workers.runtime import LOOKS_FOLD_S, Runtime, current, kept_asking, kept_trying

log = structlog.get_logger()

LOOK_DEADLINE_S = 10.0
LARGEST_WINDOW = 20_000
LOOKS_WITHOUT_REQUEST = 10
CATCH_UP_WITHIN_S = 0.5
"""A round that ran ahead of the event loop would claim what others could look at, and let tokens grow old."""

_NEVER = float("-inf")


def poll_round() -> None:
    """Look at what is due, as far as the budget allows. An RQ job; safe to lose, to repeat and to run twice at once.

    The looks go on after it returns, on the process' event loop, each under its lease.
    """
    runtime, began_at_s = current(), time.monotonic()
    due: dict[str, list[Stored]] = defaultdict(list)
    for stored in runtime.records.due_trackings(_window(runtime.settings)):
        due[stored.tracking.account].append(stored)
    signed_in = {account for account in due if runtime.client.is_signed_in(account)}
    asked_at_s = time.monotonic()
    granted = runtime.budget.spend_each({account: len(due[account]) if account in signed_in else 0 for account in due})
    with_token, asking = list[Stored](), list[Stored]()
    for account, (tokens, wait_s) in granted.items():
        if account in signed_in:
            with_token += _most_worth(runtime, due[account], tokens)
        else:
            asking += _most_worth(runtime, due[account], _unsigned(runtime, account, wait_s))
    claimed = _claim_and_look(runtime, with_token, asked_at_s) + _claim_and_look(runtime, asking, _NEVER)
    chosen, all_due = len(with_token) + len(asking), sum(map(len, due.values()))
    # Where all that is due is looked at, the looks' own lines say so; where none is, there will be such a round soon.
    log.log(
        logging.INFO if 0 < claimed < all_due else logging.DEBUG,
        "look round",
        due=all_due,
        granted=sum(tokens for tokens, _ in granted.values()),
        claimed=claimed,
        took_ms=_ms_since(began_at_s),
    )
    if chosen < all_due and runtime.budget.allowance.per_second * LOOKS_FOLD_S >= 1:
        runtime.looks_due.ring()  # by the clock's next tick a bucket that fills so fast would run over


def _unsigned(runtime: Runtime, account: str, token_in_s: float) -> int:
    """Say how many looks to make now through an account that is not signed in.

    Without a bearer tokens would only grow old: one look signs in for all, and takes its tokens as it goes. After a
    failed sign-in looks make no request: they end at once, and show why.
    """
    if runtime.client.is_refused_for_now(account):
        return LOOKS_WITHOUT_REQUEST
    return 0 if runtime.client.is_signing_in(account) or token_in_s > LOOK_DEADLINE_S / 2 else 1


def hand_back_of(runtime: Runtime, workers: frozenset[str]) -> int:
    """Make what dead workers were looking at due at once; returns how many.

    Should one of them be alive after all, an operation is looked at twice, which only costs a request. Deliveries are
    not handed back so: a message may still be on its way, until the lease has run out.
    """
    handed_back = 0
    for stored in runtime.records.claimed_trackings():
        claim = stored.tracking.claim or ""
        if claim.partition(".")[0] in workers and _hand_back(runtime, stored, claim) is not None:
            handed_back += 1
    return handed_back


def _window(settings: Settings) -> int:
    """Say how many due trackings to choose from: all there may be, so that one caller's cannot hide another's."""
    return min(LARGEST_WINDOW, max(WINDOW, 2 * settings.max_in_flight * len(settings.accounts)))


def _most_worth(runtime: Runtime, due: list[Stored], wanted: int) -> list[Stored]:
    """Choose so many of one account's due trackings; in no order where all of them are chosen."""
    if wanted >= len(due):
        return due
    if wanted == 0:
        return []
    known = {stored.tracking.id: stored for stored in due}
    trackings = [stored.tracking for stored in due]
    ordered = pace.by_worth(zip(trackings, runtime.learned.durations(trackings), strict=True), runtime.records.now())
    return [known[tracking.id] for tracking in ordered[:wanted]]


def _claim_and_look(runtime: Runtime, chosen: list[Stored], granted_at_s: float) -> int:
    """Have looks made at those that no other round has taken meanwhile; returns how many."""
    looks = 0
    claim = f"{runtime.name}.{secrets.token_hex(4)}"
    for start in range(0, len(chosen), AT_ONCE):
        some = chosen[start : start + AT_ONCE]
        now = runtime.records.now()
        try:
            claimed = runtime.store.update_all([_claiming(stored, claim, now) for stored in some])
        except redis.RedisError:  # the claims were made, or were not
            runtime.loop.submit(*(partial(_hand_back_later, runtime, stored, claim) for stored in some))
            raise
        mine = [stored for stored in claimed if isinstance(stored, Stored)]  # others had taken the rest
        looks += len(mine)
        runtime.loop.submit(*(partial(_look, runtime, stored, claim, granted_at_s) for stored in mine))
        runtime.loop.catch_up(CATCH_UP_WITHIN_S)
        for refused in claimed:
            if isinstance(refused, Exception):
                raise refused
    return looks


def _claiming(stored: Stored, claim: str, now: datetime) -> Change:
    def take(tracking: Tracking) -> Tracking | None:
        # It was due by Redis' own clock, which our reading of it trails by a little: ask only whether it still is.
        untouched = tracking.next_look_at == stored.tracking.next_look_at
        return lifecycle.claimed(tracking, claim, now) if untouched else None

    return Change(stored, take)


async def _look(runtime: Runtime, claimed: Stored, claim: str, granted_at_s: float) -> None:
    began_at_s = time.monotonic()
    try:
        async with asyncio.timeout(LOOK_DEADLINE_S):
            seen: Operation | OpwatchError = await runtime.client.operation(claimed.tracking, granted_at_s=granted_at_s)
    except OpwatchError as error:
        seen = error
    except TimeoutError:
        seen = TransientError(f"no answer within {LOOK_DEADLINE_S:.0f} s, the wait for a turn to ask included")
    except (redis.RedisError, asyncio.CancelledError):  # Redis is away, and nothing was asked; or the process stops
        await _hand_back_later(runtime, claimed, claim)
        return
    took_ms = _ms_since(began_at_s)
    recording = _recording(runtime, claimed, claim, seen, time.monotonic())
    after = await kept_asking(partial(runtime.changes, recording))
    account = claimed.tracking.account
    if not (isinstance(seen, Operation) and runtime.account_alerts.is_known_clear(account)):
        await kept_trying(partial(_heed, runtime, account, seen))
    if after is not None:
        if any(news(claimed.tracking, after.tracking) for news in (alerts.news, slow.news, live.news)):
            runtime.deliveries_due.ring()
        _tell(runtime, after.tracking, seen, took_ms)


def _recording(
    runtime: Runtime, claimed: Stored, claim: str, seen: Operation | OpwatchError, seen_at_s: float
) -> Change:
    """Make what records a look; it is computed later, in a thread that may ask Redis."""
    known, before = claimed.tracking, claimed.tracking.operation
    if isinstance(seen, Operation) and (before is None or before.type != seen.type):
        known = replace(known, operation=seen)

    def take_in(tracking: Tracking) -> Tracking | None:
        since_ms = round((time.monotonic() - seen_at_s) * 1000)  # Redis may have been away since
        now = runtime.records.now() - timedelta(milliseconds=since_ms)
        (durations,) = runtime.learned.durations([known])
        after = lifecycle.looked(tracking, claim, seen, now=now, durations=durations)
        if after is None:
            return None
        announced = lifecycle.announced(after, runtime.settings.rules)
        return alerts.with_rejected(announced, seen, runtime.settings.alert_target, now)

    return Change(claimed, take_in, counters=(f"looks:{result_of(seen)}",))


def _hand_back(runtime: Runtime, claimed: Stored, claim: str) -> Stored | None:
    now, latest = runtime.records.now(), runtime.records.get(claimed.tracking.id)
    return latest and runtime.store.update(latest, lambda tracking: lifecycle.released(tracking, claim, now))


async def _hand_back_later(runtime: Runtime, claimed: Stored, claim: str) -> None:
    await kept_trying(partial(_hand_back, runtime, claimed, claim))


def _heed(runtime: Runtime, account: str, seen: Operation | OpwatchError) -> None:
    """Act on what a look says about the account as a whole: a smaller budget, or an API token to mend."""
    if isinstance(seen, RateLimitedError) and (slowed := runtime.budget.slow_down(account, seen.retry_after_s)):
        log.warning(
            "slowed down by a 429", account=account, share=slowed.share, resumes_at=timestamp(slowed.resumes_at)
        )
    if isinstance(seen, SignInRejectedError):
        if runtime.account_alerts.raise_for(account, str(seen)):
            log.error("API token rejected", account=account, error=str(seen))
    elif isinstance(seen, Operation):
        runtime.account_alerts.clear(account)


def _tell(runtime: Runtime, tracking: Tracking, seen: Operation | OpwatchError, took_ms: float) -> None:
    if tracking.state is not State.TRACKING:
        runtime.deliveries_due.ring()
    log.info(
        "looked" if tracking.state is State.TRACKING else "ended",
        tracking=tracking.id,
        app=tracking.app,
        account=tracking.account,
        result=result_of(seen),
        state=tracking.state.value,
        status=tracking.operation.status if tracking.operation else None,
        error=tracking.last_error,
        polls=tracking.polls,
        took_ms=took_ms,
        duration_s=tracking.duration_s,
        detection_s=tallies.detection_s(tracking),
    )


def _ms_since(began_at_s: float) -> float:
    return round((time.monotonic() - began_at_s) * 1000, 2)


def result_of(seen: Operation | OpwatchError) -> str:
    """Name what a look met, as counters and logs have it: `answered`, or the error's name."""
    return "answered" if isinstance(seen, Operation) else type(seen).__name__.removesuffix("Error")
