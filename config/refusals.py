"""The web server's own answers, to requests that never reach the app: problems like the app's."""

import json
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from werkzeug.http import HTTP_STATUS_CODES

from config.web import REQUEST_ID_HEADER

_FAILED = "Opwatch failed; see its log"


class LateError(Exception):
    """A request did not arrive completely in time."""


class BrokenOffError(Exception):
    """The client closed the connection in the middle of a body."""


class CrowdedError(Exception):
    """Too many requests are arriving, so this one is refused."""


_PROBLEMS = (
    # The app's fault, although gunicorn counts these as parse errors.
    ((InvalidResponseHeader, InvalidResponseHeaderName), HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED),
    (LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long"),
    (LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long, or too many"),
    (ExpectationFailed, HTTPStatus.EXPECTATION_FAILED, "the only supported expectation is 100-continue"),
    (UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED, "the only supported transfer coding is chunked"),
    (ParseException, HTTPStatus.BAD_REQUEST, "this is not a well-formed HTTP request"),
    (BrokenOffError, HTTPStatus.BAD_REQUEST, "the body ended too early"),
    (LateError, HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive completely in time; send it again"),
    (CrowdedError, HTTPStatus.SERVICE_UNAVAILABLE, "too many requests are arriving; send it again"),
    (BaseException, HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED),
)


def refuse(client: Any, error: BaseException, request_id: str) -> HTTPStatus:
    """Send a problem, as api/problems.py does in the app. Returns its status. The client may be gone."""
    status, detail = next((status, detail) for kinds, status, detail in _PROBLEMS if isinstance(error, kinds))
    title = HTTP_STATUS_CODES[status.value]  # HTTPStatus has other phrases in other Python versions
    problem = {"type": "about:blank", "title": title, "status": status.value, "detail": detail}
    body = json.dumps({**problem, "errors": [], "request_id": request_id}).encode() + b"\n"
    retry = "Retry-After: 1\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status.value} {title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        f"{REQUEST_ID_HEADER}: {request_id}\r\n{retry}\r\n"
    )
    with suppress(OSError):
        client.settimeout(0)  # it fits into the system's buffer, unless the client does not read
        client.send(head.encode() + body)
    return status
