"""The limits of `web`, for the web server and the app."""

import re
import secrets
import threading

STOPPING = threading.Event()
"""Set when the web process was told to stop: then no request waits any longer."""

MOST_ARRIVING = 1_000
"""Connections of one process that are idle or sending a request. Each takes about 22 kB."""

MOST_WAITING = 4_000
"""Requests of one process that wait for an end (`Prefer: wait`)."""

MOST_CONNECTIONS = 6_000
"""All connections of one process. Beyond that, new ones wait to be accepted."""

LARGEST_BODY_BYTES = 64 * 1024

REQUEST_ID_HEADER = "X-Request-ID"
_SAFE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def request_id_of(given: str | None) -> str:
    """Return the request id of the caller or its router if it is safe in a log line, else a new one."""
    return given if given is not None and _SAFE_ID.fullmatch(given) else secrets.token_hex(8)
