"""What Opwatch knows of an operation: frozen values, in the words the API uses."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""Beyond these no time is stored, or believed: adding to it could leave what a datetime can hold."""

Moment = Annotated[AwareDatetime, Field(ge=EARLIEST, lt=LATEST)]

OLDEST_START = timedelta(days=1)
"""An operation that was tracked later than this after its start counts from when it was tracked."""


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
    created_at: Moment | None = None
    finished_at: Moment | None = None
    error: str | None = None
    error_truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """How long such operations usually take, in seconds: half of them at most `p50`, nine in ten at most `p90`."""

    p50: float
    p90: float
    samples: int


class AlertKind(StrEnum):
    """What an alert is about: deliveries to a target that fail, or an account whose API token is rejected."""

    FAILING = "failing"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What the operator is told at `at` about `subject`, a target or an account; `body` is what webhooks receive."""

    kind: AlertKind
    subject: str
    at: datetime
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """Looks in a row that all met `what`: a status of the API or, where they `failed`, why.

    `last_at` is there from the second on.
    """

    what: str
    first_at: Moment
    last_at: Moment | None = None
    times: int = 1
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to deliver: when it ended and, unless the receiver took it, why it failed."""

    at: Moment
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Tells one target of one verdict, or the operator of trouble (`alert`), or (with neither) that it is slow.

    `attempts` counts those begun; `failures` those known to have failed, by which the schedule goes: an attempt that
    died with its worker says nothing about the target. While `claim` is set, `next_attempt_at` is the end of its lease.
    `ended_at` is when it was delivered or given up; `planned_at` when it was asked for, if after the outcome.
    `id` stays the same for ever: it is the `webhook-id` and the member of the outbox.
    """

    id: str = ""  # version 0.1.0 did not store it: reading a record adds it
    target: str
    run: int
    verdict: Verdict | None = None
    state: DeliveryState
    attempts: int = 0
    failures: int = 0
    last_error: str | None = None
    next_attempt_at: Moment | None = None
    ended_at: Moment | None = None
    claim: str | None = None
    alert: Alert | None = None
    planned_at: Moment | None = None
    history: tuple[Attempt, ...] = ()

    @property
    def unfinished(self) -> bool:
        """Whether it still has to be attempted."""
        return self.state in (DeliveryState.PENDING, DeliveryState.RETRYING)

    @property
    def warns(self) -> bool:
        """Whether it warns that an operation is slow."""
        return self.verdict is None and self.alert is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """The warning that an operation takes far longer than usual, its deliveries, and the `body` for webhooks."""

    body: str
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRef:
    """A message that can be edited: the id of the channel it was posted to, and its time there, which names it."""

    channel: str
    ts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMessage:
    """The one message that shows a target this run, from the first look to the outcome.

    `due_at` is when it is next posted or edited, None once it waits for the outcome's delivery; while `claim` is set it
    is the end of the lease. `shows` is the digest of what it says, `group_digest` that of the whole group where it
    shows one, `failures` how many attempts in a row have failed. `id` is its member of the index.
    """

    id: str = ""  # version 0.1.0 did not store it: reading a record adds it
    target: str
    run: int
    due_at: AwareDatetime | None = None
    claim: str | None = None
    posted: MessageRef | None = None
    shows: str | None = None
    shown_at: AwareDatetime | None = None
    failures: int = 0
    group_digest: Annotated[str | None, Field(alias="together")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """One watch over one operation, with everything that happened to it: the whole stored record.

    `next_look_at` is set exactly while the state is `tracking`; while `claim` is set it is the end of the lease.
    `notify_all` says that every target whose rules match is told; `notify` are targets asked for by name.
    `deliveries` tell the outcome; `alerts`, which no caller sees, tell the operator of trouble; `slow` is set once this
    run was found slow; `usual` is how long such operations take, as known at the last look.
    `missing_*`, `refused_*` and `unanswered_since` remember what looks met since the last good answer.
    """

    id: str
    app: str
    operation_id: str
    region: str
    account: str
    created_at: Moment
    created_by: str
    timeout_s: int
    notify_all: Annotated[bool, Field(alias="everyone")] = True
    notify: Annotated[tuple[str, ...], Field(alias="named")] = ()
    context: dict[str, str] = field(default_factory=dict)
    group: str | None = None
    group_size: int | None = None
    run: int = 1
    state: State = State.TRACKING
    next_look_at: Moment | None = None
    claim: str | None = None
    operation: Operation | None = None
    polls: int = 0
    last_polled_at: Moment | None = None
    last_error: str | None = None
    missing_looks: int = 0
    missing_since: Moment | None = None
    refused_looks: int = 0
    refused_since: Moment | None = None
    unanswered_since: Moment | None = None
    ended_at: Moment | None = None
    duration_s: float | None = None
    usual: Usual | None = None
    reason: str | None = None
    deliveries: tuple[Delivery, ...] = ()
    alerts: tuple[Delivery, ...] = ()
    slow: Slow | None = None
    looks: tuple[Looks, ...] = ()
    live: tuple[LiveMessage, ...] = ()
    caller_counted: bool = False
    """Whether it is counted for its caller, too, while in flight; those that older versions stored are not."""
    v: int = 1  # a record that does not say is of version 1: never change this default

    @property
    def outgoing(self) -> tuple[Delivery, ...]:
        """Everything that is to be sent, or was: deliveries, alerts and warnings."""
        return self.deliveries + self.alerts + (self.slow.deliveries if self.slow is not None else ())

    def age_s(self, at: datetime) -> float:
        """Count from the operation's own start where the API gives a credible one: not after it was tracked."""
        began = self.operation.created_at if self.operation is not None else None
        if began is None or not self.created_at - OLDEST_START <= began <= self.created_at:
            began = self.created_at
        return max(0.0, (at - began).total_seconds())


def tracking_id(delivery_id: str) -> str:
    """Tell which tracking a delivery id belongs to (tracking ids hold no underscore)."""
    return delivery_id.split("_", 1)[0]
