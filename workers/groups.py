"""Checks the groups that are due: whether all their operations have ended, and what their live messages show."""

from collections.abc import Iterable, Mapping
from functools import partial

import redis
import structlog

from operations.errors import OpwatchError
from operations.model import MessageRef, Tracking
from operations.storage.clock import milliseconds
from operations.storage.index import GROUPS, ChangeKind, IndexChange
from operations.storage.records import Stored, encode
from operations.storage.store import Change
from operations.telling import group_record
from operations.telling.progress import GroupMessage
from workers.runtime import Runtime

log = structlog.get_logger()

CHECKS_AT_ONCE, MEMBERS_AT_ONCE = 50, 1_000
"""How many groups, with how many members, are in memory for a batch of checks; at least one group."""

EFFORT_OF_A_CHECK, MOST_EFFORT = 20, 5_000
"""A check takes about as long as reading so many members. The deliveries of a round come after its checks."""


def check_groups(runtime: Runtime) -> None:
    """Check the groups that are due. Safe to lose, to repeat and to run twice at once.

    A check counts only if neither the group's record nor its score has changed since: a member that changes in the
    meantime makes the group due again, by the script that writes the member.
    """
    skipped, effort = 0, 0
    while effort < MOST_EFFORT:
        listed = runtime.records.due_groups(CHECKS_AT_ONCE, skipped)
        due, members = _fitting(listed, runtime.records.group_sizes(listed))
        faults = _check_all(runtime, due)
        for name, error in faults.items():
            if not isinstance(error, (redis.ResponseError, OpwatchError)):
                raise error
            log.warning("group not checked", group=name, error=str(error))
        skipped += len(faults)  # a damaged group must not hide the others
        effort += EFFORT_OF_A_CHECK * len(due) + members
        if len(due) == len(listed) < CHECKS_AT_ONCE:
            break


def _fitting(listed: Mapping[str, float], sizes: Iterable[int]) -> tuple[dict[str, float], int]:
    """Return the first groups that fit into a batch, at least one, and how many members they have."""
    due, members = dict[str, float](), 0
    for (name, score), size in zip(listed.items(), sizes, strict=True):
        if due and members + size > MEMBERS_AT_ONCE:
            break
        due[name], members = score, members + size
    return due, members


def _check_all(runtime: Runtime, due: Mapping[str, float]) -> dict[str, Exception]:
    """Check these groups in a few round trips. Returns the errors by group."""
    members = runtime.records.groups(due)
    records = {stored.tracking.id: stored for stored in runtime.records.read(map(group_record.group_id, due))}
    checks, faults = dict[str, Change](), dict[str, Exception]()
    for name, score in due.items():
        try:
            stored = records.get(group_record.group_id(name)) or _begun(runtime, name, members[name])
            checks[name] = _check(runtime, name, stored, members[name], round(score))
        except (redis.ResponseError, OpwatchError) as error:
            faults[name] = error
    results = zip(checks, runtime.store.update_all(list(checks.values())), strict=True)
    return faults | {name: result for name, result in results if isinstance(result, Exception)}


def shown_now(runtime: Runtime, record: Tracking, target: str) -> GroupMessage | None:
    """Compose what a group's live message has to show now; None if the target is told about no member."""
    members = runtime.records.group(record.app)
    return group_record.shown_to(record, members, target, runtime.rules, runtime.records.now())


def has_called(runtime: Runtime, mine: Tracking, target: str) -> bool:
    """Tell whether another operation of the group mentions somebody at this target."""
    name = mine.app if mine.is_group else mine.group
    return name is not None and group_record.has_called(runtime.records.group(name), mine, target)


def group_message_at(runtime: Runtime, member: Tracking, target: str) -> MessageRef | None:
    """Return where the live message of this member's group is at a target."""
    stored = runtime.records.get(group_record.group_id(member.group or ""))
    messages = stored.tracking.live if stored is not None else ()
    return next((m.posted for m in messages if m.target == target), None)


def _begun(runtime: Runtime, name: str, members: list[Tracking]) -> Stored:
    fresh = group_record.begun(name, members, runtime.records.now())
    return runtime.store.add(fresh) or Stored(fresh, encode(fresh))


def _check(runtime: Runtime, name: str, stored: Stored, members: list[Tracking], score: int) -> Change:
    """Make the change that records a check."""
    checked = group_record.checked(stored.tracking, members, runtime.rules, runtime.records.now())
    next_ms = None if checked.next_at is None else milliseconds(checked.next_at)
    entries = (
        IndexChange(ChangeKind.EXPECT, GROUPS, name, score),
        IndexChange(ChangeKind.SCORE, GROUPS, name, next_ms),
    )
    unless_changed = partial(_unless_changed, before=stored.tracking, after=checked.record)
    return Change(stored, unless_changed, also=entries, body=checked.body)


def _unless_changed(record: Tracking, *, before: Tracking, after: Tracking) -> Tracking | None:
    return after if record == before else None
