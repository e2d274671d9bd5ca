"""The parameters and the form of requests, as `/openapi.json` describes them."""

from typing import Any

from api.events import PARAMETERS
from api.schemas import ListQuery, TrackRequest
from operations.model import DeliveryState, State
from scalingo.api_kind import APP_PATTERN


def parameter(name: str, where: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """Describe a parameter, which is required if it is in the path."""
    return {"name": name, "in": where, "required": where == "path", "schema": schema, "description": description}


def of_list() -> list[dict[str, Any]]:
    """Describe the filters of the list."""
    properties = ListQuery.model_json_schema()["properties"]
    return [
        parameter("app", "query", {"type": "string", "pattern": APP_PATTERN}, "only this app"),
        parameter("state", "query", {"enum": [state.value for state in State]}, "only this state"),
        parameter(
            "delivery",
            "query",
            {"enum": [state.value for state in DeliveryState]},
            "only with a delivery of the current run in this state",
        ),
        parameter("group", "query", properties["group"]["anyOf"][0], "only this group"),
        parameter("limit", "query", properties["limit"], "how many at most"),
        parameter("cursor", "query", properties["cursor"]["anyOf"][0], "`next_cursor` of the page before"),
    ]


def of_event() -> list[dict[str, Any]]:
    """Describe the query of the route for events."""
    named = [parameter(name, "query", {"type": "string"}, "as in the form") for name in PARAMETERS]
    context = parameter("context", "query", {"type": "object"}, "one `context.<name>` per name, as in the form")
    return [*named, {**context, "style": "form", "explode": True}]


def form() -> dict[str, Any]:
    """Describe the form: the same fields as text, `notify` separated by commas, one `context.<name>` per name."""
    names = [name for name in TrackRequest.model_fields if name != "context"]
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "patternProperties": {r"^context\.[A-Za-z0-9_.-]{1,64}$": {"type": "string", "maxLength": 500}},
        "additionalProperties": False,
        "anyOf": TrackRequest.model_json_schema()["anyOf"],
    }
