"""A round of edits: messages that show how operations go are brought up to date, after all else there is to send."""

import asyncio
import logging
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import structlog

from notifiers import LiveNotifier, editing
from operations.errors import OpwatchError, PermanentError, RateLimitedError, no_answer
from operations.model import LiveMessage, Tracking
from operations.storage.index import LIVE
from operations.storage.records import Stored
from operations.telling import group_message, live
from operations.telling.live import Progress, Written
from workers.runtime import STALE_AFTER_S, Runtime, kept_trying
from workers.together import Seen, Turn, turn_of

log = structlog.get_logger()

WRITE_DEADLINE_S = 4.5
"""After the longest wait for its turn on the event loop, it still ends within the lease."""

_READ_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One message claimed, and what is to be written."""

    claimed: Stored
    live_id: str
    message: LiveMessage
    claim: str
    wanted: Progress
    notifier: LiveNotifier
    claimed_at_s: float


def edit_round(runtime: Runtime, busy: Collection[str]) -> None:
    """Begin to write the messages that are due, but for targets that are `busy` with what matters more.

    Each is written as its record stands then, so that nobody is shown what is over already.
    """
    seen = Seen(runtime)
    for stored, message in runtime.records.due_live(_READ_AT_ONCE):
        target = runtime.targets.get(message.target)
        notifier = None if target is None else editing(target.notifier)
        others = message.together is not None and message.run != stored.tracking.run  # its group shows the new run
        if target is None or notifier is None or others:  # or the settings have changed since it was begun
            runtime.store.update(stored, partial(live.given_up, message=message))
            continue
        free = message.target not in busy and (message.claim is None or runtime.heartbeat.is_settled)
        if free and not seen.spares(stored, message):
            _claim_and_write(runtime, stored, message, notifier)


def _claim_and_write(runtime: Runtime, stored: Stored, message: LiveMessage, notifier: LiveNotifier) -> None:
    held = runtime.room.is_held(_edits_of(message.target))
    if held or not runtime.room.enter(message.target, runtime.targets[message.target].notifier.at_once):
        return
    claimed_at_s = time.monotonic()  # before the claim is made: a process stopped meanwhile must notice
    claim, claimed = secrets.token_hex(8), None
    try:
        now = runtime.records.now()
        if _has_turn(runtime, stored.tracking, message):
            claimed = runtime.store.update(stored, partial(live.claimed, message=message, claim=claim, now=now))
    finally:
        if claimed is None:
            runtime.room.leave(message.target)
    if claimed is not None:
        task = _Task(
            claimed=claimed,
            live_id=claimed.tracking.live_id(message),
            message=message,
            claim=claim,
            wanted=live.progress(claimed.tracking, message, now),
            notifier=notifier,
            claimed_at_s=claimed_at_s,
        )
        runtime.loop.submit(partial(_write, runtime, task))


def _edits_of(target: str) -> str:
    """Name what is held where there is no room for edits: outcomes go on, Slack counts each method by itself."""
    return f"edits of {target}"


def _has_turn(runtime: Runtime, tracking: Tracking, message: LiveMessage) -> bool:
    """Take the next turn of all workers at this target's messages, if it has come."""
    targets = sum(editing(target.notifier) is not None for target in runtime.targets.values())
    posts = message.posted is None and tracking.group is None
    turn_s = live.POST_EVERY_S if posts else live.EDIT_EVERY_S * targets
    return runtime.locks.acquire(f"live:{message.target}", runtime.name, turn_s) is not None


async def _write(runtime: Runtime, task: _Task) -> None:
    turn = turn_of(runtime, task.claimed.tracking, task.message.target, task.message.run)
    try:
        await _write_once(runtime, task, turn)
    finally:
        if runtime.room.leave(task.message.target):
            runtime.deliveries_due.ring()
        if turn is not None:
            await turn.end()


async def _write_once(runtime: Runtime, task: _Task, turn: Turn | None) -> None:
    result: Written | OpwatchError | None = None
    try:
        its_turn = turn is None or await turn.begin()
        # The clock is asked at the very last moment before something is sent.
        if its_turn and time.monotonic() - task.claimed_at_s <= STALE_AFTER_S:
            async with asyncio.timeout(WRITE_DEADLINE_S):
                result = await _shown(runtime, task, turn)
    except asyncio.CancelledError:  # the process stops
        result = None
    except OpwatchError as error:
        result = error
    except Exception as error:  # noqa: BLE001 - a kind may be somebody else's; whatever it raises is one failed attempt
        result = no_answer(error)
    if isinstance(result, RateLimitedError):
        runtime.room.hold(_edits_of(task.message.target), result.retry_after_s or 1.0)
    await kept_trying(partial(_record, runtime, task, result, turn))


async def _shown(runtime: Runtime, task: _Task, turn: Turn | None) -> Written:
    """Write it, as the group's message where the operation is one of several."""
    if turn is not None and (written := await turn.write()) is not None:
        return written
    if not task.wanted.stopped and task.claimed.tracking.ended_at is not None:
        raise PermanentError("there is no group of this operation's any more")
    posted = task.message.posted if task.message.together is None else None
    return Written(await task.notifier.show(task.wanted, posted, runtime.loop.targets), task.wanted.digest)


def _record(runtime: Runtime, task: _Task, result: Written | OpwatchError | None, turn: Turn | None) -> None:
    now, messages = runtime.records.now(), runtime.records.size(LIVE)

    def take_in(tracking: Tracking) -> Tracking | None:
        after = live.attempted(tracking, task.live_id, task.claim, result, now=now, messages=messages)
        if after is None or turn is None or result is None:
            return after
        return group_message.kept(after, task.live_id, turn.group, now)

    after = runtime.store.update(task.claimed, take_in)
    if after is not None and after.tracking.ended_at is not None:
        runtime.deliveries_due.ring()  # the outcome may have waited for this
    if result is None:
        return
    failed = isinstance(result, OpwatchError)
    log.log(
        logging.WARNING if failed else logging.INFO,
        "live message not written" if failed else "live message written",
        tracking=task.claimed.tracking.id,
        target=task.message.target,
        status=task.wanted.status,
        error=str(result) if failed else None,
        overtaken=after is None,
    )
