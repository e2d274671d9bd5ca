"""The description of the API, made from the models that validate it (OpenAPI 3.1)."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from api import parameters
from api.answers import AlertOut, EventOut, GroupEventOut, GroupOut, HealthOut, ProblemOut, TrackingOut, TrackingsOut
from api.parameters import parameter
from api.schemas import TrackRequest
from operations.model import State, Verdict

VERSION: str = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))["project"][
    "version"
]
"""Only pyproject.toml says it. `bin/opwatch`, which people copy, says it again; a test compares them."""

_REFERENCE = "#/components/schemas/{model}"
_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_ERRORS = {
    400: "the body is not JSON, or ended too early",
    401: "no valid token",
    403: "the token may only read",
    404: "no such resource",
    405: "the method is not allowed",
    408: "the request did not arrive within 10 s",
    409: "not possible in this state",
    413: "the body is larger than 64 kB",
    415: "neither JSON nor a form, or with a Content-Encoding",
    422: "not valid; `errors` says which field",
    429: "too many operations in flight: send it again after `Retry-After`",
    503: "Redis does not answer, or refuses writes: send it again",
}


_TO_OPERATOR = "; sent to `OPWATCH_ALERT_TARGET`"
_WEBHOOKS = {
    **{f"operation.{verdict}": (f"An operation has ended: {verdict}", "EventOut") for verdict in Verdict},
    "operation.slow": ('An operation takes much longer than usual; sent with `"slow"` in `on`', "EventOut"),
    **{
        f"group.{state}": (f"A group is final: {state}; sent with the rule `groups`", "GroupEventOut")
        for state in State
        if state is not State.TRACKING
    },
    "delivery.failing": (f"Deliveries to a target fail{_TO_OPERATOR}", "AlertOut"),
    "delivery.recovered": (f"Deliveries to a target work again{_TO_OPERATOR}", "AlertOut"),
    "account.rejected": (f"The API token of an account is rejected{_TO_OPERATOR}", "AlertOut"),
}
"""The summary and the model of each webhook."""


@cache
def document() -> dict[str, Any]:
    """Return the whole document."""
    models = (
        TrackRequest,
        TrackingOut,
        TrackingsOut,
        GroupOut,
        ProblemOut,
        HealthOut,
        AlertOut,
        EventOut,
        GroupEventOut,
    )
    _, definitions = models_json_schema(
        [(model, "validation" if model is TrackRequest else "serialization") for model in models],
        ref_template=_REFERENCE,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Opwatch",
            "version": VERSION,
            "description": "Tells people how a PaaS operation ended. Every answer has an `X-Request-ID`.",
        },
        "security": [{"token": []}],
        "paths": _paths(),
        "webhooks": {name: _webhook(summary, name, model) for name, (summary, model) in _WEBHOOKS.items()},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": definitions["$defs"],
        },
    }


def _paths() -> dict[str, Any]:
    identity = parameter("identity", "path", {"type": "string"}, "`<region>-<operation_id>`")
    group = parameter("group", "path", {"type": "string", "minLength": 1}, "percent-encoded, `/` included")
    target = parameter("target", "path", {"type": "string"}, "a target's name")
    secret = parameter("secret", "path", {"type": "string"}, "`OPWATCH_EVENTS_SECRET`")
    prefer = parameter("Prefer", "header", {"type": "string"}, "`wait=N` waits for the end, N ≤ 25 s")
    return {
        "/v1/operations": {
            "post": {
                "summary": "Track an operation",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": _ref("TrackRequest")},
                        "application/x-www-form-urlencoded": {"schema": parameters.form()},
                    },
                },
                "responses": {
                    "202": _tracking("a new tracking, with `Location`", location=True),
                    "200": _tracking("the operation was tracked already", location=True),
                    **_problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
                },
            },
            "get": {
                "summary": "List trackings, newest first",
                "parameters": parameters.of_list(),
                "responses": {
                    "200": _json('`{"operations": […], "next_cursor": "…" or null}`', "TrackingsOut"),
                    **_problems(401, 422, 503),
                },
            },
        },
        "/v1/operations/{identity}": {
            "get": {
                "summary": "Show a tracking",
                "parameters": [identity, prefer],
                "responses": {"200": _tracking("the tracking"), **_problems(401, 404, 503)},
            },
            "delete": {
                "summary": "Cancel a tracking that has not ended; nobody is told",
                "parameters": [identity],
                "responses": {"200": _tracking("the cancelled tracking"), **_problems(401, 403, 404, 409, 503)},
            },
        },
        "/v1/operations/{identity}/error": {
            "get": {
                "summary": "Show the whole error text, or the `reason` of the verdict, or nothing",
                "parameters": [identity],
                "responses": {"200": {"description": "`text/plain`", "content": _TEXT}, **_problems(401, 404, 503)},
            }
        },
        "/v1/operations/{identity}/deliveries/{target}/retry": {
            "post": {
                "summary": "Retry a delivery now, unless it was delivered or skipped",
                "parameters": [identity, target],
                "responses": {"202": _tracking("the tracking"), **_problems(401, 403, 404, 409, 503)},
            },
        },
        "/v1/groups/{group}": {
            "get": {
                "summary": "Show the operations of one deploy together",
                "parameters": [group, prefer],
                "responses": {"200": _lined("the group", "GroupOut"), **_problems(401, 404, 503)},
            },
        },
        "/v1/scalingo/{secret}": {
            "post": {
                "summary": "Take an event of Scalingo's notifier: look at its deployment now, or begin to track it",
                "security": [],
                "parameters": [secret, *parameters.of_event()],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"description": "the event, as Scalingo sends it"}}},
                },
                "responses": {
                    "204": {"description": "taken, or about something else"},
                    **_problems(400, 404, 408, 413, 415, 422, 429, 503),
                },
            }
        },
        "/healthz": {"get": _open("The web process is alive", {"200": _json("alive", "HealthOut")})},
        "/readyz": {
            "get": _open(
                "Redis, a worker and the API tokens are in order",
                {"200": _json("ready", "HealthOut"), "503": _json("not ready; `problems`", "HealthOut")},
            )
        },
        "/metrics": {
            "get": {
                "summary": "Metrics for Prometheus",
                "responses": {
                    "200": {"description": "metrics", "content": _TEXT},
                    **_problems(401, 503),
                },
            }
        },
        "/openapi.json": {
            "get": _open(
                "This API as OpenAPI 3.1",
                {
                    "200": {
                        "description": "the document",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    }
                },
            )
        },
    }


def _webhook(summary: str, name: str, model: str) -> dict[str, Any]:
    """Describe a webhook."""
    schema = {"allOf": [_ref(model), {"properties": {"type": {"const": name}}}]}
    return {
        "post": {
            "summary": summary,
            "security": [],
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
            "responses": {"2XX": {"description": "accepted"}, "410": {"description": "given up"}},
        }
    }


def _ref(model: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model)}


def _json(description: str, model: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(model)}}}


def _lined(description: str, model: str) -> dict[str, Any]:
    answer = _json(description, model)
    answer["content"] |= _line("`<state> <id> <words>`, for `Accept: text/plain`")
    return answer


def _tracking(description: str, *, location: bool = False) -> dict[str, Any]:
    answer = _lined(description, "TrackingOut")
    if location:
        answer["headers"] = {"Location": {"schema": {"type": "string"}, "description": "the tracking's path"}}
    return answer


def _line(description: str) -> dict[str, Any]:
    return {"text/plain": {"schema": {"type": "string", "description": description}}}


def _problems(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {
            "description": _ERRORS[status],
            "content": {"application/problem+json": {"schema": _ref("ProblemOut")}}
            | _line("`error <status> <detail>`, for `Accept: text/plain`"),
        }
        for status in statuses
    }


def _open(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "security": [], "responses": responses}
