"""The web server's own answers, to requests that never reach the app: problems like the app's. Pure."""

from http import HTTPStatus

from gunicorn.http import errors

from config.web import PROBLEM_TYPE, REQUEST_ID_HEADER, problem_json


class LateError(Exception):
    """A request did not arrive completely in time."""


FAILED = HTTPStatus.INTERNAL_SERVER_ERROR
_FAULT = (FAILED, "Opwatch failed; see its log")
_PROBLEMS = {
    errors.InvalidResponseHeader: _FAULT,  # the app's fault, although gunicorn counts it as a parse error
    errors.LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long"),
    errors.LimitRequestHeaders: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long, or too many"),
    errors.ExpectationFailed: (HTTPStatus.EXPECTATION_FAILED, "the only supported expectation is 100-continue"),
    errors.UnsupportedTransferCoding: (HTTPStatus.NOT_IMPLEMENTED, "the only supported transfer coding is chunked"),
    errors.ParseException: (HTTPStatus.BAD_REQUEST, "this is not a well-formed HTTP request"),
    errors.NoMoreData: (HTTPStatus.BAD_REQUEST, "the request ended too early"),
    LateError: (HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive completely in time; send it again"),
    Exception: _FAULT,
}


def answer_to(error: Exception, request_id: str) -> tuple[HTTPStatus, bytes]:
    """Return a problem's status, and all bytes of the answer."""
    status, detail = next(problem for kind, problem in _PROBLEMS.items() if isinstance(error, kind))
    body = problem_json(status, detail, request_id).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
        f"Content-Type: {PROBLEM_TYPE}\r\nContent-Length: {len(body)}\r\n{REQUEST_ID_HEADER}: {request_id}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    return status, head.encode() + body
