"""The limits of `web`, for the web server and the app."""

import json
import re
import resource
import secrets
import threading
from collections.abc import Sequence

from werkzeug.http import HTTP_STATUS_CODES

STOPPING = threading.Event()
"""Set when the web process was told to stop: then no request waits any longer."""

OTHER_FILES = 100
"""Files of one process that are no client's connection: above all those to Redis."""

_, _FILES = resource.getrlimit(resource.RLIMIT_NOFILE)

MOST_CONNECTIONS = 6_000 if _FILES == resource.RLIM_INFINITY else max(0, min(6_000, _FILES - OTHER_FILES))
"""All connections of one process. Beyond that, new ones wait to be accepted."""

MOST_ARRIVING = MOST_CONNECTIONS // 6
"""Connections of one process that are idle or sending a request. Each takes about 22 kB."""

MOST_WAITING = MOST_CONNECTIONS * 2 // 3
"""Requests of one process that wait for an end (`Prefer: wait`)."""

FEWEST_CONNECTIONS = 20

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
