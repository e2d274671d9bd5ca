"""What Opwatch knows of an operation: frozen values, in the words the API uses."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import TypeAdapter

from operations.errors import NewerRecordError

RECORD_VERSION = 1
"""What this code can read and write. A record of a newer version is left alone."""


class Verdict(StrEnum):
    """How an operation ended, as announced."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"


class State(StrEnum):
    """Where a tracking stands: watched, ended with a verdict, or cancelled by a caller."""

    TRACKING = "tracking"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    CANCELLED = "cancelled"


class DeliveryState(StrEnum):
    """Where the telling of one target stands."""

    PENDING = "pending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    DEAD = "dead"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One answer of the API, as far as it could be understood. Only `status` decides anything.

    Source: https://developers.scalingo.com/operations
    """

    status: str
    type: str | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    error_truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The telling of one target about one verdict.

    `attempts` counts those begun. While `claim` is set, a round is at it and `next_attempt_at` is the end of its lease.
    `ended_at` is when it was delivered or given up.
    """

    target: str
    run: int
    verdict: Verdict
    state: DeliveryState
    attempts: int = 0
    last_error: str | None = None
    next_attempt_at: datetime | None = None
    ended_at: datetime | None = None
    claim: str | None = None

    @property
    def unfinished(self) -> bool:
        """Whether it still has to be attempted."""
        return self.state in (DeliveryState.PENDING, DeliveryState.RETRYING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """One watch over one operation, with everything that happened to it: the whole stored record.

    `next_look_at` is set exactly while the state is `tracking`; while `claim` is set it is the end of the lease.
    `everyone` says that every target whose rules match is told; `named` are targets asked for by name.
    `missing_*`, `refused_since` and `unanswered_since` remember what looks have met since the last good answer.
    """

    id: str
    app: str
    operation_id: str
    region: str
    account: str
    created_at: datetime
    created_by: str
    timeout_s: int
    everyone: bool = True
    named: tuple[str, ...] = ()
    context: dict[str, str] = field(default_factory=dict)
    group: str | None = None
    group_size: int | None = None
    run: int = 1
    state: State = State.TRACKING
    next_look_at: datetime | None = None
    claim: str | None = None
    operation: Operation | None = None
    polls: int = 0
    last_polled_at: datetime | None = None
    last_error: str | None = None
    missing_looks: int = 0
    missing_since: datetime | None = None
    refused_since: datetime | None = None
    unanswered_since: datetime | None = None
    ended_at: datetime | None = None
    duration_s: float | None = None
    reason: str | None = None
    deliveries: tuple[Delivery, ...] = ()
    v: int = 1  # a record that does not say is of version 1: never change this default

    def delivery_id(self, delivery: Delivery) -> str:
        """Name this delivery for ever: the `webhook-id`, and the member of the outbox. It holds no dots."""
        return f"{self.id}_{delivery.run}_{delivery.verdict}_{delivery.target}"


def tracking_id(delivery_id: str) -> str:
    """Tell which tracking a delivery id belongs to (tracking ids hold no underscore)."""
    return delivery_id.split("_", 1)[0]


_WIRE = TypeAdapter(Tracking)


def encode(tracking: Tracking) -> bytes:
    """Write a record for the store: JSON that `decode` reads back as an equal value."""
    return _WIRE.dump_json(tracking, exclude_defaults=True)


def decode(record: bytes) -> Tracking:
    """Read a stored record, passing over unknown fields; raises NewerRecordError when it is not for this version."""
    try:
        tracking = _WIRE.validate_json(record)
    except ValueError as error:
        raise NewerRecordError("a stored record cannot be understood by this version of Opwatch") from error
    if tracking.v > RECORD_VERSION:
        raise NewerRecordError(f"{tracking.id} was written by a newer version of Opwatch, which will see to it")
    return tracking
