"""Responses as JSON; trackings and groups also as one line of text, if the caller prefers that."""

import json
from http import HTTPStatus
from typing import Any

from flask import Response, request

from api import plain_text
from api.service import service
from operations.model import Tracking
from operations.telling import view
from operations.telling.groups import Group

JSON, TEXT = "application/json", "text/plain"
TEXT_TYPE = "text/plain; charset=utf-8"

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_response(
    document: dict[str, Any], status: HTTPStatus = HTTPStatus.OK, *, headers: dict[str, str] | None = None
) -> Response:
    """Answer with JSON."""
    body = _JSON.encode(document) + "\n"
    return Response(body, status=status.value, headers=headers, content_type=JSON)


def tracking_response(
    tracking: Tracking, status: HTTPStatus = HTTPStatus.OK, *, headers: dict[str, str] | None = None
) -> Response:
    """Answer with a tracking, as JSON or as one line."""
    if not prefers_text():
        return json_response(view.as_json(tracking), status, headers=headers)
    line = plain_text.tracking_line(tracking, service().records.now())
    return Response(line, status=status.value, headers=headers, content_type=TEXT_TYPE)


def group_response(group: Group, *, headers: dict[str, str]) -> Response:
    """Answer with a group, as JSON or as one line."""
    if not prefers_text():
        return json_response(view.group_as_json(group), headers=headers)
    return Response(plain_text.group_line(group, service().records.now()), headers=headers, content_type=TEXT_TYPE)


def prefers_text() -> bool:
    """Tell whether the caller prefers text to JSON. The default is JSON."""
    if "text/" not in request.headers.get("Accept", "").lower():
        return False
    return request.accept_mimetypes.best_match((JSON, TEXT), default=JSON) == TEXT
