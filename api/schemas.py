"""The schemas of requests and answers: they validate requests, and `/openapi.json` is made from them."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from operations.model import DeliveryState, State, Verdict
from operations.telling.groups import LARGEST as LARGEST_GROUP
from scalingo.operation import APP_PATTERN, LONGEST_URL, OPERATION_ID_PATTERN

DEFAULT_TIMEOUT_S = 3600
CONTEXT_LIMIT_BYTES = 4_000
LONGEST_GROUP = 200

TargetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]
ContextName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
ContextValue = Annotated[str, StringConstraints(max_length=500)]


def _fits(context: dict[str, str]) -> dict[str, str]:
    if context and len(json.dumps(context, ensure_ascii=False).encode()) > CONTEXT_LIMIT_BYTES:
        message = f"must take at most {CONTEXT_LIMIT_BYTES} bytes as JSON"
        raise ValueError(message)
    return context


class TrackRequest(BaseModel):
    """Track this operation: `operation_url`, or `app` and `operation_id`."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"anyOf": [{"required": ["operation_url"]}, {"required": ["app", "operation_id"]}]},
    )

    operation_url: str | None = Field(
        default=None, max_length=LONGEST_URL, description="the Location header, unchanged"
    )
    app: str | None = Field(default=None, pattern=APP_PATTERN)
    operation_id: str | None = Field(default=None, pattern=OPERATION_ID_PATTERN)
    region: str | None = Field(default=None, max_length=41, description="default: the configured one")
    account: str | None = Field(default=None, max_length=41, description="default: `default`")
    notify: list[TargetName] | None = Field(
        default=None, max_length=50, description="target names; default: every target whose rules match; []: nobody"
    )
    timeout: int | None = Field(
        default=None, ge=60, le=86_400, description=f"seconds to watch; default: {DEFAULT_TIMEOUT_S}"
    )
    group: str | None = Field(
        default=None, min_length=1, max_length=LONGEST_GROUP, description="the same for all operations of one deploy"
    )
    group_size: int | None = Field(default=None, ge=1, le=LARGEST_GROUP, description="how many operations it will have")
    context: Annotated[dict[ContextName, ContextValue], AfterValidator(_fits)] | None = Field(
        default=None, max_length=20, description="shown in messages; see environment, actor, commit, url"
    )

    @model_validator(mode="after")
    def _names_an_operation(self) -> Self:
        if self.operation_url is None and (self.app is None or self.operation_id is None):
            message = "give operation_url, or app and operation_id"
            raise ValueError(message)
        return self


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


class TrackingOut(BaseModel):
    """One tracking. Times are RFC 3339 in UTC with milliseconds."""

    id: str
    app: str
    operation_id: str
    region: str
    account: str
    context: dict[str, str]
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
    deliveries: list[DeliveryOut]


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


class GroupOut(BaseModel):
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
    members: list[TrackingOut]


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


class ListQuery(BaseModel):
    """The query parameters of the list."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    app: str | None = Field(default=None, pattern=APP_PATTERN)
    state: State | None = None
    delivery: DeliveryState | None = None
    group: str | None = Field(default=None, min_length=1, max_length=LONGEST_GROUP)
    limit: int = Field(default=50, ge=1, le=100)
    cursor: str | None = Field(default=None, pattern=r"^[0-9]{1,15}_[a-z0-9-]{1,80}$")


def form_fields(form: dict[str, str]) -> dict[str, Any]:
    """Turn an HTML form into the JSON's structure: `context.actor=jane`, and `notify` separated by commas.

    Another empty field counts as not given.
    """
    fields: dict[str, Any] = {}
    context: dict[str, str] = {}
    for name, value in form.items():
        if name.startswith("context."):
            context[name.removeprefix("context.")] = value
        elif name == "notify":
            fields[name] = [part.strip() for part in value.split(",") if part.strip()]
        else:
            fields[name] = value or None
    return {"context": context, **fields} if context else fields
