"""The description of the API, made from the models that validate it (OpenAPI 3.1)."""

import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from api.answers import AlertOut, EventOut, GroupEventOut, GroupOut, HealthOut, ProblemOut, TrackingOut, TrackingsOut
from api.events import PARAMETERS
from api.schemas import ListQuery, TrackRequest, form_schema
from operations.model import State, Verdict

VERSION: str = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))["project"][
    "version"
]
"""Only pyproject.toml says it. `bin/opwatch`, which people copy, says it again; a test compares them."""

_ANSWERS = (TrackingOut, TrackingsOut, GroupOut, ProblemOut, HealthOut, AlertOut, EventOut, GroupEventOut)
_REFERENCE = "#/components/schemas/{model}"
_TEXT = {"type": "string"}
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
_SHOWS = (401, 404, 503)
_CHANGES = (401, 403, 404, 409, 503)

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
    _, definitions = models_json_schema(
        [(TrackRequest, "validation"), *((model, "serialization") for model in _ANSWERS)],
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
    identity = _parameter("identity", "path", _TEXT, "`<region>-<operation_id>`")
    group = _parameter("group", "path", {**_TEXT, "minLength": 1}, "percent-encoded, `/` included")
    target = _parameter("target", "path", _TEXT, "a target's name")
    secret = _parameter("secret", "path", _TEXT, "`OPWATCH_EVENTS_SECRET`")
    prefer = _parameter("Prefer", "header", _TEXT, "`wait=N` waits for the end, N ≤ 25 s")
    return {
        "/v1/operations": {
            "post": _route(
                "Track an operation",
                {
                    202: _tracking("a new tracking, with `Location`", location=True),
                    200: _tracking("the operation was tracked already", location=True),
                },
                (400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
                body={"application/json": _ref("TrackRequest"), "application/x-www-form-urlencoded": form_schema()},
            ),
            "get": _route(
                "List trackings, newest first",
                {200: _answer('`{"operations": […], "next_cursor": "…" or null}`', "TrackingsOut")},
                (401, 422, 503),
                parameters=[*_of_list()],
            ),
        },
        "/v1/operations/{identity}": {
            "get": _route("Show a tracking", {200: _tracking("the tracking")}, _SHOWS, parameters=[identity, prefer]),
            "delete": _route(
                "Cancel a tracking that has not ended; nobody is told",
                {200: _tracking("the cancelled tracking")},
                _CHANGES,
                parameters=[identity],
            ),
        },
        "/v1/operations/{identity}/error": {
            "get": _route(
                "Show the whole error text, or the `reason` of the verdict, or nothing",
                {200: _content("`text/plain`", {"text/plain": _TEXT})},
                _SHOWS,
                parameters=[identity],
            )
        },
        "/v1/operations/{identity}/deliveries/{target}/retry": {
            "post": _route(
                "Retry a delivery now, unless it was delivered or skipped",
                {202: _tracking("the tracking")},
                _CHANGES,
                parameters=[identity, target],
            )
        },
        "/v1/groups/{group}": {
            "get": _route(
                "Show the operations of one deploy together",
                {200: _answer("the group", "GroupOut", line="<state> <id> <words>")},
                _SHOWS,
                parameters=[group, prefer],
            )
        },
        "/v1/scalingo/{secret}": {
            "post": _route(
                "Take an event of Scalingo's notifier: look at its deployment now, or begin to track it",
                {204: {"description": "taken, or about something else"}},
                (400, 404, 408, 413, 415, 422, 429, 503),
                parameters=[secret, *_of_event()],
                body={"application/json": {"description": "the event, as Scalingo sends it"}},
                is_open=True,
            )
        },
        "/healthz": {"get": _route("The web process is alive", {200: _answer("alive", "HealthOut")}, is_open=True)},
        "/readyz": {
            "get": _route(
                "Redis, a worker and the API tokens are in order",
                {200: _answer("ready", "HealthOut"), 503: _answer("not ready; `problems`", "HealthOut")},
                is_open=True,
            )
        },
        "/metrics": {
            "get": _route("Metrics for Prometheus", {200: _content("metrics", {"text/plain": _TEXT})}, (401, 503))
        },
        "/openapi.json": {
            "get": _route(
                "This API as OpenAPI 3.1",
                {200: _content("the document", {"application/json": {"type": "object"}})},
                is_open=True,
            )
        },
    }


def _route(
    summary: str,
    answers: dict[int, dict[str, Any]],
    problems: Sequence[int] = (),
    *,
    parameters: Sequence[dict[str, Any]] = (),
    body: dict[str, Any] | None = None,
    is_open: bool = False,
) -> dict[str, Any]:
    """Describe a route, which asks for a token unless it `is_open`. `body` has a schema for each type."""
    problem = {"line": "error <status> <detail>", "json": "application/problem+json"}
    refused = {status: _answer(_ERRORS[status], "ProblemOut", **problem) for status in problems}
    return {
        "summary": summary,
        **({"security": []} if is_open else {}),
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": {"required": True, "content": _schemas(body)}} if body else {}),
        "responses": {str(status): answer for status, answer in {**answers, **refused}.items()},
    }


def _webhook(summary: str, name: str, model: str) -> dict[str, Any]:
    schema = {"allOf": [_ref(model), {"properties": {"type": {"const": name}}}]}
    answers = {"2XX": {"description": "accepted"}, "410": {"description": "given up"}}
    body = {"required": True, "content": _schemas({"application/json": schema})}
    return {"post": {"summary": summary, "security": [], "requestBody": body, "responses": answers}}


def _parameter(name: str, where: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """Describe a parameter, which is required if it is in the path."""
    return {"name": name, "in": where, "required": where == "path", "schema": schema, "description": description}


def _of_list() -> Iterator[dict[str, Any]]:
    """Describe the filters of the list."""
    schema = ListQuery.model_json_schema()
    for name, field in schema["properties"].items():
        description = field.pop("description")
        one = field.get("anyOf", [field])[0]
        choices = schema["$defs"].get(one.get("$ref", "").rpartition("/")[2])
        yield _parameter(name, "query", {"enum": choices["enum"]} if choices else one, description)


def _of_event() -> list[dict[str, Any]]:
    """Describe the query of the route for events."""
    named = [_parameter(name, "query", _TEXT, "as in the form") for name in PARAMETERS]
    context = _parameter("context", "query", {"type": "object"}, "one `context.<name>` per name, as in the form")
    return [*named, {**context, "style": "form", "explode": True}]


def _ref(model: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model)}


def _schemas(by_type: dict[str, Any]) -> dict[str, Any]:
    return {content_type: {"schema": schema} for content_type, schema in by_type.items()}


def _content(description: str, by_type: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": _schemas(by_type)}


def _answer(description: str, model: str, *, line: str = "", json: str = "application/json") -> dict[str, Any]:
    """Describe an answer in JSON, or for those who prefer text in a `line`."""
    text = {"text/plain": {**_TEXT, "description": f"`{line}`, for `Accept: text/plain`"}} if line else {}
    return _content(description, {json: _ref(model), **text})


def _tracking(description: str, *, location: bool = False) -> dict[str, Any]:
    answer = _answer(description, "TrackingOut", line="<state> <id> <words>")
    if location:
        answer["headers"] = {"Location": {"schema": _TEXT, "description": "the tracking's path"}}
    return answer
