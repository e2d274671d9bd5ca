"""The stored values: trackings, operations, deliveries. All are frozen, and named as in the API."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from operations.history import OLDEST_START, Attempt, Covered, Looks, Moment
from operations.kind import GROUP_PREFIX, NO_LINKS, Kind, Links


class Verdict(StrEnum):
    """The result of a run, as announced."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"


class State(StrEnum):
    """The state of a tracking: in flight, ended with a verdict, or cancelled by a caller."""

    TRACKING = "tracking"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    CANCELLED = "cancelled"


WENT_WRONG = (State.FAILED, State.TIMED_OUT, State.LOST)


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    DEAD = "dead"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One answer of the API about any kind, as far as it was understood. `status` is the API's own word for people.

    All decisions depend on `outcome`: `SUCCEEDED`, `FAILED`, or None if it has not ended. `waiting` means that it has
    not begun yet.
    """

    status: str
    outcome: Verdict | None = None
    waiting: bool = False
    type: str | None = None
    created_at: Moment | None = None
    finished_at: Moment | None = None
    error: str | None = None
    error_truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """How long such operations usually take, in seconds: 50 % at most `p50`, 90 % at most `p90`."""

    p50: float
    p90: float
    samples: int


class AlertKind(StrEnum):
    """The subject of an alert: deliveries to a target fail or work again, or an account's API token is rejected."""

    FAILING = "failing"
    RECOVERED = "recovered"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A message to the operator about `subject`, a target or an account. Webhooks receive `body`."""

    kind: AlertKind
    subject: str
    at: datetime
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The task to tell one target a verdict, an `alert`, or (with neither) a warning that the operation is slow.

    `attempts` counts attempts begun, `failures` failed ones, which decide the backoff. `limited_since`: when the target
    first answered 429, and since then nothing else; `asked_until`: the end of a `Retry-After`. While `claim` is set,
    `next_attempt_at` is the end of its lease, `planned_retry_at` the planned time of an earlier attempt. `ended_at` is
    when it was delivered or given up, `planned_at` when it was requested, if later. `quiet`: it mentioned nobody.
    """

    id: str = ""  # version 0.1.0 did not store it; reading adds it
    target: str
    run: int
    verdict: Verdict | None = None
    state: DeliveryState
    attempts: int = 0
    failures: int = 0
    limited_since: Moment | None = None
    asked_until: Moment | None = None
    last_error: str | None = None
    next_attempt_at: Moment | None = None
    planned_retry_at: Moment | None = None
    ended_at: Moment | None = None
    claim: str | None = None
    alert: Alert | None = None
    planned_at: Moment | None = None
    history: tuple[Attempt, ...] = ()
    quiet: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether another attempt is needed."""
        return self.state in (DeliveryState.PENDING, DeliveryState.RETRYING)

    @property
    def warns(self) -> bool:
        """Whether it is a warning that the operation is slow."""
        return self.verdict is None and self.alert is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """The warning that an operation takes much longer than usual: its deliveries, and the `body` for webhooks."""

    body: str
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRef:
    """Where an editable message is: the id of its channel, and `ts`, Slack's id of the message in it."""

    channel: str
    ts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMessage:
    """The message that shows this run to a target until its outcome. `id` is its member of the index.

    `due_at` is the time of the next post or edit, None while it waits for the outcome's delivery, and the end of the
    lease while `claim` is set. `shows` is the digest of its content; `failures` counts consecutive failures.
    """

    id: str = ""  # version 0.1.0 did not store it; reading adds it
    target: str
    run: int
    due_at: AwareDatetime | None = None
    claim: str | None = None
    posted: MessageRef | None = None
    shows: str | None = None
    shown_at: AwareDatetime | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Opwatch's record of one operation, or of another `kind` of thing; `operation_id` is then that thing's own id.

    A group (`is_group`) has one, too: `app` is its name, and each run ends with a closing message.
    `place` is the app's account and region, unless they are the default ones; `app_id` Scalingo's id of the app, if the
    caller's URL has it: the API is asked for that. `addon_id` is the database's addon, `by_addon` whether its URL
    names it. `by_event`: only an event tells of it; `hurried`: an event has moved its look forward.
    `next_look_at` is set only in the state `tracking`; while `claim` is set, it is the end of the lease. `notify` are
    targets requested by name; with `notify_all`, all with a matching rule are told. `deliveries` tell the outcome;
    `alerts`, hidden from callers, the operator; `slow` warns in this run. `usual` is as of the last look.
    `failures_in_a_row` are up to this failure, or before this success. `missing_*` and the like count failed looks.
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
    failures_in_a_row: int | None = None
    cancelled_by: str | None = None
    deliveries: tuple[Delivery, ...] = ()
    alerts: tuple[Delivery, ...] = ()
    slow: Slow | None = None
    looks: tuple[Looks, ...] = ()
    live: tuple[LiveMessage, ...] = ()
    kind: Kind = Kind.OPERATION
    app_id: str | None = None
    addon_id: str | None = None
    by_addon: bool = False
    links: Links = NO_LINKS
    place: str = ""
    by_event: bool = False
    hurried: bool = False
    covered: Covered | None = None
    caller_counted: bool = False  # while in flight, for its caller; trackings of older versions do not
    v: int = 1  # records without it are of version 1: never change this default; kinds but operations are of 2

    @property
    def is_group(self) -> bool:
        """Whether it is the record of a group."""
        return self.id.startswith(GROUP_PREFIX)

    @property
    def outgoing(self) -> tuple[Delivery, ...]:
        """All deliveries: of outcomes, alerts and warnings."""
        return self.deliveries + self.alerts + (self.slow.deliveries if self.slow is not None else ())

    def age_s(self, at: datetime) -> float:
        """Return the operation's age, from its start by the API if credible, else from the tracking's start."""
        began = self.operation.created_at if self.operation is not None else None
        if began is None or not self.created_at - OLDEST_START <= began <= self.created_at:
            began = self.created_at
        return max(0.0, (at - began).total_seconds())
