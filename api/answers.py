"""The schemas of answers, from which `/openapi.json` is made."""

from typing import Literal

from pydantic import BaseModel, Field

from operations.kind import Kind
from operations.model import DeliveryState, State, Verdict


class OperationOut(BaseModel):
    """The operation in the API's own words."""

    status: str
    type: str | None
    created_at: str | None
    finished_at: str | None
    error: str | None


class UsualOut(BaseModel):
    """How long such operations usually take, in seconds: 50 % at most `p50`, 90 % at most `p90`."""

    p50: float
    p90: float
    samples: int


class DeliveryOut(BaseModel):
    """The delivery to one target."""

    target: str
    state: DeliveryState
    attempts: int
    last_error: str | None
    next_attempt_at: str | None
    delivered_at: str | None


class LinksOut(BaseModel):
    """Pages for people: the logs in Scalingo's dashboard, and the tracking's own page."""

    logs: str | None
    story: str | None


class OutcomeOut(BaseModel):
    """One tracking, without its deliveries. Times are RFC 3339 in UTC with milliseconds."""

    id: str
    kind: Kind
    app: str
    operation_id: str
    addon_id: str | None
    region: str
    account: str
    context: dict[str, str]
    links: LinksOut
    state: State
    operation: OperationOut | None
    created_at: str
    ended_at: str | None
    duration_s: float | None
    usual_duration_s: UsualOut | None
    polls: int
    last_polled_at: str | None
    next_poll_at: str | None
    last_error: str | None
    reason: str | None
    run: int
    group: str | None
    created_by: str


class TrackingOut(OutcomeOut):
    """One tracking. Times are RFC 3339 in UTC with milliseconds."""

    deliveries: list[DeliveryOut]


class EventData(OutcomeOut):
    """A tracking as a webhook gets it."""

    error_truncated: bool
    age_s: float = Field(default=0, description="only in `operation.slow`: for how long it has run")


class EventOut(BaseModel):
    """An outcome, or the warning that an operation is slow, as a webhook gets it."""

    type: Literal["operation.succeeded", "operation.failed", "operation.timed_out", "operation.lost", "operation.slow"]
    timestamp: str
    data: EventData


class AlertData(BaseModel):
    """What an alert is about. An alert about a target names it, and a delivery to it."""

    message: str
    error: str = Field(default="", description="not in `delivery.recovered`")
    failing_since: str = Field(default="", description="only in `delivery.recovered`: the time of the first alert")
    target: str = Field(default="", description="this field and the next four are not in `account.rejected`")
    delivery: str = ""
    state: DeliveryState = DeliveryState.DEAD
    attempts: int = 0
    verdict: Verdict = Verdict.FAILED
    id: str
    app: str
    operation_id: str
    region: str
    account: str
    context: dict[str, str]
    run: int


class AlertOut(BaseModel):
    """An alert to the operator, as a webhook gets it."""

    type: Literal["delivery.failing", "delivery.recovered", "account.rejected"]
    timestamp: str
    data: AlertData


class TrackingsOut(BaseModel):
    """A page of trackings, newest first."""

    operations: list[TrackingOut]
    next_cursor: str | None


class GroupState(BaseModel):
    """The operations with the same `group`, and their joint state: `tracking` until it is final.

    `members` are in the order of joining. Of more than 100, failed and unfinished ones come first. At `settles_at` the
    group becomes final if no operation joins before. At `reopened_at` one last joined a final group.
    """

    group: str
    state: State
    final: bool
    settles_at: str | None
    size: int | None
    counts: dict[State, int]
    created_at: str
    ended_at: str | None
    duration_s: float | None
    reopened_at: str | None


class GroupOut(GroupState):
    """The operations with the same `group`, and their joint state: `tracking` until it is final."""

    members: list[TrackingOut]


class MemberOut(OutcomeOut):
    """A member of a group as a webhook gets it."""

    error_truncated: bool


class GroupEventData(GroupState):
    """The group when it was closed. `members_left_out` did not fit into 20 kB; the worst are kept."""

    members: list[MemberOut]
    members_left_out: int


class GroupEventOut(BaseModel):
    """The closing message of a group, as a webhook gets it."""

    type: Literal["group.succeeded", "group.failed", "group.timed_out", "group.lost", "group.cancelled"]
    timestamp: str
    data: GroupEventData


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class ProblemOut(BaseModel):
    """An error by RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]
    request_id: str


class HealthOut(BaseModel):
    """The health of Opwatch, and its problems."""

    status: Literal["ok", "unready"]
    problems: list[str]
