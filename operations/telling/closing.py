"""The closing message of a group: fixed when the group is final, and read back for each attempt to tell it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from operations.errors import OpwatchError
from operations.history import Moment
from operations.model import Delivery, DeliveryState, State, Tracking, Verdict
from operations.telling import progress, view
from operations.telling.announcement import BODY_LIMIT_BYTES, Announcement
from operations.telling.groups import Group
from operations.telling.progress import GroupMessage
from operations.text import cut_middle, json_bytes

ERROR_LIMIT_BYTES = 1_000
"""Error texts of members are cut to this length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What closing messages say, fixed `at` the end: the members, and which of them each target is told about."""

    at: Moment
    members: tuple[Tracking, ...]
    told: dict[str, tuple[str, ...]]


@cache
def _wire() -> TypeAdapter[Closing]:
    return TypeAdapter(Closing)  # made only when it is needed: `web` never needs it


def fixed(members: Iterable[Tracking], told: Mapping[str, tuple[str, ...]], at: datetime) -> Closing:
    """Fix what is told `at` the end: `told` are the ids of the members that each target is told about."""
    return Closing(at=at, members=tuple(map(_frozen, members)), told=dict(told))


def encode(closing: Closing) -> bytes:
    """Encode it as it is stored."""
    return _wire().dump_json(closing, exclude_defaults=True, by_alias=True)


def delivery(record: Tracking, target: str, closing: Closing) -> Delivery:
    """Plan the delivery to one target, due now."""
    state = _shown(record, target, closing).group.state
    return Delivery(
        id=f"{record.id}_{record.run}_{state}_{target}",
        target=target,
        run=record.run,
        verdict=_verdict(state),
        state=DeliveryState.PENDING,
        next_attempt_at=closing.at,
    )


def read(record: Tracking, delivery: Delivery, body: bytes | None) -> Announcement:
    """Read a stored closing message. Raises OpwatchError if it cannot be read."""
    try:
        closing = _wire().validate_json(body or b"")
    except ValueError as error:
        raise OpwatchError(f"the stored announcement of {delivery.id} cannot be read") from error
    shown = _shown(record, delivery.target, closing)
    return Announcement(
        delivery_id=delivery.id,
        body=_event(shown.group, closing.at),
        verdict=_verdict(shown.group.state),
        app=record.app,
        region=record.region,
        operation_id=record.operation_id,
        duration_s=shown.group.duration_s,
        context=shown.context,
        at=closing.at,
        ended_at=closing.at,
        quiet=shown.group.state is State.CANCELLED,
        closing=shown,
    )


def _verdict(state: State) -> Verdict:
    """Return the verdict that decides on colour and mention. The end of a cancelled member is unknown."""
    return Verdict.LOST if state is State.CANCELLED else Verdict(state)


def _shown(record: Tracking, target: str, closing: Closing) -> GroupMessage:
    shown = progress.compose(record.app, closing.members, closing.told.get(target, ()), closing.at)
    if shown is None:
        raise OpwatchError(f"{target} was told about no operation of this group")
    return shown


def _frozen(member: Tracking) -> Tracking:
    """Keep only what messages show of a member."""
    seen = member.operation
    if seen is not None and seen.error is not None:
        error = cut_middle(seen.error, ERROR_LIMIT_BYTES, json_bytes)
        seen = replace(seen, error=error, error_truncated=seen.error_truncated or error != seen.error)
    return replace(member, operation=seen, deliveries=(), alerts=(), slow=None, live=(), looks=())


def _event(group: Group, at: datetime) -> bytes:
    """Write the body for webhooks, below 20 kB: of too many members, the worst."""
    data = {**view.group_as_json(group), "members": [], "members_left_out": 0}
    room = BODY_LIMIT_BYTES - 100 - len(view.event("", None, data))
    kept: dict[str, dict[str, Any]] = {}
    for member in group.worst_first:
        seen = member.operation
        truncated = seen is not None and seen.error_truncated
        kept[member.id] = {**view.without_deliveries(member), "error_truncated": truncated}
        room -= len(view.compact(kept[member.id])) + 1
        if room < 0:
            del kept[member.id]
            break
    members = [kept[member.id] for member in group.members if member.id in kept]
    data |= {"members": members, "members_left_out": len(group.members) - len(members)}
    return view.event(f"group.{group.state}", at, data)
