"""A round of looks: claim the trackings most worth one, look at them at once, record what was seen."""

import asyncio
import secrets
import time
from collections import defaultdict
from functools import partial

import structlog

from operations import lifecycle, pace
from operations.errors import OpwatchError, RateLimitedError, SignInRejectedError, TransientError
from operations.model import Operation, State, Tracking
from operations.store import Stored
from workers.runtime import STALE_AFTER_S, Runtime, current, kept_trying

log = structlog.get_logger()

LOOK_DEADLINE_S = 10.0


def poll_round() -> None:
    """Look at what is due, as far as the budget allows. An RQ job; safe to lose, to repeat and to run twice at once.

    The looks go on after it returns, on the process' event loop, each under its lease.
    """
    runtime = current()
    by_account: dict[str, list[Stored]] = defaultdict(list)
    for stored in runtime.store.due_trackings():
        by_account[stored.tracking.account].append(stored)
    in_flight = runtime.store.in_flight() if by_account else {}
    for account, candidates in by_account.items():
        granted, _ = runtime.budget.spend(account, len(candidates))
        for stored in _most_worth(candidates)[:granted]:
            _claim_and_look(runtime, stored, in_flight.get(account, 1))


def _most_worth(candidates: list[Stored]) -> list[Stored]:
    known = {stored.tracking.id: stored for stored in candidates}
    return [known[tracking.id] for tracking in pace.by_worth(s.tracking for s in candidates)]


def _claim_and_look(runtime: Runtime, stored: Stored, in_flight: int) -> None:
    claimed_at_s = time.monotonic()  # before the claim is made: a process stopped meanwhile must notice
    now = runtime.store.now()
    claim = secrets.token_hex(8)

    def take(tracking: Tracking) -> Tracking | None:
        # It was due by Redis' own clock, which our reading of it trails by a little: ask only whether it still is.
        untouched = tracking.next_look_at == stored.tracking.next_look_at
        return lifecycle.claimed(tracking, claim, now) if untouched else None

    claimed = runtime.store.update(stored, take)
    if claimed is not None:
        runtime.loop.submit(partial(_look, runtime, claimed, claim, in_flight, claimed_at_s))


async def _look(runtime: Runtime, claimed: Stored, claim: str, in_flight: int, claimed_at_s: float) -> None:
    if time.monotonic() - claimed_at_s > STALE_AFTER_S:
        await kept_trying(partial(_hand_back, runtime, claimed, claim))
        return
    try:
        async with asyncio.timeout(LOOK_DEADLINE_S):
            seen: Operation | OpwatchError = await runtime.client.operation(claimed.tracking)
    except OpwatchError as error:
        seen = error
    except TimeoutError:
        seen = TransientError(f"the API gave no answer within {LOOK_DEADLINE_S:.0f} s")
    except asyncio.CancelledError:  # the process stops
        await kept_trying(partial(_hand_back, runtime, claimed, claim))
        return
    after = await kept_trying(partial(_record, runtime, claimed, claim, seen, in_flight))
    await asyncio.to_thread(_heed, runtime, claimed.tracking.account, seen)
    if after is not None:
        _tell(runtime, after.tracking, seen)


def _record(
    runtime: Runtime, claimed: Stored, claim: str, seen: Operation | OpwatchError, in_flight: int
) -> Stored | None:
    now = runtime.store.now()

    def take_in(tracking: Tracking) -> Tracking | None:
        after = lifecycle.looked(
            tracking,
            claim,
            seen,
            now=now,
            in_flight=in_flight,
            looks_per_s=runtime.budget.allowance.per_second,
        )
        return None if after is None else lifecycle.announced(after, runtime.settings.rules)

    return runtime.store.update(claimed, take_in, counters=(f"looks:{result_of(seen)}",))


def _hand_back(runtime: Runtime, claimed: Stored, claim: str) -> Stored | None:
    now = runtime.store.now()
    return runtime.store.update(claimed, lambda tracking: lifecycle.released(tracking, claim, now))


def _heed(runtime: Runtime, account: str, seen: Operation | OpwatchError) -> None:
    """Act on what a look says about the account as a whole: a smaller budget, or an API token to mend."""
    if isinstance(seen, RateLimitedError):
        runtime.budget.slow_down(account, seen.retry_after_s)
    if isinstance(seen, SignInRejectedError):
        if runtime.presence.raise_alert(account, str(seen)):
            log.error("API token rejected", account=account, error=str(seen))
    elif isinstance(seen, Operation):
        runtime.presence.clear_alert(account)


def _tell(runtime: Runtime, tracking: Tracking, seen: Operation | OpwatchError) -> None:
    if tracking.state is not State.TRACKING:
        runtime.deliveries_due.ring()
    log.info(
        "looked" if tracking.state is State.TRACKING else "ended",
        tracking=tracking.id,
        app=tracking.app,
        result=result_of(seen),
        state=tracking.state.value,
        status=tracking.operation.status if tracking.operation else None,
        error=tracking.last_error,
        polls=tracking.polls,
    )


def result_of(seen: Operation | OpwatchError) -> str:
    """Name what a look met, as counters and logs have it: `answered`, or the error's name."""
    return "answered" if isinstance(seen, Operation) else type(seen).__name__.removesuffix("Error")
