"""What the web server answers by itself: to requests that never reach the app. Problems, as the app's own are."""

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

_FAILED = "Opwatch failed; its log says how"


class LateError(Exception):
    """A request did not arrive whole in time."""


class BrokenOffError(Exception):
    """The client closed its side in the middle of a body."""


class CrowdedError(Exception):
    """So many requests are on their way that this one has to make room."""


_PROBLEMS = (
    # The app's own fault, although gunicorn counts these among the parser's.
    ((InvalidResponseHeader, InvalidResponseHeaderName), HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED),
    (LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long"),
    (LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long, or too many"),
    (ExpectationFailed, HTTPStatus.EXPECTATION_FAILED, "the only expectation that can be met is 100-continue"),
    (UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED, "of transfer codings only chunked is known"),
    (ParseException, HTTPStatus.BAD_REQUEST, "this is no well-formed HTTP request"),
    (BrokenOffError, HTTPStatus.BAD_REQUEST, "the body broke off before its end"),
    (LateError, HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive whole in time; send it again"),
    (CrowdedError, HTTPStatus.SERVICE_UNAVAILABLE, "too many requests are on their way at once; send it again"),
    (BaseException, HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED),
)


def refuse(client: Any, error: BaseException, request_id: str) -> HTTPStatus:
    """Send a problem, as api/problems.py does for what reaches the app, and tell its status; the client may be gone."""
    status, detail = next((status, detail) for kinds, status, detail in _PROBLEMS if isinstance(error, kinds))
    title = HTTP_STATUS_CODES[status.value]  # HTTPStatus words some differently on each Python
    problem = {"type": "about:blank", "title": title, "status": status.value, "detail": detail}
    body = json.dumps({**problem, "errors": [], "request_id": request_id}).encode() + b"\n"
    retry = "Retry-After: 1\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status.value} {title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        f"{REQUEST_ID_HEADER}: {request_id}\r\n{retry}\r\n"
    )
    with suppress(OSError):
        client.settimeout(0)  # it fits into the system's buffer, or nobody reads there
        client.send(head.encode() + body)
    return status
