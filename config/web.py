"""What the web server and the app both have to know."""

import json
import re
import secrets
import threading
from collections.abc import Sequence

from werkzeug.http import HTTP_STATUS_CODES

STOPPING = threading.Event()
"""Set in a web process that was told to stop: nobody waits on in it."""

MOST_ARRIVING = 1_000
"""Connections of one process that are idle, or in the middle of a request; each takes some 22 kB."""

MOST_WAITING = 4_000
"""Requests of one process that wait for an end (`Prefer: wait`)."""

MOST_CONNECTIONS = 6_000
"""All connections of one process; beyond it, new ones wait to be accepted."""

LARGEST_BODY_BYTES = 64 * 1024

PROBLEM_TYPE = "application/problem+json"
REQUEST_ID_HEADER = "X-Request-ID"
_SAFE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def request_id_of(given: str | None) -> str:
    """Take the request id of the caller or its router if it is safe in a log line as it is, else make one."""
    return given if given is not None and _SAFE_ID.fullmatch(given) else secrets.token_hex(8)


def problem_json(status: int, detail: str, request_id: str, errors: Sequence[tuple[str, str]] = ()) -> str:
    """Describe an error as RFC 9457 has it; `errors` are pairs of a field and what is wrong with it."""
    problem = {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES[status],  # HTTPStatus words some differently on each Python
        "status": status,
        "detail": detail,
        "errors": [{"field": field, "message": message} for field, message in errors],
        "request_id": request_id,
    }
    return json.dumps(problem, ensure_ascii=False) + "\n"
