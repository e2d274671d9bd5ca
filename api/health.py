"""The routes for monitoring: alive, ready, metrics, and the description of the API."""

from http import HTTPStatus

from flask import Blueprint, Response, request

from api import metrics, openapi
from api.auth import require_token
from api.responses import json_response
from api.service import Service, service
from operations.storage import RedisError
from operations.storage.health import explain

routes = Blueprint("health", __name__)


@routes.get("/healthz")
def alive() -> Response:
    """Answer 200 while the web process runs."""
    return json_response({"status": "ok", "problems": []})


@routes.get("/readyz")
def ready() -> Response:
    """Answer 200 if outcomes can be announced, else 503 with the problems."""
    problems = _problems(service())
    if problems:
        return json_response({"status": "unready", "problems": problems}, HTTPStatus.SERVICE_UNAVAILABLE)
    return json_response({"status": "ok", "problems": []})


@routes.get("/metrics")
def show_metrics() -> Response:
    """Return the metrics in the Prometheus text format."""
    require_token()
    body, content_type = metrics.render(service())
    return Response(body, content_type=content_type)


@routes.get("/openapi.json")
def describe() -> Response:
    """Describe the API."""
    return json_response(openapi.document())


def is_routine(response: Response) -> bool:
    """Tell whether a monitor got a 200. Such requests are frequent, so they are logged at DEBUG."""
    return request.blueprint == routes.name and response.status_code == HTTPStatus.OK


def _problems(parts: Service) -> list[str]:
    try:
        problems = [*parts.health.obstacles(), *parts.health.storage_faults(), *parts.health.memory_faults()]
        return [*problems, *parts.account_alerts.rejected(parts.settings.accounts).values()]
    except RedisError as error:
        return [explain(error)]
