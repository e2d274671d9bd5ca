"""Opwatch's web app, which gunicorn serves (`config/serve.py`).

The path of one operation: here → api/trackings.py → operations/intake.py → operations/storage/store.py →
workers/look.py → workers/deliver.py → notifiers/.
"""

import logging
import os
import time

import structlog
from flask import Flask, Response, g, request

from api import auth, events, groups, headers, health, problems, service, trackings
from config import logs, settings
from config.web import LARGEST_BODY_BYTES, REQUEST_ID_HEADER, request_id_of
from page import pages, signing_in

log = structlog.get_logger()


class App(Flask):
    """Flask with one log line per request, and one class of responses."""

    response_class = headers.Answer

    def full_dispatch_request(self) -> Response:
        """Answer a request, errors included, and log it."""
        began_at_s = time.perf_counter()
        g.request_id = request_id_of(request.headers.get(REQUEST_ID_HEADER))
        response = super().full_dispatch_request()
        response.headers[REQUEST_ID_HEADER] = g.request_id
        asked_again_soon = health.is_routine(response) or pages.is_refresh(response)
        log.log(
            logging.DEBUG if asked_again_soon else logging.INFO,
            "request",
            request_id=g.request_id,
            method=request.method,
            path=auth.without_events_secret(request.path),
            status=response.status_code,
            caller=g.get("caller"),
            tracking=g.get("tracking"),
            app=g.get("app"),
            bytes=response.content_length,
            took_ms=round((time.perf_counter() - began_at_s) * 1000, 2),
        )
        return response


def create_app() -> Flask:
    """Build the app from the environment. Raises ConfigError, which lists every wrong setting."""
    loaded = settings.load(os.environ)
    logs.configure(loaded)
    app = App("opwatch", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=LARGEST_BODY_BYTES, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.url_map.merge_slashes = False  # a redirect to the "right" path would be HTML
    app.extensions[service.KEY] = service.Service(loaded)
    app.url_map.converters["any_text"] = groups.AnyText
    app.before_request(auth.admit)
    app.teardown_request(auth.release)
    app.register_blueprint(trackings.routes)
    app.register_blueprint(groups.routes)
    app.register_blueprint(events.routes)
    app.register_blueprint(health.routes)
    for routes in (signing_in.routes, pages.routes, pages.files):
        app.register_blueprint(routes)
    problems.register(app)
    return app
