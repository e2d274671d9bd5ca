"""The faults of Scalingo's API.

A fault replaces only the answer. So a request that is reset, delayed or answered with a 500 still has its effect, as in
reality.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from standin.replies import Reply

Fault = Callable[[Reply], Reply]
JSON = {"Content-Type": "application/json; charset=utf-8"}


def json_reply(status: int, content: object, **headers: str) -> Reply:
    """Return an answer in JSON, as compact as Scalingo's."""
    return Reply(status, json.dumps(content, separators=(",", ":")), JSON | headers)


def too_many_requests(retry_after_s: int | None = None) -> Reply:
    """Return the answer above the rate limit: plain text, rarely with a Retry-After."""
    return Reply(429, "Retry later", {} if retry_after_s is None else {"Retry-After": str(retry_after_s)})


INVALID_CREDENTIALS = json_reply(401, {"error": "Invalid credentials"})
DATABASE_UNAUTHORIZED = json_reply(400, {"error": "unauthorized"})
"""The database API's word for a bad token."""


def not_found(resource: str) -> Reply:
    """Return the 404 of an unknown operation, deployment, …."""
    return json_reply(404, {"resource": resource, "error": "not found"})


def route_not_found(path: str) -> Reply:
    """Return the 404 of an unknown route, which has other fields than that of an unknown operation."""
    return json_reply(404, {"message": "not found", "url": path})


def answer(status: int = 200, body: str = "", content_type: str = "text/plain; charset=utf-8") -> Fault:
    """Give any other answer."""
    return _instead(Reply(status, body, {"Content-Type": content_type}))


def internal_error() -> Fault:
    """500 in Scalingo's words."""
    return _instead(json_reply(500, {"error": "Internal error occured, we're on it!"}))


def forbidden(error: str = "you are not allowed to do that", code: str = "forbidden") -> Fault:
    """403 with an error and a code."""
    return _instead(json_reply(403, {"error": error, "code": code}))


def payment_required() -> Fault:
    """402 with an error and where to pay."""
    return _instead(
        json_reply(402, {"error": "payment method required", "url": "https://dashboard.scalingo.com/billing"})
    )


def unauthorized() -> Fault:
    """401, as for a bearer that has expired."""
    return _instead(INVALID_CREDENTIALS)


def rate_limited(retry_after_s: int | None = None) -> Fault:
    """429, although the limit is not reached."""
    return _instead(too_many_requests(retry_after_s))


def operation_not_found() -> Fault:
    """404, as for an operation that does not exist."""
    return _instead(not_found("operation"))


def unknown_route(path: str = "/v1/unknown") -> Fault:
    """404, as for a path that the API does not have."""
    return _instead(route_not_found(path))


def html() -> Fault:
    """200 with a page, as from a proxy during maintenance."""
    page = "<!DOCTYPE html><html><body>We are down for maintenance.</body></html>"
    return _instead(Reply(200, page, {"Content-Type": "text/html; charset=utf-8"}))


def not_json() -> Fault:
    """200 with JSON that is cut off."""
    return _instead(Reply(200, '{"operation":{"id":"54', JSON))


def wrong_shape(content: object = None) -> Fault:
    """200 with JSON that is not an operation, by default `[]`."""
    return _instead(json_reply(200, [] if content is None else content))


def reset() -> Fault:
    """Break the connection (RST) before the answer."""
    return lambda reply: replace(reply, reset="before")


def hang(seconds: float) -> Fault:
    """Do nothing for so long, then close the connection without an answer."""
    return lambda reply: replace(reply, hang_s=seconds)


def slow(seconds: float) -> Fault:
    """Give the right answer, as of now, after a delay."""
    return lambda reply: replace(reply, delay_s=reply.delay_s + seconds)


def drip(seconds: float) -> Fault:
    """Give the right answer byte by byte, with a delay after each."""
    return lambda reply: replace(reply, drip_s=seconds)


@dataclass(eq=False)
class Waiting:
    """A fault that waits for the next `times` requests (None: for all) that match all given fields."""

    fault: Fault
    times: int | None
    exchange: bool
    app: str | None
    operation_id: str | None

    def fits(self, *, exchange: bool, app: str | None, operation_id: str | None) -> bool:
        """Tell whether a request matches."""
        return (exchange or not self.exchange) and self.app in (None, app) and self.operation_id in (None, operation_id)


def _instead(reply: Reply) -> Fault:
    return lambda _: reply
