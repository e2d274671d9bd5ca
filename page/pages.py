"""The pages behind the sign-in. Each works without JavaScript; the script only refreshes it."""

from http import HTTPStatus
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, g, request
from flask.sansio.blueprints import BlueprintSetupState

from api import actions
from api.auth import ONLY_READS, READING
from api.problems import ProblemError
from api.schemas import LONGEST_GROUP
from api.service import Service, service
from operations.model import WENT_WRONG, DeliveryState, State
from operations.storage import index
from operations.storage.failing import failing_targets
from operations.storage.index import BY_END, RECENT, WRONG
from operations.storage.listing import Page
from operations.telling import groups
from page import charts, errors, search, timeline, view
from page.finding import find
from page.groups import Fold, GroupCard
from page.html import file, html, is_refreshing, say, see_other, shown
from page.search import Search
from page.signing_in import came_from, require_own_form, require_session, small_forms_only
from page.view import Card, TargetRow

SHOWN_IN_FLIGHT = 50
SHOWN_RECENT = 25
SHOWN_WRONG = 5
SHOWN_IN_LIST = 50
SHOWN_MEMBERS = 100
MOST_ENDS = 10_000
"""From how many ends the page of apps is made."""

SLOW_REFRESH_S = 30
"""How often a page refreshes itself that looked through many operations."""

routes = Blueprint("page", __name__, template_folder="templates")
errors.register(routes)
routes.add_app_template_filter(view.clock, "clock")
routes.add_app_template_filter(view.stamp, "stamp")
files = Blueprint("page-files", __name__)


@routes.record_once
def _make_all_texts_safe(state: BlueprintSetupState) -> None:
    state.app.jinja_env.finalize = shown  # it gets everything that a template writes


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
    if refusal is None and request.method not in READING:
        refusal = require_own_form()
        if refusal is None and not g.session.may_change:
            return errors.failed(HTTPStatus.FORBIDDEN, ONLY_READS.format(caller=g.caller))
    return refusal


@routes.get("/")
def overview() -> Response:
    """Show failing deliveries, operations in flight, what went wrong and what ended; with a filter, a list."""
    wanted = search.parse(request.args.items(multi=True))
    parts = service()
    if wanted != Search():
        return _list(parts, wanted)
    now, fold = parts.records.now(), Fold(parts)
    in_flight = fold.cards(parts.listing.in_flight(SHOWN_IN_FLIGHT, fold.shows), now)
    recent = parts.listing.page(
        lambda tracking: tracking.state is not State.TRACKING and fold.shows(tracking),
        cursor=None, limit=SHOWN_RECENT, by=BY_END,
    )  # fmt: skip
    wrong = parts.listing.page(lambda tracking: tracking.state in WENT_WRONG, cursor=None, limit=SHOWN_WRONG, by=WRONG)
    problems = list(parts.account_alerts.rejected(parts.settings.accounts).values())
    if not parts.heartbeat.has_worker():
        problems.append("No worker runs, so nothing is announced: start one (scale worker to 1).")
    ended = fold.cards(recent.trackings, now)
    counts = {key: parts.overview.size(key) for key in (RECENT, WRONG, index.DUE, index.RETRYING, index.DEAD)}
    return html(
        "overview.html",
        title=view.title(counts[index.RETRYING] + counts[index.DEAD], counts[index.DUE]),
        problems=problems,
        failing=view.failing(failing_targets(parts.connection, parts.records), now),
        failing_counts={"dead": counts[index.DEAD], "retrying": counts[index.RETRYING]},
        in_flight=in_flight,
        in_flight_count=counts[index.DUE],
        wrong=[Card(each, now) for each in wrong.trackings],
        wrong_count=counts[WRONG],
        recent=ended,
        begin=None if counts[RECENT] else parts.settings.public_url or request.host_url.rstrip("/"),
        older={"state": search.ENDED, "cursor": recent.next_cursor} if recent.next_cursor else None,
        query=Search(),
        **_choices(parts, *in_flight, *ended),
    )


def _list(parts: Service, wanted: Search) -> Response:
    found = Page((), None) if wanted.faults else find(parts, wanted, SHOWN_IN_LIST)
    now = parts.records.now()
    cards = [(Card(each, now), view.tellings(each, wanted)) for each in found.trackings]
    return html(
        "list.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if wanted.faults else HTTPStatus.OK,
        title="Operations · Opwatch",
        query=wanted,
        here=f"/?{urlencode(wanted.filters)}",
        older={**wanted.filters, "cursor": found.next_cursor} if found.next_cursor else None,
        cards=cards,
        looked_through=found.looked_through if found.next_cursor and len(cards) < SHOWN_IN_LIST else 0,
        kept=parts.overview.size(RECENT),
        every_s=SLOW_REFRESH_S if found.looked_through >= 10 * SHOWN_IN_LIST else None,
        **_choices(parts, *(card for card, _ in cards)),
    )


def _choices(parts: Service, *listed: Card | GroupCard) -> dict[str, object]:
    return {
        "states": search.STATES,
        "targets": {name: name for name in sorted(parts.settings.targets)},
        "apps": sorted({card.app for card in listed if isinstance(card, Card)}),
    }


@routes.get("/operations/<identity>")
def operation(identity: str) -> Response:
    """Show one tracking with its timeline."""
    parts = service()
    tracking = actions.find(parts, identity, or_group=True).tracking
    card = Card(tracking, parts.records.now())
    return html(
        "operation.html", title=f"{card.app}: {card.what} {card.status} · Opwatch", card=card, tracking=tracking,
        events=timeline.events(tracking),
    )  # fmt: skip


@routes.get("/groups/<any_text:name>")
def group(name: str) -> Response:
    """Show one group with its verdict and its members, the worst first."""
    parts = service()
    members = parts.records.group(name) if len(name) <= LONGEST_GROUP else []
    if not members:
        raise ProblemError(HTTPStatus.NOT_FOUND, "No operation is tracked with this group.")
    now = parts.records.now()
    found = groups.summarize(name, members, now)
    card = GroupCard(found, now)
    return html(
        "group.html",
        title=f"{card.name}: {card.status} · Opwatch",
        here=f"/groups/{quote(name)}",
        card=card,
        group=found,
        in_own_group=True,
        members=[Card(each, now) for each in found.worst_first[:SHOWN_MEMBERS]],
        every_s=SLOW_REFRESH_S if len(members) > SHOWN_MEMBERS else None,
    )


@routes.get("/apps")
def apps() -> Response:
    """Show how often each app's operations went wrong, and how long they usually take."""
    parts = service()
    days = charts.days_until(parts.records.now(), parts.settings.retention_days)
    return html(
        "apps.html",
        title="Apps · Opwatch",
        rows=charts.app_rows(parts.listing.ends(MOST_ENDS), days),
        days=days,
        height=charts.HEIGHT,
        most=MOST_ENDS,
        ended=parts.overview.size(BY_END),
    )


@routes.get("/targets")
def targets() -> Response:
    """Show each target and whether deliveries to it work."""
    parts = service()
    counters, configured, now = parts.overview.counters(), parts.settings.targets, parts.records.now()
    known = {each.target: each for each in view.failing(failing_targets(parts.connection, parts.records), now)}
    rows = []
    for name in sorted({*configured, *known}):
        kind = configured[name].kind if name in configured else ""
        delivered = counters.get(f"deliveries:{name}:{DeliveryState.DELIVERED}", 0)
        rows.append(TargetRow(name, kind, delivered, known.get(name)))
    return html("targets.html", title="Targets · Opwatch", rows=rows)


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


@routes.post("/targets/<target>/test")
def send_test(target: str) -> Response:
    """Send a test message to a target, and show what becomes of it."""
    identity = actions.send_test(service(), target, g.caller)
    return say(see_other(f"/operations/{identity}"), f"A test message to {target} is sent now. Its result comes below.")
