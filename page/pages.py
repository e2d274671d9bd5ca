"""The pages behind the sign-in. Each works without JavaScript; the script only refreshes it."""

from collections.abc import Sequence
from http import HTTPStatus

from flask import Blueprint, Response, request
from pydantic import ValidationError

from api import actions
from api.problems import from_validation
from api.schemas import ListQuery
from api.service import service
from operations.model import State, Tracking
from operations.storage import index
from operations.storage.failing import failing_targets
from operations.storage.listing import Listing
from operations.telling.view import matches
from page import errors, timeline, view
from page.html import file, html, see_other, shown
from page.signing_in import require_own_form, require_session, small_forms_only

SHOWN_IN_FLIGHT = 50
SHOWN_RECENT = 25
SHOWN_IN_LIST = 50
_SCANNED = 400

routes = Blueprint("page", __name__, template_folder="templates")
errors.register(routes)
routes.add_app_template_filter(view.clock, "clock")
routes.add_app_template_filter(shown)
files = Blueprint("page-files", __name__)


@files.get("/static/<version>/<name>")
def static(version: str, name: str) -> Response:
    """Return one of the page's own files; needs no session."""
    return file(version, name) or errors.failed(HTTPStatus.NOT_FOUND, "This file does not exist.")


def is_refresh(response: Response) -> bool:
    """Tell whether an open page refreshed itself, as it does every few seconds."""
    asked_by_script = request.headers.get("Sec-Fetch-Dest") == "empty"
    return (
        request.blueprint == routes.name
        and asked_by_script
        and response.status_code in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED)
    )


routes.before_request(small_forms_only)


@routes.before_request
def _only_signed_in() -> Response | None:
    refusal = require_session()
    return refusal if refusal is not None or request.method != "POST" else require_own_form()


@routes.get("/")
def overview() -> Response:
    """Show failing deliveries, operations in flight and ended ones; with a filter, a list."""
    if any(request.args.values()):
        return _list()
    parts = service()
    records = parts.records
    now = records.now()
    flying = parts.overview.size(index.DUE)
    recent = parts.listing.page(
        lambda tracking: not _is_in_flight(tracking),
        cursor=None,
        limit=SHOWN_RECENT,
        largest_scan=_SCANNED,
    )
    problems = list(parts.account_alerts.rejected(parts.settings.accounts).values())
    if not parts.heartbeat.has_worker():
        problems.append("No worker runs, so nothing is announced: start one (scale worker to 1).")
    return html(
        "overview.html",
        title=view.title(parts.overview.size(index.RETRYING) + parts.overview.size(index.DEAD), flying),
        problems=problems,
        failing=list(view.failing(failing_targets(parts.connection, records), now)),
        in_flight=[view.card(each, now) for each in _in_flight(parts.listing, flying)],
        in_flight_count=flying,
        recent=[view.card(each, now) for each in recent.trackings],
        more=recent.next_cursor,
    )


def _in_flight(listing: Listing, count: int) -> Sequence[Tracking]:
    """Choose the operations to show: all, or the newest if there are too many. Looks do not change that order."""
    if count > SHOWN_IN_FLIGHT:
        return listing.page(_is_in_flight, cursor=None, limit=SHOWN_IN_FLIGHT, largest_scan=_SCANNED).trackings
    found = (stored.tracking for stored in listing.first_in(index.DUE, SHOWN_IN_FLIGHT))
    return sorted(found, key=lambda tracking: tracking.created_at, reverse=True)


def _is_in_flight(tracking: Tracking) -> bool:
    return tracking.state is State.TRACKING


def _list() -> Response:
    try:
        query = ListQuery.model_validate({name: value for name, value in request.args.items() if value})
    except ValidationError as error:
        raise from_validation(error) from None
    wanted = query.model_dump(include={"app", "state", "delivery", "group"}, exclude_none=True)
    page = service().listing.page(
        lambda tracking: matches(
            tracking, app=query.app, state=query.state, delivery=query.delivery, group=query.group
        ),
        cursor=query.cursor,
        limit=SHOWN_IN_LIST,
    )
    now, older = service().records.now(), {**wanted, "cursor": page.next_cursor}
    return html(
        "list.html", title="Operations · Opwatch", query=query, older=older if page.next_cursor else None,
        cards=[view.card(each, now) for each in page.trackings],
    )  # fmt: skip


@routes.get("/operations/<identity>")
def operation(identity: str) -> Response:
    """Show one tracking with its timeline."""
    parts = service()
    tracking = actions.find(parts, identity).tracking
    card = view.card(tracking, parts.records.now())
    return html(
        "operation.html", title=f"{card.app}: {card.what} {card.status} · Opwatch", card=card, tracking=tracking,
        events=timeline.events(tracking),
    )  # fmt: skip


@routes.post("/operations/<identity>/stop")
def cancel(identity: str) -> Response:
    """Cancel a tracking."""
    actions.cancel(service(), identity)
    return see_other(f"/operations/{identity}")


@routes.post("/operations/<identity>/deliveries/<target>/retry")
def retry(identity: str, target: str) -> Response:
    """Retry a delivery."""
    actions.retry(service(), identity, target)
    return see_other(f"/operations/{identity}")
