"""HTTP requests that control the stand-in Scalingo API when it runs as a process.

All bodies are JSON. The fields are the arguments of the matching method of `ScalingoApi`. A 422 says what is wrong.

| request                                | body                                                                 |
|----------------------------------------|----------------------------------------------------------------------|
| POST /_standin/operations              | `{app, id?, type?, pending_s?, duration_s?, outcome?, error?, …}`    |
| POST /_standin/operations/<id>/finish  | `{outcome?, error?}`                                                 |
| POST /_standin/faults                  | `{kind, times?, exchange?, app?, operation_id?}` + the kind's fields |
| DELETE /_standin/faults                |                                                                      |
| POST /_standin/expire-bearers          |                                                                      |
| POST /_standin/settings                | `{limit?, retry_after_s?, bearer_lifetime_s?, latency_s?, …}`        |
| GET, DELETE /_standin/requests         |                                                                      |
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import ValidationError, validate_call

from standin.faults import FAULTS, json_reply, route_not_found
from standin.replies import Reply, send

if TYPE_CHECKING:
    from standin.api import ScalingoApi

PREFIX = "/_standin/"
WHICH_REQUESTS = ("times", "exchange", "app", "operation_id")


class RefusedError(Exception):
    """The request cannot be carried out; the text says why."""


async def handle(api: "ScalingoApi", request: web.BaseRequest) -> web.StreamResponse:
    """Carry out one control request. It does not count towards the limit, and is not logged."""
    try:
        reply = _carry_out(api, request.method, request.path.removeprefix(PREFIX).split("/"), await _body(request))
    except ValidationError as error:
        reply = json_reply(422, {"errors": error.errors(include_url=False, include_context=False, include_input=False)})
    except (RefusedError, ValueError) as error:
        reply = json_reply(422, {"error": str(error)})
    return await send(request, reply or route_not_found(request.path))


async def _body(request: web.BaseRequest) -> dict[str, Any]:
    body = await request.json() if request.can_read_body else {}
    if not isinstance(body, dict):
        message = "the body must be a JSON object"
        raise RefusedError(message)
    return body


def _carry_out(api: "ScalingoApi", method: str, path: list[str], body: dict[str, Any]) -> Reply | None:
    match method, path:
        case "POST", ["operations"]:
            begun = validate_call(api.operation)(**body)
            return json_reply(201, {"id": begun.id, "operation_url": begun.url})
        case "POST", ["operations", operation_id, "finish"]:
            _finish(api, operation_id, body)
        case "POST", ["faults"]:
            _add_fault(api, body)
        case "DELETE", ["faults"]:
            api.clear_faults()
        case "POST", ["expire-bearers"]:
            api.expire_bearers()
        case "POST", ["settings"]:
            validate_call(api.configure)(**body)
        case "GET", ["requests"]:
            return json_reply(
                200, {"requests": [asdict(seen) for seen in api.requests], "rate_limited": api.rate_limited}
            )
        case "DELETE", ["requests"]:
            api.clear_requests()
        case _:
            return None
    return json_reply(200, {})


def _finish(api: "ScalingoApi", operation_id: str, body: dict[str, Any]) -> None:
    try:
        validate_call(api.finish)(operation_id, **body)
    except KeyError:
        message = f"no operation {operation_id}"
        raise RefusedError(message) from None


def _add_fault(api: "ScalingoApi", body: dict[str, Any]) -> None:
    kind = body.pop("kind", None)
    if kind not in FAULTS:
        message = f"kind must be one of {', '.join(FAULTS)}"
        raise RefusedError(message)
    which = {name: body.pop(name) for name in WHICH_REQUESTS if name in body}
    validate_call(api.fault)(validate_call(FAULTS[kind])(**body), **which)
