"""A round of edits: updates the live messages that are due, after all deliveries."""

import asyncio
import logging
import secrets
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from notifiers import LiveNotifier, editing
from operations.errors import OpwatchError, RateLimitedError, no_answer
from operations.model import LiveMessage, Tracking
from operations.storage.index import LIVE
from operations.storage.records import Stored
from operations.storage.store import Change
from operations.telling import live
from operations.telling.live import Written
from operations.telling.progress import GroupMessage, Progress, progress_of
from workers.groups import shown_now
from workers.runtime import STALE_AFTER_S, Runtime

log = structlog.get_logger()

Shown = Progress | GroupMessage

WRITE_DEADLINE_S = 4.5
"""Short enough for an edit to end within the lease, even after the longest wait for the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """One claimed message, and its new content."""

    claimed: Stored
    message: LiveMessage
    claim: str
    wanted: Shown
    notifier: LiveNotifier
    claimed_at_s: float


def edit_round(runtime: Runtime, due: Iterable[tuple[Stored, LiveMessage]], busy: Collection[str]) -> None:
    """Start to write the messages that are `due`, except at targets that are `busy` with deliveries.

    Each shows the record at that time, so never an outdated state.
    """
    for stored, message in due:
        target = runtime.targets.get(message.target)
        notifier = None if target is None else editing(target.notifier)
        wanted = _wanted(runtime, stored.tracking, message, runtime.records.now())
        # An older version shows each member of a group, or the settings have changed since.
        if target is None or notifier is None or wanted is None or target.rule.closes(stored.tracking):
            runtime.store.update(stored, partial(live.dropped, message=message))
            continue
        free = message.target not in busy and (message.claim is None or runtime.heartbeat.is_settled)
        if free:
            _claim_and_write(runtime, stored, message, notifier, wanted)


def _claim_and_write(
    runtime: Runtime, stored: Stored, message: LiveMessage, notifier: LiveNotifier, wanted: Shown
) -> None:
    held = runtime.slots.is_held(_edits_of(message.target))
    if held or not runtime.slots.take(message.target, runtime.targets[message.target].notifier.at_once):
        return
    claimed_at_s = time.monotonic()  # before the claim: if the process is suspended now, it must notice
    claim, claimed = secrets.token_hex(8), None
    try:
        now = runtime.records.now()
        if _may_edit_now(runtime, message):
            claimed = runtime.store.update(stored, partial(live.claimed, message=message, claim=claim, now=now))
    finally:
        if claimed is None:
            runtime.slots.free(message.target)
    if claimed is not None:
        edit = _Edit(
            claimed=claimed,
            message=message,
            claim=claim,
            wanted=wanted,
            notifier=notifier,
            claimed_at_s=claimed_at_s,
        )
        runtime.loop.submit(partial(_write, runtime, edit))


def _wanted(runtime: Runtime, tracking: Tracking, message: LiveMessage, now: datetime) -> Shown | None:
    """Return what the message has to show now; None for nothing."""
    if tracking.is_group:
        return shown_now(runtime, tracking, message.target)
    return progress_of(tracking, message, now)


def _edits_of(target: str) -> str:
    """Name the slot for edits. Outcomes go on during a pause of edits: Slack limits each method separately."""
    return f"edits of {target}"


def _may_edit_now(runtime: Runtime, message: LiveMessage) -> bool:
    """Take the turn to edit this target's messages, which all workers share. Tells whether it was free."""
    targets = sum(editing(target.notifier) is not None for target in runtime.targets.values())
    turn_s = live.POST_EVERY_S if message.posted is None else live.EDIT_EVERY_S * targets
    return runtime.locks.acquire(f"live:{message.target}", runtime.name, turn_s) is not None


async def _write(runtime: Runtime, edit: _Edit) -> None:
    try:
        result = await _written(runtime, edit)
        if isinstance(result, RateLimitedError):
            runtime.slots.hold(_edits_of(edit.message.target), result.retry_after_s or 1.0)
        await _record(runtime, edit, result)
    finally:
        if runtime.slots.free(edit.message.target):
            runtime.deliveries_due.ring()


async def _written(runtime: Runtime, edit: _Edit) -> Written | OpwatchError | None:
    """Write the message once, within the deadline. Returns the error, or None if it was not tried."""
    try:
        # Check the time directly before sending.
        if time.monotonic() - edit.claimed_at_s > STALE_AFTER_S:
            return None
        async with asyncio.timeout(WRITE_DEADLINE_S):
            posted = await edit.notifier.show(edit.wanted, edit.message.posted, runtime.loop.targets)
            return Written(posted, edit.wanted.digest)
    except asyncio.CancelledError:  # the process stops
        return None
    except OpwatchError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a third-party kind may raise anything: it is a failed attempt
        return no_answer(error)


async def _record(runtime: Runtime, edit: _Edit, result: Written | OpwatchError | None) -> None:
    def decide(tracking: Tracking) -> Tracking | None:  # runs in a thread, even while the process stops
        now, messages = runtime.records.now(), runtime.overview.size(LIVE)
        wanted = _wanted(runtime, tracking, edit.message, now) or edit.wanted
        return live.after_edit(tracking, edit.message.id, edit.claim, result, now=now, messages=messages, wanted=wanted)

    after = await runtime.record(Change(edit.claimed, decide))
    if after is not None and after.tracking.ended_at is not None:
        runtime.deliveries_due.ring()  # the outcome may have waited for this
    if result is None:
        return
    failed = isinstance(result, OpwatchError)
    log.log(
        logging.WARNING if failed else logging.INFO,
        "live message not written" if failed else "live message written",
        tracking=edit.claimed.tracking.id,
        target=edit.message.target,
        status=edit.wanted.status,
        error=str(result) if failed else None,
        overtaken=after is None,
    )
