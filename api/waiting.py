"""`Prefer: wait=N`: answers a request when its operation or group has ended, or after N seconds."""

import time
from collections.abc import Callable
from typing import TypeVar

from flask import g, request

from api.service import service
from config.web import STOPPING

LONGEST_WAIT_S = 25

T = TypeVar("T")


def awaited(
    name: str, read: Callable[[], T], goes_on: Callable[[T], bool], due_in_s: Callable[[T], float] | None = None
) -> tuple[T, dict[str, str]]:
    """Read once or, if the caller prefers to wait, until `goes_on` is false. Returns what was read, and headers.

    `name` is its name in `Ends`. `due_in_s` says in how many seconds it may end without a message. If too many requests
    wait, the answer comes at once, with Retry-After.
    """
    wait_s = _preferred_wait_s()
    if wait_s is None:
        return read(), {}
    parts = service()
    with parts.ends.awaited(name) as ended:
        there = read()
        if not goes_on(there):
            return there, {}
        if not parts.wait_slots.acquire(g.caller):
            return there, {"Retry-After": "2"}
        try:
            until_s = time.monotonic() + wait_s
            while goes_on(there) and not STOPPING.is_set() and (left_s := until_s - time.monotonic()) > 0:
                due_s = left_s if due_in_s is None else due_in_s(there)
                with parts.queue.stepped_aside(g.caller):
                    ended.wait(min(left_s, due_s))
                ended.clear()
                there = read()
        finally:
            parts.wait_slots.release(g.caller)
    return there, {"Preference-Applied": f"wait={wait_s}"}


def _preferred_wait_s() -> int | None:
    """Read `Prefer: wait=N` (RFC 7240). Unreadable preferences are ignored, as the RFC says."""
    for preference in request.headers.get("Prefer", "").split(","):
        name, _, value = preference.partition(";")[0].strip().partition("=")
        seconds = value.strip().strip('"')  # a token or a quoted string
        if name.strip().lower() == "wait" and seconds.isascii() and seconds.isdigit():
            return min(int(seconds[:6]), LONGEST_WAIT_S)
    return None
