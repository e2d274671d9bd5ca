"""The API behaves as `/openapi.json` says, for random inputs (schemathesis on the WSGI app)."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounds
from schemathesis.generation import GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from api import openapi
from config.settings import Settings
from operations.errors import PermanentError, SignInRejectedError
from operations.storage.heartbeat import Heartbeat
from operations.storage.store import Store
from tests.integration.bench import BROKEN, OPERATION_ID, Caller, attempted, operation_id, seen
from tests.support.running import CALLER_TOKEN

EXAMPLES = 100
OPERATIONS = [
    (path, method, operation)
    for path, methods in openapi.document()["paths"].items()
    for method, operation in methods.items()
]
ALL = [(path, method, GenerationMode.POSITIVE) for path, method, _ in OPERATIONS]
WITH_INPUT = [
    (path, method, GenerationMode.NEGATIVE)
    for path, method, _ in OPERATIONS
    if path == "/v1/operations"  # elsewhere any text is a well-formed id, so nothing can be violated
]
HEADERS = {"Authorization": f"Bearer {CALLER_TOKEN}"}
UNCHECKED: list[Any] = [
    # Accounts, regions, targets and what is tracked are the operator's: a schema cannot know which names there are, and
    # 422 and 404 are the right answers to a well-formed name that is not there.
    positive_data_acceptance,
]


@pytest.fixture
def schema(app: Flask) -> BaseSchema:
    """Load the description from the app itself."""
    loaded = schemathesis.openapi.from_wsgi("/openapi.json", app)
    # The token is ours to send: were it left out as one more wrong input, we would put it back and be told that wrong
    # input is accepted.
    loaded.config.generation.update(with_security_parameters=False)
    return loaded


@pytest.fixture(autouse=True)
def _known(caller: Caller) -> None:
    """Store something to list."""
    for number in range(3):
        caller.track(operation_id=operation_id(number), context={"actor": "jane"})


@pytest.mark.parametrize(("path", "method", "mode"), [*ALL, *WITH_INPUT])
def test_every_answer_is_as_described(
    schema: BaseSchema, connection: redis.Redis, store: Store, path: str, method: str, mode: GenerationMode
) -> None:
    @bounds(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,  # the same on every run, so that only changes find something new
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def answered_as_described(case: schemathesis.Case[Any]) -> None:
        Heartbeat(connection).beat("a-worker", store.records.now())
        case.call_and_validate(headers=HEADERS, excluded_checks=unchecked)

    # An odd query may not survive being written as a URL (an empty list is no parameter at all), and the token it
    # leaves out is given here: what is sent is valid then. test_reading.py has the queries that are refused.
    unchecked = [*UNCHECKED, negative_data_rejection] if method == "get" else UNCHECKED
    answered_as_described()


def test_what_is_tracked_is_shown_cancelled_and_retried_as_described(
    schema: BaseSchema, caller: Caller, store: Store, settings: Settings
) -> None:
    one, retry = "/v1/operations/{identity}", "/v1/operations/{identity}/deliveries/{target}/retry"
    caller.track(notify=["webhook", "failures"], context={"actor": "jane"}, group="deploy 7")
    ended, watched = f"osc-fr1-{OPERATION_ID}", f"osc-fr1-{operation_id(0)}"
    operation = replace(BROKEN, created_at=store.records.now(), finished_at=store.records.now())
    seen(store, ended, operation, settings.rules)
    attempted(store, ended, "webhook", PermanentError("410"))
    seen(store, f"osc-fr1-{operation_id(1)}", SignInRejectedError("rejected"), settings.rules)
    for path, method, parameters, status in (
        (one, "get", {"identity": ended}, 200),
        (one, "get", {"identity": f"osc-fr1-{operation_id(1)}"}, 200),
        ("/v1/operations", "get", {}, 200),
        ("/v1/groups/{group}", "get", {"group": "deploy 7"}, 200),
        (one, "delete", {"identity": watched}, 200),
        (one, "delete", {"identity": watched}, 409),
        (retry, "post", {"identity": ended, "target": "webhook"}, 202),
        (retry, "post", {"identity": ended, "target": "nobody"}, 404),
    ):
        case = schema[path][method].Case(path_parameters=parameters)
        assert case.call_and_validate(headers=HEADERS, excluded_checks=UNCHECKED).status_code == status


@pytest.mark.parametrize(("path", "method"), [(path, method) for path, method, _ in OPERATIONS])
def test_whatever_asks_for_a_token_says_so(app: Flask, path: str, method: str) -> None:
    is_open = openapi.document()["paths"][path][method].get("security") == []
    url = re.sub(r"\{\w+\}", "x", path)
    status = app.test_client().open(url, method=method.upper()).status_code
    assert (status != 401) == is_open


def references(part: Any) -> Iterator[str]:
    """Walk through every reference of a document."""
    if isinstance(part, dict | list):
        for value in part.values() if isinstance(part, dict) else part:
            yield from references(value)
        if isinstance(part, dict) and isinstance(part.get("$ref"), str):
            yield part["$ref"]


def test_every_model_that_the_description_refers_to_is_in_it() -> None:
    document = openapi.document()
    there = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) - there == set(), "name the model in `document`"
