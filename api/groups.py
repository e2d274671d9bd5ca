"""The route under /v1/groups: several operations of one deploy, as one."""

from http import HTTPStatus

from flask import Blueprint, Response
from werkzeug.routing import BaseConverter

from api import answers, waiting
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
    """Takes all the rest of a path, with slashes and whatever else percent-encoding has brought into it."""

    regex = r"[\s\S]+"
    part_isolating = False


@routes.get("/groups/<any_text:name>")
def show(name: str) -> Response:
    """Show one group; with `Prefer: wait=N`, once it is final or N seconds have passed."""
    group, headers = waiting.awaited(
        index.group_key(name), lambda: _group(name), lambda group: not group.final, _settles_in_s
    )
    return answers.of_group(group, headers=headers)


def _group(name: str) -> Group:
    records = service().records
    members = records.group(name) if len(name) <= LONGEST_GROUP else []
    if not members:
        raise ProblemError(HTTPStatus.NOT_FOUND, "nothing that is tracked bears this `group`")
    return groups.of(name, members, records.now())


def _settles_in_s(group: Group) -> float:
    if group.settles_at is None:
        return float("inf")
    return max(0.001, (group.settles_at - service().records.now()).total_seconds())
