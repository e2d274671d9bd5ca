"""The lists that a glance asks for: an account's apps, or its newest events, with their status. Pure.

https://developers.scalingo.com/apps#list-apps and #application-status; https://developers.scalingo.com/events#list-the-user-events
"""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from operations.errors import TransientError
from operations.watching.glances import Source, Status
from scalingo.answers import Answer, Hide, failure, parse_json, word
from scalingo.api_kind import UUID_PATTERN
from scalingo.deployment import DEPLOYMENT

LARGEST_LIST = 2_000_000
"""Bytes of one page. An account with hundreds of apps needs about 1 kB for each."""

MOST_PAGES = {Source.APPS: 5, Source.EVENTS: 1}
"""The newest 30 events are on the first page."""

_BUSY = frozenset({"restarting", "scaling", "booting"})


class Page(NamedTuple):
    """One page of a list: what it shows by name and by id, and the number of the next page, if any."""

    shown: dict[str, Status]
    next_page: int | None


class Listed(NamedTuple):
    """All that a glance shows, by name and by id, and what it cost: requests, and bytes."""

    shown: dict[str, Status]
    requests: int
    size: int


def path(source: Source, page: int) -> str:
    """Return the path of a page."""
    return f"/v1/{source}" if page == 1 else f"/v1/{source}?page={page}"


def parse_page(source: Source, answer: Answer) -> Page:
    """Read a page of a list. Raises the matching OpwatchError unless it is one."""
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise failure(answer, app="", resource=source)
    if answer.status != HTTPStatus.OK:
        raise TransientError(f"the API answered {answer.status}")
    document = parse_json(answer.body)
    listed = document.get(source.value) if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise TransientError(f"the API answered 200 with a body that is not a list of {source}")
    shown = dict[str, Status]()
    for each in reversed(listed):  # the newest event of a deployment comes first, and counts
        if isinstance(each, dict):
            shown |= _READS[source](each, answer.hide)
    return Page(shown, _next_page(document))


def _of_app(app: dict[str, Any], hide: Hide) -> dict[str, Status]:
    status = word(app.get("status"), hide)
    if status is None:
        return {}
    shown = Status(status, busy=status in _BUSY)
    return {name: shown for name in (app.get("id"), app.get("name")) if isinstance(name, str)}


def _of_event(event: dict[str, Any], hide: Hide) -> dict[str, Status]:
    """Read the event of a deployment: it is made at its start, and seems to get its status at the end."""
    about = event.get("type_data")
    uuid = about.get("deployment_uuid") if event.get("type") == "deployment" and isinstance(about, dict) else None
    if not isinstance(about, dict) or not isinstance(uuid, str) or not re.fullmatch(UUID_PATTERN, uuid.lower()):
        return {}
    status = word(about.get("status"), hide) or "running"
    return {uuid.lower(): Status(status, busy=DEPLOYMENT.outcome(status) is None)}


_READS: Mapping[Source, Callable[[dict[str, Any], Hide], dict[str, Status]]] = {
    Source.APPS: _of_app,
    Source.EVENTS: _of_event,
}


def _next_page(document: dict[str, Any]) -> int | None:
    found: Any = document
    for name in ("meta", "pagination", "next_page"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 1 else None
