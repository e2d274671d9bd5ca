"""The list of an account's apps with their status: what a glance asks for. Pure.

https://developers.scalingo.com/apps#list-apps, and #application-status
"""

from http import HTTPStatus
from typing import Any, NamedTuple

from operations.errors import TransientError
from operations.watching.glances import App
from scalingo.answers import Answer, failure, parse_json, word

LARGEST_LIST = 2_000_000
"""Bytes of one page. An account with hundreds of apps needs about 1 kB for each."""

MOST_PAGES = 5
_BUSY = frozenset({"restarting", "scaling", "booting"})


class Page(NamedTuple):
    """One page of the list: the apps by name and by id, and the number of the next page, if any."""

    apps: dict[str, App]
    next_page: int | None


class Listed(NamedTuple):
    """All apps of an account, by name and by id, and what it cost: requests, and bytes."""

    apps: dict[str, App]
    requests: int
    size: int


def path(page: int) -> str:
    """Return the path of a page."""
    return "/v1/apps" if page == 1 else f"/v1/apps?page={page}"


def parse_apps(answer: Answer) -> Page:
    """Read a page of the list. Raises the matching OpwatchError unless it is one."""
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise failure(answer, app="", resource="apps")
    if answer.status != HTTPStatus.OK:
        raise TransientError(f"the API answered {answer.status}")
    document = parse_json(answer.body)
    listed = document.get("apps") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise TransientError("the API answered 200 with a body that is not a list of apps")
    apps = dict[str, App]()
    for each in listed:
        status = word(each.get("status"), answer.hide) if isinstance(each, dict) else None
        if status is not None:
            app = App(status, busy=status in _BUSY)
            apps |= {name: app for name in (each.get("id"), each.get("name")) if isinstance(name, str)}
    return Page(apps, _next_page(document))


def _next_page(document: dict[str, Any]) -> int | None:
    found: Any = document
    for name in ("meta", "pagination", "next_page"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 1 else None
