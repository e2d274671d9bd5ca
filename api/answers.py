"""Answers that are no problems."""

import json
from http import HTTPStatus
from typing import Any

from flask import Response

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def answer(
    document: dict[str, Any], status: HTTPStatus = HTTPStatus.OK, *, headers: dict[str, str] | None = None
) -> Response:
    """Answer with JSON."""
    body = _JSON.encode(document) + "\n"
    return Response(body, status=status.value, headers=headers, content_type="application/json")
