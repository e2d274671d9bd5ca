"""Answers: JSON, or of a tracking one line of text where the caller would rather have that."""

import json
from http import HTTPStatus
from typing import Any

from flask import Response, request

from api import one_line
from api.service import service
from operations.model import Tracking
from operations.telling import view
from operations.telling.groups import Group

JSON, TEXT = "application/json", "text/plain"
TEXT_TYPE = "text/plain; charset=utf-8"

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def answer(
    document: dict[str, Any], status: HTTPStatus = HTTPStatus.OK, *, headers: dict[str, str] | None = None
) -> Response:
    """Answer with JSON."""
    body = _JSON.encode(document) + "\n"
    return Response(body, status=status.value, headers=headers, content_type=JSON)


def of_tracking(
    tracking: Tracking, status: HTTPStatus = HTTPStatus.OK, *, headers: dict[str, str] | None = None
) -> Response:
    """Answer with a tracking, as JSON or as one line."""
    if not prefers_text():
        return answer(view.as_json(tracking), status, headers=headers)
    line = one_line.of(tracking, service().records.now())
    return Response(line, status=status.value, headers=headers, content_type=TEXT_TYPE)


def of_group(group: Group, *, headers: dict[str, str]) -> Response:
    """Answer with a group, as JSON or as one line."""
    if not prefers_text():
        return answer(view.group_as_json(group), headers=headers)
    return Response(one_line.of_group(group, service().records.now()), headers=headers, content_type=TEXT_TYPE)


def prefers_text() -> bool:
    """Whether the caller would rather have text than JSON, which is the answer to whoever does not say."""
    if "text/" not in request.headers.get("Accept", "").lower():
        return False
    return request.accept_mimetypes.best_match((JSON, TEXT), default=JSON) == TEXT
