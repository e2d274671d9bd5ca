"""Errors as HTML pages: what happened, and what to do."""

from http import HTTPStatus

import structlog
from flask import Blueprint, Response
from werkzeug.exceptions import HTTPException

from api.problems import RETRY_AFTER_S, ProblemError
from operations.errors import NewerRecordError
from operations.storage import RedisError
from operations.storage.health import explain
from page.html import html

log = structlog.get_logger()


def register(pages: Blueprint) -> None:
    """Answer every error on these pages with a page."""
    pages.register_error_handler(ProblemError, lambda error: failed(error.status, error.detail))
    pages.register_error_handler(HTTPException, _http)
    pages.register_error_handler(RedisError, _redis_away)
    pages.register_error_handler(NewerRecordError, lambda error: _later(f"{error}. Load the page again."))
    pages.register_error_handler(Exception, _unexpected)


def failed(status: HTTPStatus, detail: str) -> Response:
    """Return an error page."""
    return html("error.html", status, title=f"{status.phrase} · Opwatch", heading=status.phrase, detail=detail)


def _http(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    return failed(status, error.description or status.phrase)


def _later(detail: str) -> Response:
    answer = failed(HTTPStatus.SERVICE_UNAVAILABLE, detail)
    answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def _redis_away(error: RedisError) -> Response:
    what = explain(error)
    log.error("Redis fails", error=what)
    return _later(f"{what}. So nothing can be shown. Nothing is lost. Load the page again.")


def _unexpected(error: Exception) -> Response:
    log.error("a page failed unexpectedly", exc_info=error)
    return failed(HTTPStatus.INTERNAL_SERVER_ERROR, "Opwatch failed; see its log.")
