"""The route for events of Scalingo's notifier, which tell of deployments that no script started.

Events are not signed. So nothing in one is believed but which deployment to ask the API about.
https://developers.scalingo.com/notifiers and https://doc.scalingo.com/platform/app/notification
"""

import json
import re
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request
from pydantic import ValidationError

from api import addresses, auth, bodies, trackings
from api.problems import ProblemError, from_validation
from api.schemas import TrackRequest, form_fields
from api.service import Service, service
from operations import intake
from operations.errors import TooManyInFlightError
from operations.model import State
from operations.storage.index import Limit
from operations.watching import looks
from scalingo.api_kind import APP_PATTERN, UUID_PATTERN

PARAMETERS = ("notify", "group", "account", "region")

routes = Blueprint("events", __name__)


@routes.post(f"{auth.EVENTS_PREFIX}<any_text:secret>")
def receive(secret: str) -> Response:
    """Take an event: look at its deployment now, and begin to track it if nobody has."""
    parts = service()
    if not auth.has_events_secret(auth.EVENTS_PREFIX + secret, parts.settings):
        raise ProblemError(HTTPStatus.NOT_FOUND, "no such page")
    deployment = _deployment(bodies.read())
    if deployment is not None:
        _hurry_or_begin(parts, _wanted(*deployment))
    return Response(status=HTTPStatus.NO_CONTENT.value)


def _deployment(body: bytes) -> tuple[str, str] | None:
    """Return the app and the deployment of an event; None if it is about something else. Raises ProblemError (400)."""
    try:
        event: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
    data = event.get("type_data") if isinstance(event, dict) else None
    app, uuid = (event.get("app_name"), data.get("deployment_uuid")) if isinstance(data, dict) else (None, None)
    if not isinstance(app, str) or not isinstance(uuid, str):
        return None
    named = re.fullmatch(APP_PATTERN, app), re.fullmatch(UUID_PATTERN, uuid.lower())
    return (app, uuid.lower()) if all(named) else None


def _wanted(app: str, uuid: str) -> TrackRequest:
    """Make the request that the event stands for; the query parameters are fields of a form. Raises ProblemError."""
    given = {name: text for name, text in request.args.items() if name in PARAMETERS or name.startswith("context.")}
    try:
        return TrackRequest.model_validate({**form_fields(given), "app": app, "deployment_id": uuid})
    except ValidationError as error:
        raise from_validation(error) from None


def _hurry_or_begin(parts: Service, wanted: TrackRequest) -> None:
    where = addresses.address_of(wanted, parts.settings)
    now = parts.records.now()
    known = parts.records.get(where.tracking_id)
    if known is not None and known.tracking.state not in (State.LOST, State.TIMED_OUT):
        if parts.hints.spend(known.tracking.account, 1).tokens and parts.store.update(
            known, lambda tracking: looks.hurried(tracking, now)
        ):
            parts.looks_due.ring()
        return
    fresh = trackings.begun(wanted, where, parts.settings, caller=auth.EVENTS_CALLER, now=now, by_event=True)
    limit = Limit(0, share=max(1, parts.limit.in_flight // 10))
    try:
        intake.track(parts.store, fresh, account=None, rules=parts.settings.rules, now=now, limit=limit)
    except TooManyInFlightError:
        headers = {"Retry-After": str(trackings.FULL_RETRY_AFTER_S)}
        detail = "too many deployments that events have begun are in flight"
        raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, detail, headers=headers) from None
    parts.looks_due.ring()
