"""The pages behind the sign-in. Each works without JavaScript; the script only refreshes it."""

from http import HTTPStatus
from urllib.parse import urlencode

from flask import Blueprint, Response, g, request

from api import actions
from api.service import Service, service
from operations.model import State
from operations.storage import index
from operations.storage.failing import FAILING, failing_ids, failing_targets
from operations.storage.index import BY_END, RECENT
from operations.storage.listing import Page
from page import errors, search, timeline, view
from page.html import file, html, is_refreshing, say, see_other, shown
from page.search import Search
from page.signing_in import came_from, require_own_form, require_session, small_forms_only

SHOWN_IN_FLIGHT = 50
SHOWN_RECENT = 25
SHOWN_IN_LIST = 50

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
    fine = response.status_code in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED)
    return request.blueprint == routes.name and is_refreshing() and fine


routes.before_request(small_forms_only)


@routes.before_request
def _only_signed_in() -> Response | None:
    refusal = require_session()
    return refusal if refusal is not None or request.method != "POST" else require_own_form()


@routes.get("/")
def overview() -> Response:
    """Show failing deliveries, operations in flight and ended ones; with a filter, a list."""
    wanted = search.parse(request.args.items(multi=True))
    parts = service()
    if wanted != Search():
        return _list(parts, wanted)
    records = parts.records
    now = records.now()
    recent = parts.listing.page(
        lambda tracking: tracking.state is not State.TRACKING, cursor=None, limit=SHOWN_RECENT, by=BY_END
    )
    problems = list(parts.account_alerts.rejected(parts.settings.accounts).values())
    if not parts.heartbeat.has_worker():
        problems.append("No worker runs, so nothing is announced: start one (scale worker to 1).")
    in_flight = [view.card(each, now) for each in parts.listing.in_flight(SHOWN_IN_FLIGHT)]
    ended = [view.card(each, now) for each in recent.trackings]
    counts = {key: parts.overview.size(key) for key in (index.DUE, index.RETRYING, index.DEAD)}
    return html(
        "overview.html",
        title=view.title(counts[index.RETRYING] + counts[index.DEAD], counts[index.DUE]),
        problems=problems,
        failing=list(view.failing(failing_targets(parts.connection, records), now)),
        failing_counts={"dead": counts[index.DEAD], "retrying": counts[index.RETRYING]},
        in_flight=in_flight,
        in_flight_count=counts[index.DUE],
        recent=ended,
        apps=sorted({card.app for card in (*in_flight, *ended)}),
        older={"state": search.ENDED, "cursor": recent.next_cursor} if recent.next_cursor else None,
        query=Search(),
        **_choices(parts),
    )


def _list(parts: Service, wanted: Search) -> Response:
    found = Page((), None) if wanted.faults else _found(parts, wanted)
    now = parts.records.now()
    cards = [(view.card(each, now), view.tellings(each, wanted)) for each in found.trackings]
    return html(
        "list.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if wanted.faults else HTTPStatus.OK,
        title="Operations · Opwatch",
        query=wanted,
        here=f"/?{urlencode(wanted.filters)}",
        older={**wanted.filters, "cursor": found.next_cursor} if found.next_cursor else None,
        cards=cards,
        apps=sorted({card.app for card, _ in cards}),
        **_choices(parts),
    )


def _found(parts: Service, wanted: Search) -> Page:
    """Read the trackings of one page. An index names the few that can match, so that none is out of reach."""
    among = None
    if wanted.states == (State.TRACKING,):
        among = parts.listing.ids(index.DUE)
    elif wanted.delivery in FAILING:
        among = failing_ids(parts.connection, wanted.target or None, wanted.delivery)
    elif wanted.group:
        among = parts.listing.ids(index.group_key(wanted.group))
    by = BY_END if wanted.states and State.TRACKING not in wanted.states else RECENT
    return parts.listing.page(wanted.matches, cursor=wanted.cursor or None, limit=SHOWN_IN_LIST, by=by, among=among)


def _choices(parts: Service) -> dict[str, object]:
    return {"states": search.STATES, "targets": {name: name for name in sorted(parts.settings.targets)}}


@routes.get("/operations/<identity>")
def operation(identity: str) -> Response:
    """Show one tracking with its timeline."""
    parts = service()
    tracking = actions.find(parts, identity, or_group=True).tracking
    card = view.card(tracking, parts.records.now())
    return html(
        "operation.html", title=f"{card.app}: {card.what} {card.status} · Opwatch", card=card, tracking=tracking,
        events=timeline.events(tracking),
    )  # fmt: skip


@routes.post("/operations/<identity>/stop")
def cancel(identity: str) -> Response:
    """Cancel a tracking."""
    actions.cancel(service(), identity, g.caller)
    return say(see_other(f"/operations/{identity}"), "Opwatch watches this operation no longer, and tells nobody.")


@routes.post("/operations/<identity>/deliveries/<target>/retry")
def retry(identity: str, target: str) -> Response:
    """Retry a delivery."""
    actions.retry(service(), identity, target, g.caller)
    return say(see_other(f"/operations/{identity}"), f"The delivery to {target} is retried now.")


@routes.post("/targets/<target>/retry")
def retry_all(target: str) -> Response:
    """Retry all failing deliveries to a target, and return to the page with the button."""
    retried, left = actions.retry_all(service(), target, g.caller)
    said = f"{view.counted(retried)} to {target} will be retried."
    if left:
        said += f" {left} cannot: alerts, warnings, deliveries of a former run, or being attempted just now."
    return say(see_other(came_from()), said)
