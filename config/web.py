"""The limits of `web`, for the web server and the app."""

import json
import re
import secrets
import threading
from collections.abc import Sequence

from werkzeug.http import HTTP_STATUS_CODES

STOPPING = threading.Event()
"""Set when the web process was told to stop: then no request waits any longer."""

MOST_ARRIVING = 1_000
"""Connections of one process that are idle or sending a request. Each takes about 22 kB."""

MOST_WAITING = 4_000
"""Requests of one process that wait for an end (`Prefer: wait`)."""

MOST_CONNECTIONS = 6_000
"""All connections of one process. Beyond that, new ones wait to be accepted."""

LARGEST_BODY_BYTES = 64 * 1024

PROBLEM_TYPE = "application/problem+json"
REQUEST_ID_HEADER = "X-Request-ID"
_SAFE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def request_id_of(given: str | None) -> str:
    """Return the request id of the caller or its router if it is safe in a log line, else a new one."""
    return given if given is not None and _SAFE_ID.fullmatch(given) else secrets.token_hex(8)


def problem_json(status: int, detail: str, request_id: str, errors: Sequence[tuple[str, str]] = ()) -> str:
    """Describe an error as RFC 9457 has it; `errors` are pairs of a field and what is wrong with it."""
    problem = {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES[status],  # HTTPStatus has other phrases in other Python versions
        "status": status,
        "detail": detail,
        "errors": [{"field": field, "message": message} for field, message in errors],
        "request_id": request_id,
    }
    return json.dumps(problem, ensure_ascii=False) + "\n"
