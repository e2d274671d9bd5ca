"""What the web server answers by itself: to requests that never reach the app. Problems, as the app's own are."""

import json
from http import HTTPStatus

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

from config.request_ids import HEADER

_STATUSES = (
    ((InvalidResponseHeader, InvalidResponseHeaderName), HTTPStatus.INTERNAL_SERVER_ERROR),  # the app's own fault
    (LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG),
    (LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (ExpectationFailed, HTTPStatus.EXPECTATION_FAILED),
    (UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED),
    (ParseException, HTTPStatus.BAD_REQUEST),
)
_DETAILS = {
    HTTPStatus.BAD_REQUEST: "this is no well-formed HTTP request",
    HTTPStatus.REQUEST_TIMEOUT: "the request did not arrive whole in time; send it again",
    HTTPStatus.REQUEST_URI_TOO_LONG: "the request line is too long",
    HTTPStatus.EXPECTATION_FAILED: "the only expectation that can be met is 100-continue",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "the headers are too long, or too many",
    HTTPStatus.NOT_IMPLEMENTED: "of transfer codings only chunked is known",
    HTTPStatus.SERVICE_UNAVAILABLE: "too many requests are on their way at once; send it again",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Opwatch failed; its log says how",
}


def status_of(error: BaseException) -> HTTPStatus:
    """Choose the status for what gunicorn's parser, or anything behind it, has raised."""
    found = (status for kind, status in _STATUSES if isinstance(error, kind))
    return next(found, HTTPStatus.INTERNAL_SERVER_ERROR)


def refusal(status: HTTPStatus, request_id: str) -> bytes:
    """Write a whole answer, as api/problems.py does for what reaches the app."""
    title = HTTP_STATUS_CODES[status.value]  # HTTPStatus words some differently on each Python
    problem = {"type": "about:blank", "title": title, "status": status.value, "detail": _DETAILS[status]}
    body = json.dumps({**problem, "errors": [], "request_id": request_id}).encode() + b"\n"
    retry = "Retry-After: 1\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status.value} {title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        f"{HEADER}: {request_id}\r\n{retry}\r\n"
    )
    return head.encode() + body
