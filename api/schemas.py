"""The schemas of requests: they validate requests, and `/openapi.json` is made from them."""

import json
import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from operations.model import DeliveryState, State
from operations.telling.groups import LARGEST as LARGEST_GROUP
from scalingo.address import LONGEST_URL
from scalingo.api_kind import ADDON_PATTERN, APP_PATTERN, ID_PATTERN, UUID_PATTERN

DEFAULT_TIMEOUT_S = 3600
CONTEXT_LIMIT_BYTES = 4_000
LONGEST_GROUP = 200

TargetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]
ContextName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
ContextValue = Annotated[str, StringConstraints(max_length=500)]


THING_IDS = ("operation_id", "deployment_id", "backup_id")


def _is_uuid(value: str) -> str:
    if re.fullmatch(UUID_PATTERN, value) is None:
        hint = "; this is its other id" if re.fullmatch(ID_PATTERN, value) else ""
        message = f"must be the deployment's uuid, as its `id` and `links.output` have it{hint}"
        raise ValueError(message)
    return value


def _fits(context: dict[str, str]) -> dict[str, str]:
    if context and len(json.dumps(context, ensure_ascii=False).encode()) > CONTEXT_LIMIT_BYTES:
        message = f"must take at most {CONTEXT_LIMIT_BYTES} bytes as JSON"
        raise ValueError(message)
    return context


class TrackRequest(BaseModel):
    """Track this: `operation_url`, or `app` and one of `operation_id`, `deployment_id` and `backup_id`."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "anyOf": [
                {"required": ["operation_url"]},
                {"required": ["app", "operation_id"]},
                {"required": ["app", "deployment_id"]},
                {"required": ["app", "backup_id", "addon_id"]},
            ],
        },
    )

    operation_url: str | None = Field(
        default=None,
        max_length=LONGEST_URL,
        description="a Location header or a deployment's `links.output`, unchanged",
    )
    app: str | None = Field(default=None, pattern=APP_PATTERN)
    operation_id: str | None = Field(
        default=None, pattern=ID_PATTERN, description="with `addon_id`: of a database's operation"
    )
    deployment_id: Annotated[str, AfterValidator(_is_uuid)] | None = Field(
        default=None, max_length=64, description="the deployment's uuid", json_schema_extra={"pattern": UUID_PATTERN}
    )
    backup_id: str | None = Field(default=None, pattern=ID_PATTERN, description="of a database's backup")
    addon_id: str | None = Field(default=None, pattern=ADDON_PATTERN, description="the database's addon")
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
        if self.operation_url is not None:
            return self
        ids = [name for name in THING_IDS if getattr(self, name) is not None]
        if self.app is None or len(ids) != 1:
            message = "give operation_url, or app and one of operation_id, deployment_id and backup_id"
            raise ValueError(message)
        if self.deployment_id is not None and self.addon_id is not None:
            message = "a deployment has no addon_id"
            raise ValueError(message)
        return self


class ListQuery(BaseModel):
    """The query parameters of the list."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    app: str | None = Field(default=None, pattern=APP_PATTERN, description="only this app")
    state: State | None = Field(default=None, description="only this state")
    delivery: DeliveryState | None = Field(
        default=None, description="only with a delivery of the current run in this state"
    )
    group: str | None = Field(default=None, min_length=1, max_length=LONGEST_GROUP, description="only this group")
    limit: int = Field(default=50, ge=1, le=100, description="how many at most")
    cursor: str | None = Field(
        default=None, pattern=r"^[0-9]{1,15}_[a-z0-9-]{1,80}$", description="`next_cursor` of the page before"
    )


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


def form_schema() -> dict[str, Any]:
    """Describe the form: the same fields as text."""
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {name: text for name in TrackRequest.model_fields if name != "context"},
        "patternProperties": {r"^context\.[A-Za-z0-9_.-]{1,64}$": {**text, "maxLength": 500}},
        "additionalProperties": False,
        "anyOf": TrackRequest.model_json_schema()["anyOf"],
    }
