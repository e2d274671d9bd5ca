"""Reads what an attempt tells, and what else decides about it, as of now."""

from dataclasses import dataclass, replace

from operations.errors import OpwatchError
from operations.model import Delivery, MessageRef, Tracking, Verdict
from operations.telling import alerts, announcement, closing
from operations.telling.announcement import Announcement
from operations.telling.attempts import Policy
from workers.groups import group_message_at, has_called
from workers.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is told, as of now: None for nothing, since the record says `skipped`; an error if it cannot be read.

    `policy` decides on the result. `posted` is where the live message of the group is.
    """

    announced: Announcement | OpwatchError | None
    policy: Policy
    posted: MessageRef | None = None


def prepare(runtime: Runtime, tracking: Tracking, delivery: Delivery) -> Prepared:
    """Read what to tell, and what else decides about it. Raises redis.RedisError if Redis is away."""
    policy, target = runtime.policy(delivery.target), runtime.targets.get(delivery.target)
    body = runtime.records.announcement(tracking.id, delivery.run)
    if delivery.warns and body is not None:  # the run has ended in the meantime
        return Prepared(None, policy)
    earlier = None if delivery.verdict is None else runtime.store.told.earlier(tracking)
    try:
        told = replace(_read(tracking, delivery, body), place=tracking.place)
    except OpwatchError as error:
        return Prepared(error, policy)
    told = announcement.as_told(told, runtime.records.now(), earlier.newest_end if earlier else None)
    grouped = target is not None and delivery.alert is None and target.rule.closes(tracking)
    wrong = delivery.verdict is not None and delivery.verdict is not Verdict.SUCCEEDED
    if wrong and (grouped or tracking.is_group):
        told = replace(told, quiet=told.quiet or has_called(runtime, tracking, delivery.target))
    posted = group_message_at(runtime, tracking, delivery.target) if grouped and (wrong or delivery.warns) else None
    return Prepared(told, policy, posted)


def _read(tracking: Tracking, delivery: Delivery, body: bytes | None) -> Announcement:
    if delivery.alert is not None:
        return alerts.read(tracking, delivery, None if tracking.is_group else body)
    if tracking.is_group:
        return closing.read(tracking, delivery, body)
    if delivery.warns and tracking.slow is not None:
        body = tracking.slow.body.encode()
    return announcement.read(delivery.id, body or b"")
