"""Errors as problem+json (RFC 9457): what happened, and what to do."""

from collections.abc import Sequence
from http import HTTPStatus

import structlog
from flask import Flask, Response, g
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from api import plain_text, responses
from config.web import PROBLEM_TYPE, problem_json
from operations.errors import NewerRecordError
from operations.storage import RedisError
from operations.storage.health import explain

log = structlog.get_logger()

RETRY_AFTER_S = 5
MOST_ERRORS = 20
LONGEST_FIELD = 80


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    @classmethod
    def invalid(cls, *errors: tuple[str, str]) -> "ProblemError":
        """Make a problem (422) of wrong fields, each as (field, message). Long names are cut: callers choose them."""
        shown = [
            (field if len(field) <= LONGEST_FIELD else f"{field[: LONGEST_FIELD - 1]}…", message)
            for field, message in errors[:MOST_ERRORS]
        ]
        parts = [f"{field}: {message}" if field else message for field, message in shown]
        if len(errors) > MOST_ERRORS:
            parts.append(f"and {len(errors) - MOST_ERRORS} more")
        return cls(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(parts), errors=shown)


def from_validation(error: ValidationError) -> ProblemError:
    """Turn pydantic's errors into a problem: 400 if the body is not JSON, else 422. No input is repeated."""
    found = [
        (".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, "), each["type"])
        for each in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    if any(kind == "json_invalid" for _, _, kind in found):
        return ProblemError(HTTPStatus.BAD_REQUEST, "the body is not JSON: " + found[0][1])
    return ProblemError.invalid(*((field, message) for field, message, _ in found))


def register(app: Flask) -> None:
    """Answer every error of this app with a problem."""
    app.register_error_handler(ProblemError, _problem)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(RedisError, _redis_away)
    # Two versions overlap during a deploy, and soon the newer one answers alone.
    app.register_error_handler(NewerRecordError, lambda error: _later(f"{error}; send it again"))
    app.register_error_handler(Exception, _unexpected)


def _problem(problem: ProblemError) -> Response:
    if responses.prefers_text():
        line = plain_text.problem_line(problem.status, problem.detail)
        return Response(line, status=problem.status.value, headers=problem.headers, content_type=responses.TEXT_TYPE)
    body = problem_json(problem.status.value, problem.detail, g.request_id, problem.errors)
    return Response(body, status=problem.status.value, headers=problem.headers, content_type=PROBLEM_TYPE)


def _http(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    details = {
        HTTPStatus.NOT_FOUND: "there is nothing here; the API is described in /openapi.json",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "a body may have at most 64 kB",
    }
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return _problem(ProblemError(status, details.get(status, error.description or status.phrase), headers=headers))


def _redis_away(error: RedisError) -> Response:
    what = explain(error)
    log.error("Redis fails", error=what)
    return _later(f"{what}; send the request again: if it was carried out already, nothing is done twice")


def _later(detail: str) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return _problem(ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers))


def _unexpected(error: Exception) -> Response:
    log.error("a request failed unexpectedly", exc_info=error)
    return _problem(ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "Opwatch failed; see its log"))
