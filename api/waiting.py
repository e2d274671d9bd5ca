"""`Prefer: wait=N`: a request that is answered when what it asks for is over, or N seconds have passed."""

import time
from collections.abc import Callable
from typing import TypeVar

from flask import g, request

from api.service import service
from config.web import STOPPING

LONGEST_WAIT_S = 25
STEP_S = 0.25

T = TypeVar("T")


def awaited(read: Callable[[], T], goes_on: Callable[[T], bool], step_s: float = STEP_S) -> tuple[T, dict[str, str]]:
    """Read once or, where the caller prefers to wait, every `step_s` while it goes on; with the headers that say so.

    Where too many wait already, the caller is told at once to come again.
    """
    there = read()
    wait_s = _preferred_wait_s()
    if wait_s is None or not goes_on(there):
        return there, {}
    room = service().waiting_room
    if not room.take(g.caller):
        return there, {"Retry-After": "2"}
    try:
        until_s = time.monotonic() + wait_s
        while goes_on(there) and not STOPPING.is_set() and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(step_s, left_s))
            there = read()
    finally:
        room.give_back(g.caller)
    return there, {"Preference-Applied": f"wait={wait_s}"}


def _preferred_wait_s() -> int | None:
    """Read `Prefer: wait=N` (RFC 7240); what cannot be read is passed over, as the RFC says."""
    for preference in request.headers.get("Prefer", "").split(","):
        name, _, value = preference.partition(";")[0].strip().partition("=")
        if name.strip().lower() == "wait" and value.strip().isascii() and value.strip().isdigit():
            return min(int(value.strip()[:6]), LONGEST_WAIT_S)
    return None
