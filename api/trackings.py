"""The routes under /v1/operations."""

import secrets
from datetime import datetime
from http import HTTPStatus

from flask import Blueprint, Response, g, request
from pydantic import ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from api import actions, addresses, bodies, responses, waiting
from api.auth import require_token
from api.problems import ProblemError, from_validation
from api.schemas import DEFAULT_TIMEOUT_S, ListQuery, TrackRequest, form_fields
from api.service import service
from config.settings import Settings
from config.values import DEFAULT_ACCOUNT
from notifiers import wording
from operations import intake
from operations.errors import TooManyInFlightError
from operations.model import State, Tracking
from operations.storage.records import RECORD_VERSION_OF_KIND, Stored
from operations.telling import announcement, view
from scalingo.address import Address

FULL_RETRY_AFTER_S = 10

routes = Blueprint("trackings", __name__, url_prefix="/v1")
routes.before_request(require_token)


@routes.post("/operations")
def track() -> Response:
    """Track an operation, or join its existing tracking."""
    wanted = _body()
    parts = service()
    settings = parts.settings
    where = addresses.address_of(wanted, settings)
    named = wanted.account or None  # an empty one is the default, each time
    now = parts.records.now()
    fresh = begun(wanted, where, settings, caller=g.caller, now=now)
    g.tracking = fresh.id
    try:
        accepted = intake.track(parts.store, fresh, account=named, rules=settings.rules, now=now, limit=parts.limit)
    except intake.TrackedOtherwiseError as error:
        raise ProblemError(HTTPStatus.CONFLICT, str(error)) from None
    except TooManyInFlightError as error:
        headers = {"Retry-After": str(FULL_RETRY_AFTER_S)}
        raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers=headers) from None
    g.app = accepted.tracking.app  # the log shows what was accepted, even if Redis is wiped
    (parts.looks_due if accepted.begun else parts.deliveries_due).ring()
    status = HTTPStatus.ACCEPTED if accepted.begun else HTTPStatus.OK
    headers = {"Location": f"/v1/operations/{accepted.tracking.id}"}
    return responses.tracking_response(accepted.tracking, status, headers=headers)


def begun(
    wanted: TrackRequest, where: Address, settings: Settings, *, caller: str, now: datetime, by_event: bool = False
) -> Tracking:
    """Make the tracking that a request begins. Its first look is due now."""
    app = where.app or ""
    return Tracking(
        id=where.tracking_id,
        kind=where.kind,
        app=app,
        app_id=where.app_id,
        addon_id=where.addon_id,
        by_addon=where.by_addon,
        operation_id=where.thing_id,
        region=where.region,
        account=wanted.account or DEFAULT_ACCOUNT,
        created_at=now,
        created_by=caller,
        timeout_s=wanted.timeout or DEFAULT_TIMEOUT_S,
        notify_all=wanted.notify is None,
        notify=tuple(dict.fromkeys(wanted.notify or ())),
        context=wanted.context or {},
        group=wanted.group,
        group_size=wanted.group_size,
        links=addresses.links(where, settings),
        place=addresses.place(where, wanted.account or DEFAULT_ACCOUNT, settings),
        next_look_at=now,
        claim=secrets.token_hex(8),
        caller_counted=True,
        by_event=by_event,
        v=RECORD_VERSION_OF_KIND[where.kind],
    )


@routes.get("/operations")
def list_trackings() -> Response:
    """List trackings, newest first."""
    try:
        query = ListQuery.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise from_validation(error) from None
    page = service().listing.page(
        lambda each: view.matches(each, app=query.app, state=query.state, delivery=query.delivery, group=query.group),
        cursor=query.cursor,
        limit=query.limit,
    )
    return responses.json_response(
        {"operations": [view.as_json(t) for t in page.trackings], "next_cursor": page.next_cursor}
    )


@routes.get("/operations/<identity>")
def show(identity: str) -> Response:
    """Show one tracking. With `Prefer: wait=N`, answer when it has ended, or after N seconds."""
    stored, headers = waiting.awaited(identity, lambda: actions.find(service(), identity), _goes_on)
    return responses.tracking_response(stored.tracking, headers=headers)


@routes.get("/operations/<identity>/error")
def show_error(identity: str) -> Response:
    """Return the whole error text, or the reason of the verdict; empty if there is neither."""
    tracking = actions.find(service(), identity).tracking
    ended = tracking.state not in (State.TRACKING, State.CANCELLED)
    text = wording.cause(announcement.announce(tracking)) if ended else ""
    return Response(f"{text}\n" if text else "", content_type=responses.TEXT_TYPE)


@routes.delete("/operations/<identity>")
def cancel(identity: str) -> Response:
    """Cancel a tracking; nobody is told."""
    return responses.tracking_response(actions.cancel(service(), identity, g.caller).tracking)


@routes.post("/operations/<identity>/deliveries/<target>/retry")
def retry(identity: str, target: str) -> Response:
    """Make a delivery due now."""
    return responses.tracking_response(
        actions.retry(service(), identity, target, g.caller).tracking, HTTPStatus.ACCEPTED
    )


def _body() -> TrackRequest:
    try:
        if request.mimetype == "application/json":
            body = bodies.read()
            wanted = TrackRequest.model_validate_json(body, strict=True)
            bodies.names_once(body)
            return wanted
        if request.mimetype == "application/x-www-form-urlencoded":
            return TrackRequest.model_validate(form_fields(bodies.form(bodies.read())))
    except ValidationError as error:
        raise from_validation(error) from None
    raise UnsupportedMediaType("send JSON (Content-Type: application/json) or an HTML form")


def _goes_on(stored: Stored) -> bool:
    return stored.tracking.state is State.TRACKING
