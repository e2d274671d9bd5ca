"""A round of edits: updates the live messages that are due, after all deliveries."""

import asyncio
import logging
import secrets
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial

import structlog

from notifiers import LiveNotifier, editing
from operations.errors import OpwatchError, PermanentError, RateLimitedError, no_answer
from operations.model import LiveMessage, Tracking
from operations.storage.index import LIVE
from operations.storage.records import Stored
from operations.storage.store import Change
from operations.telling import group_message, live
from operations.telling.live import Written
from operations.telling.progress import Progress, progress_of
from workers.group_message import GroupLease, UpToDateGroups, lease_for
from workers.runtime import STALE_AFTER_S, Runtime

log = structlog.get_logger()

WRITE_DEADLINE_S = 4.5
"""Short enough for an edit to end within the lease, even after the longest wait for the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """One claimed message, and its new content."""

    claimed: Stored
    message: LiveMessage
    claim: str
    wanted: Progress
    notifier: LiveNotifier
    claimed_at_s: float


def edit_round(runtime: Runtime, due: Iterable[tuple[Stored, LiveMessage]], busy: Collection[str]) -> None:
    """Start to write the messages that are `due`, except at targets that are `busy` with deliveries.

    Each shows the record at that time, so never an outdated state.
    """
    groups = UpToDateGroups(runtime)
    for stored, message in due:
        target = runtime.targets.get(message.target)
        notifier = None if target is None else editing(target.notifier)
        group_shows_new_run = message.group_digest is not None and message.run != stored.tracking.run
        if target is None or notifier is None or group_shows_new_run:  # or the settings have changed since
            runtime.store.update(stored, partial(live.dropped, message=message))
            continue
        free = message.target not in busy and (message.claim is None or runtime.heartbeat.is_settled)
        if free and not groups.put_off(stored, message):
            _claim_and_write(runtime, stored, message, notifier)


def _claim_and_write(runtime: Runtime, stored: Stored, message: LiveMessage, notifier: LiveNotifier) -> None:
    held = runtime.slots.is_held(_edits_of(message.target))
    if held or not runtime.slots.take(message.target, runtime.targets[message.target].notifier.at_once):
        return
    claimed_at_s = time.monotonic()  # before the claim: if the process is suspended now, it must notice
    claim, claimed = secrets.token_hex(8), None
    try:
        now = runtime.records.now()
        if _may_edit_now(runtime, stored.tracking, message):
            claimed = runtime.store.update(stored, partial(live.claimed, message=message, claim=claim, now=now))
    finally:
        if claimed is None:
            runtime.slots.free(message.target)
    if claimed is not None:
        edit = _Edit(
            claimed=claimed,
            message=message,
            claim=claim,
            wanted=progress_of(claimed.tracking, message, now),
            notifier=notifier,
            claimed_at_s=claimed_at_s,
        )
        runtime.loop.submit(partial(_write, runtime, edit))


def _edits_of(target: str) -> str:
    """Name the slot for edits. Outcomes go on during a pause of edits: Slack limits each method separately."""
    return f"edits of {target}"


def _may_edit_now(runtime: Runtime, tracking: Tracking, message: LiveMessage) -> bool:
    """Take the turn to edit this target's messages, which all workers share. Tells whether it was free."""
    targets = sum(editing(target.notifier) is not None for target in runtime.targets.values())
    posts = message.posted is None and tracking.group is None
    turn_s = live.POST_EVERY_S if posts else live.EDIT_EVERY_S * targets
    return runtime.locks.acquire(f"live:{message.target}", runtime.name, turn_s) is not None


async def _write(runtime: Runtime, edit: _Edit) -> None:
    tracking, message = edit.claimed.tracking, edit.message
    lease = lease_for(runtime, tracking, runtime.targets.get(message.target), message.run)
    try:
        result = await _written(runtime, edit, lease)
        if isinstance(result, RateLimitedError):
            runtime.slots.hold(_edits_of(message.target), result.retry_after_s or 1.0)
        await _record(runtime, edit, result, lease)
    finally:
        if runtime.slots.free(message.target):
            runtime.deliveries_due.ring()
        if lease is not None:
            await lease.end()


async def _written(runtime: Runtime, edit: _Edit, lease: GroupLease | None) -> Written | OpwatchError | None:
    """Write the message once, within the deadline. Returns the error, or None if it was not tried."""
    try:
        ready = lease is None or await lease.begin()
        # Check the time directly before sending.
        if not ready or time.monotonic() - edit.claimed_at_s > STALE_AFTER_S:
            return None
        async with asyncio.timeout(WRITE_DEADLINE_S):
            return await _show(runtime, edit, lease)
    except asyncio.CancelledError:  # the process stops
        return None
    except OpwatchError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a third-party kind may raise anything: it is a failed attempt
        return no_answer(error)


async def _show(runtime: Runtime, edit: _Edit, lease: GroupLease | None) -> Written:
    """Write the message, or the group's if the operation is one of several."""
    if lease is not None and (written := await lease.write()) is not None:
        return written
    if not edit.wanted.over and edit.claimed.tracking.ended_at is not None:
        raise PermanentError("this operation is no longer in a group")
    posted = edit.message.posted if edit.message.group_digest is None else None
    return Written(await edit.notifier.show(edit.wanted, posted, runtime.loop.targets), edit.wanted.digest)


async def _record(
    runtime: Runtime, edit: _Edit, result: Written | OpwatchError | None, lease: GroupLease | None
) -> None:
    def decide(tracking: Tracking) -> Tracking | None:  # runs in a thread, even while the process stops
        now, messages = runtime.records.now(), runtime.overview.size(LIVE)
        after = live.after_edit(tracking, edit.message.id, edit.claim, result, now=now, messages=messages)
        if after is None or lease is None or result is None:
            return after
        group = None if lease.shown is None else lease.shown.group
        return group_message.kept(after, edit.message.id, group, now)

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
