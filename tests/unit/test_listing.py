"""What the lists that a glance asks for say of apps and deployments, whatever stands in them."""

import json
from typing import Any

import pytest

from operations.errors import TransientError
from operations.watching.glances import Source, Status
from scalingo.answers import Answer
from scalingo.listing import Page, parse_page

UUID = "8c1a51a0-4f5c-4b8e-9a6d-1b2c3d4e5f60"


def deployment(status: str | None, **about: Any) -> dict[str, Any]:
    """Return an event of a deployment, as Scalingo lists it."""
    told = {} if status is None else {"status": status}
    return {"type": "deployment", "app_name": "shop", "type_data": {"deployment_uuid": UUID.upper(), **told, **about}}


def read(source: Source, **document: Any) -> Page:
    """Read an answer."""
    return parse_page(source, Answer(200, json.dumps(document).encode()))


@pytest.mark.parametrize(
    ("events", "shown"),
    [
        ([deployment("success")], {UUID: Status("success", busy=False)}),
        ([deployment("build-error")], {UUID: Status("build-error", busy=False)}),
        ([deployment("building")], {UUID: Status("building", busy=True)}),
        ([deployment(None)], {UUID: Status("running", busy=True)}),  # completed only at its end
        ([deployment("success"), deployment(None)], {UUID: Status("success", busy=False)}),  # the newest comes first
        ([deployment("success", deployment_uuid="not a uuid")], {}),
        ([deployment("success", deployment_uuid=None), deployment("success") | {"type_data": [UUID]}], {}),
        ([deployment("success") | {"type": "restart"}, None, "success", {}], {}),
    ],
)
def test_the_newest_event_of_a_deployment_says_how_it_stands(events: list[Any], shown: dict[str, Status]) -> None:
    assert read(Source.EVENTS, events=events) == Page(shown, None)


def test_an_app_is_known_by_its_name_and_by_its_id() -> None:
    busy = Status("booting", busy=True)
    apps = [{"name": "shop", "id": "5b8b36104ffb090be1ac3ce1", "status": "booting"}, {"name": "blog", "status": 7}]
    shown, next_page = read(Source.APPS, apps=apps, meta={"pagination": {"next_page": 2}})
    assert (shown, next_page) == ({"shop": busy, "5b8b36104ffb090be1ac3ce1": busy}, 2)


@pytest.mark.parametrize("source", Source)
def test_anything_but_the_list_is_an_error(source: Source) -> None:
    documents: tuple[dict[str, Any], ...] = ({}, {source.value: {}}, {"operations": []})
    for document in documents:
        with pytest.raises(TransientError, match=f"not a list of {source}"):
            read(source, **document)
