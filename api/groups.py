"""The route under /v1/groups: the operations of one deploy, shown together."""

from http import HTTPStatus

from flask import Blueprint, Response
from werkzeug.routing import BaseConverter

from api import responses, waiting
from api.auth import require_token
from api.problems import ProblemError
from api.schemas import LONGEST_GROUP
from api.service import service
from operations.storage import index
from operations.telling import groups
from operations.telling.groups import Group

routes = Blueprint("groups", __name__, url_prefix="/v1")
routes.before_request(require_token)


class AnyText(BaseConverter):
    """Matches the rest of a path, with slashes and all other characters that were percent-encoded."""

    regex = r"[\s\S]+"
    part_isolating = False


@routes.get("/groups/<any_text:name>")
def show(name: str) -> Response:
    """Show one group. With `Prefer: wait=N`, answer when it is final, or after N seconds."""
    group, headers = waiting.awaited(
        index.group_key(name), lambda: _group(name), lambda group: not group.final, _settles_in_s
    )
    return responses.group_response(group, headers=headers)


def _group(name: str) -> Group:
    records = service().records
    members = records.group(name) if len(name) <= LONGEST_GROUP else []
    if not members:
        raise ProblemError(HTTPStatus.NOT_FOUND, "no operation is tracked with this `group`")
    return groups.summarize(name, members, records.now())


def _settles_in_s(group: Group) -> float:
    if group.settles_at is None:
        return float("inf")
    return max(0.001, (group.settles_at - service().records.now()).total_seconds())
