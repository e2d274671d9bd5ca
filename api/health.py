"""The routes for monitors: alive, ready, metrics, and the description of the API."""

from http import HTTPStatus

from flask import Blueprint, Response, request

from api import metrics, openapi
from api.answers import answer
from api.auth import require_token
from api.service import Service, service
from config.redis import storage_faults
from operations.storage import RedisError

routes = Blueprint("health", __name__)


@routes.get("/healthz")
def alive() -> Response:
    """Answer as long as the web process can."""
    return answer({"status": "ok", "problems": []})


@routes.get("/readyz")
def ready() -> Response:
    """Say whether everything is there that announcing an outcome needs; 503 says what is not."""
    problems = _problems(service())
    if problems:
        return answer({"status": "unready", "problems": problems}, HTTPStatus.SERVICE_UNAVAILABLE)
    return answer({"status": "ok", "problems": []})


@routes.get("/metrics")
def show_metrics() -> Response:
    """Give metrics in the Prometheus text format."""
    require_token()
    body, content_type = metrics.render(service())
    return Response(body, content_type=content_type)


@routes.get("/openapi.json")
def describe() -> Response:
    """Describe the API."""
    return answer(openapi.document())


def is_routine(response: Response) -> bool:
    """Tell whether a monitor found everything in order: it will soon ask again."""
    return request.blueprint == routes.name and response.status_code == HTTPStatus.OK


def _problems(parts: Service) -> list[str]:
    try:
        problems = storage_faults(parts.connection)
        if not parts.heartbeat.has_worker():
            problems.append("no worker's clock beats: start a worker (on a PaaS, scale `worker` to 1)")
        return [*problems, *parts.account_alerts.rejected(parts.settings.accounts).values()]
    except RedisError as error:
        return [f"Redis does not answer ({type(error).__name__})"]
