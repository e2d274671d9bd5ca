"""Opwatch's web process: `gunicorn "app:create_app()"`, as the Procfile says.

One operation's way: here → api/trackings.py → operations/store.py → workers/poll.py → workers/deliver.py → notifiers/.
"""

import os
import time

import structlog
from flask import Flask, Response, g, request

from api import headers, health, problems, service, trackings
from config import logs, settings
from config.web import LARGEST_BODY_BYTES

log = structlog.get_logger()


def create_app() -> Flask:
    """Build the app from the environment; raises ConfigError with every fault of the settings."""
    loaded = settings.load(os.environ)
    logs.configure(loaded)
    app = Flask("opwatch", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=LARGEST_BODY_BYTES, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.url_map.merge_slashes = False  # a redirect to the "right" path would be an answer in HTML
    app.extensions[service.KEY] = service.build(loaded)
    app.register_blueprint(trackings.routes)
    app.register_blueprint(health.routes)
    problems.register(app)
    app.before_request(_began)
    app.after_request(_ended)
    return app


def _began() -> None:
    g.began_at_s = time.perf_counter()


def _ended(response: Response) -> Response:
    log.info(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        caller=g.get("caller"),
        took_ms=round((time.perf_counter() - g.began_at_s) * 1000, 2),
    )
    return headers.protect(request, response)
