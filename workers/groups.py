"""Checks the groups that are due: whether all their operations have ended, and what their live messages show."""

from functools import partial

import redis
import structlog

from operations.errors import OpwatchError
from operations.model import MessageRef, Tracking
from operations.storage.index import GROUPS, ChangeKind, IndexChange, milliseconds
from operations.storage.records import Stored, encode
from operations.storage.store import Change
from operations.telling import group_record
from operations.telling.group_message import GroupMessage
from workers.runtime import Runtime

log = structlog.get_logger()

CHECKS_AT_ONCE = 50


def check_groups(runtime: Runtime) -> None:
    """Check the groups that are due. Safe to lose, to repeat and to run twice at once.

    A check counts only if neither the group's record nor its score has changed since: a member that changes in the
    meantime makes the group due again, by the script that writes the member.
    """
    for name, score in runtime.records.due_groups(CHECKS_AT_ONCE).items():
        try:
            _check(runtime, name, round(score))
        except (redis.ResponseError, OpwatchError) as error:  # a damaged group must not stop the others
            log.warning("group not checked", group=name, error=str(error))


def shown_now(runtime: Runtime, record: Tracking, target: str) -> GroupMessage | None:
    """Compose what a group's live message has to show now; None if the target is told about no member."""
    return group_record.shown_to(record, _members(runtime, record.app), target, runtime.rules, runtime.records.now())


def has_called(runtime: Runtime, mine: Tracking, target: str) -> bool:
    """Tell whether another operation of the group mentions somebody at this target."""
    name = mine.app if mine.is_group else mine.group
    return name is not None and group_record.has_called(_members(runtime, name), mine, target)


def group_message_at(runtime: Runtime, member: Tracking, target: str) -> MessageRef | None:
    """Return where the live message of this member's group is at a target."""
    stored = runtime.records.get(group_record.group_id(member.group or ""))
    messages = stored.tracking.live if stored is not None else ()
    return next((m.posted for m in messages if m.target == target), None)


def _check(runtime: Runtime, name: str, score: int) -> None:
    members, now = _members(runtime, name), runtime.records.now()
    stored = runtime.records.get(group_record.group_id(name))
    if stored is None:
        fresh = group_record.begun(name, members, now)
        stored = runtime.store.add(fresh) or Stored(fresh, encode(fresh))
    checked = group_record.checked(stored.tracking, members, runtime.rules, now)
    next_ms = None if checked.next_at is None else milliseconds(checked.next_at)
    entries = (
        IndexChange(ChangeKind.EXPECT, GROUPS, name, score),
        IndexChange(ChangeKind.SCORE, GROUPS, name, next_ms),
    )
    unless_changed = partial(_unless_changed, before=stored.tracking, after=checked.record)
    (result,) = runtime.store.update_all([Change(stored, unless_changed, also=entries, body=checked.body)])
    if isinstance(result, Exception):
        raise result


def _members(runtime: Runtime, name: str) -> list[Tracking]:
    """Read the members; none if something else is stored in their place."""
    try:
        return runtime.records.group(name)
    except redis.ResponseError:
        return []


def _unless_changed(record: Tracking, *, before: Tracking, after: Tracking) -> Tracking | None:
    return after if record == before else None
