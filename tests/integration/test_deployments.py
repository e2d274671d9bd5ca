"""Deployments: their words, and the output that says why one failed."""

from collections.abc import Callable
from typing import Any

import pytest

from operations.kind import Kind
from operations.model import State, Tracking
from operations.storage.store import Store
from standin import faults
from standin.api import ScalingoApi
from tests.integration.bench import tracked
from tests.integration.rounds import look
from workers.runtime import Runtime

CRASH = """<-- Start deployment of shop -->
-----> Python app detected
       \x1b[1mModuleNotFoundError\x1b[0m: No module named 'psycopg2'
 !     Error deploying the application
 !     → Invalid return code from buildpack
 !     Documentation: https://doc.scalingo.com/platform/getting-started/common-deployment-errors
"""


def deployed(store: Store, scalingo: ScalingoApi, **fields: Any) -> str:
    """Begin a deployment of `shop` and track it."""
    begun = scalingo.operation(kind="deployment", **fields)
    return tracked(store, begun.id, kind=Kind.DEPLOYMENT, v=2, timeout_s=3600, notify_all=False, notify=("webhook",))


def looked(store: Store, scalingo: ScalingoApi, **fields: Any) -> tuple[Tracking, int]:
    """Look once at a new deployment. Returns the record, and the number of requests about it."""
    identity = deployed(store, scalingo, **fields)
    after = look(store, identity)
    return after, sum(seen.operation_id == after.operation_id for seen in scalingo.requests)


@pytest.mark.usefixtures("runtime")
def test_a_deployment_that_runs_is_seen_in_its_own_words(store: Store, scalingo: ScalingoApi) -> None:
    for fields, status, waiting in (
        ({"duration_s": None}, "building", False),
        ({"duration_s": None, "pending_s": 60}, "queued", True),
    ):
        after, requests = looked(store, scalingo, **fields)
        assert after.operation is not None
        assert (after.state, after.operation.status, after.operation.waiting) == (State.TRACKING, status, waiting)
        assert after.operation.type == "deployment"
        assert requests == 1


@pytest.mark.usefixtures("runtime")
def test_a_failed_deployment_says_why_with_one_more_request(store: Store, scalingo: ScalingoApi) -> None:
    after, requests = looked(store, scalingo, outcome="build-error", output=CRASH)
    assert after.operation is not None
    assert after.operation.error is not None
    assert after.state is State.FAILED
    assert after.operation.error.startswith("ModuleNotFoundError: No module named 'psycopg2'")
    assert "Documentation" not in after.operation.error
    assert requests == 2
    succeeded, requests = looked(store, scalingo)
    assert (succeeded.state, requests) == (State.SUCCEEDED, 1)


@pytest.mark.parametrize(
    ("shown", "text"),
    [("off", "hook-error"), ("tail", CRASH.replace("\x1b[1m", "").replace("\x1b[0m", "").rstrip("\n"))],
)
def test_the_operator_chooses_what_of_the_output_is_shown(
    start_worker: Callable[..., Runtime], store: Store, scalingo: ScalingoApi, shown: str, text: str
) -> None:
    start_worker(OPWATCH_DEPLOYMENT_OUTPUT=shown)
    after, requests = looked(store, scalingo, outcome="hook-error", output=CRASH)
    assert after.operation is not None
    assert after.operation.error == text
    assert requests == (1 if shown == "off" else 2)


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (faults.internal_error(), "(its output could not be read: the API answered 500"),
        (faults.operation_not_found(), "(its output could not be read: the API has no such operation"),
        (faults.reset(), "(its output could not be read: no answer"),
        (faults.hang(60), "(its output could not be read in time)"),
        (faults.drip(1.0), "(its output could not be read in time)"),
    ],
)
def test_an_output_that_cannot_be_read_changes_no_verdict(
    store: Store, scalingo: ScalingoApi, fault: faults.Fault, text: str
) -> None:
    identity = deployed(store, scalingo, outcome="timeout-error", output=CRASH)
    scalingo.fault(faults.slow(0))  # for the exchange or the look itself
    wanted = identity.removeprefix("osc-fr1-")
    scalingo.fault(faults.slow(0), operation_id=wanted)
    scalingo.fault(fault, times=None, operation_id=wanted)
    after = look(store, identity)
    assert after.operation is not None
    assert after.operation.error is not None
    assert after.state is State.FAILED
    assert after.operation.error.startswith(f"timeout-error {text}")


@pytest.mark.usefixtures("runtime")
def test_an_empty_output_leaves_the_status(store: Store, scalingo: ScalingoApi) -> None:
    after, _ = looked(store, scalingo, outcome="aborted", output="")
    assert after.operation is not None
    assert after.operation.error == "aborted"


@pytest.mark.usefixtures("runtime")
def test_the_text_of_an_aborted_deployment_says_so_first(store: Store, scalingo: ScalingoApi) -> None:
    after, _ = looked(store, scalingo, outcome="aborted", output="-----> Build\n       chunk 1\n")
    assert after.operation is not None
    assert after.operation.error == "aborted\n\n-----> Build\n       chunk 1"


@pytest.mark.usefixtures("runtime")
def test_an_output_of_50_mb_takes_little_memory(store: Store, scalingo: ScalingoApi) -> None:
    after, _ = looked(store, scalingo, outcome="crashed-error", output=CRASH, output_bytes=9_000)
    assert after.state is State.FAILED
    after, _ = looked(store, scalingo, outcome="crashed-error", output=CRASH, output_bytes=50_000_000)
    assert after.operation is not None
    assert after.operation.error is not None
    assert "ModuleNotFoundError" in after.operation.error
