"""Operations and backups of databases: their tokens, and the routes about which the sources disagree."""

from typing import Any, Literal

import pytest

from operations.kind import Kind
from operations.model import State
from operations.storage.store import Store
from standin import faults
from standin.api import ScalingoApi
from tests.integration.bench import tracked
from tests.integration.rounds import look

ADDON = "ad-6733873b-1cb1-46d4-b09e-bfb6fe09bc18"
TOKEN_PATH = f"/v1/apps/shop/addons/{ADDON}/token"


def begun(store: Store, scalingo: ScalingoApi, kind: Kind = Kind.DATABASE, **fields: Any) -> str:
    """Begin an operation of a database of `shop` and track it."""
    by_addon = fields.pop("by_addon", False)
    there = scalingo.operation(kind=kind.value, addon_id=ADDON, type="upgrade", **fields)
    return tracked(
        store,
        there.id,
        id=f"osc-fr1-db-{there.id}",
        kind=kind,
        v=2,
        addon_id=ADDON,
        by_addon=by_addon,
        notify_all=False,
    )


def paths(scalingo: ScalingoApi) -> list[str]:
    """List the paths of all requests but exchanges, with their status."""
    return [f"{seen.path} {seen.status}" for seen in scalingo.requests if "exchange" not in seen.path]


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("by_addon", [False, True])
@pytest.mark.parametrize("known", ["both", "addon", "short"])
@pytest.mark.parametrize("kind", [Kind.DATABASE, Kind.BACKUP])
def test_the_route_of_the_location_comes_first_and_the_other_one_on_a_404(
    store: Store, scalingo: ScalingoApi, kind: Kind, known: Literal["both", "addon", "short"], *, by_addon: bool
) -> None:
    scalingo.configure(database_route=known)
    identity = begun(store, scalingo, kind, by_addon=by_addon, duration_s=None)
    for _ in range(2):
        assert look(store, identity).state is State.TRACKING
    word, thing = "operations" if kind is Kind.DATABASE else "backups", look(store, identity).operation_id
    routes = {"short": f"/api/{word}/{thing}", "addon": f"/api/databases/{ADDON}/{word}/{thing}"}
    first, other = ("addon", "short") if by_addon else ("short", "addon")
    good = first if known in ("both", first) else other
    misses = [] if good == first else [f"{routes[first]} 404"]
    assert paths(scalingo) == [f"{TOKEN_PATH} 200", *misses, *[f"{routes[good]} 200"] * 3]  # one token for all


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("kind", "outcome", "state", "error"),
    [
        (Kind.DATABASE, "finished", State.SUCCEEDED, None),
        (Kind.DATABASE, "done", State.SUCCEEDED, None),
        (Kind.DATABASE, "user-error", State.FAILED, "disk full"),
        (Kind.DATABASE, "cancelled", State.FAILED, "cancelled"),
        (Kind.BACKUP, "done", State.SUCCEEDED, None),
        (Kind.BACKUP, "error", State.FAILED, "error"),
    ],
)
def test_each_end_is_told_in_the_words_of_its_kind(
    store: Store, scalingo: ScalingoApi, kind: Kind, outcome: str, state: State, error: str | None
) -> None:
    after = look(store, begun(store, scalingo, kind, outcome=outcome, error="disk full"))
    assert after.operation is not None
    assert (after.state, after.operation.status, after.operation.error) == (state, outcome, error)


@pytest.mark.usefixtures("runtime")
def test_a_token_that_the_database_rejects_is_renewed_once(store: Store, scalingo: ScalingoApi) -> None:
    identity = begun(store, scalingo, duration_s=None)
    assert look(store, identity).last_error is None
    thing = identity.removeprefix("osc-fr1-db-")
    scalingo.fault(faults.answer(400, '{"error":"unauthorized"}', "application/json"), operation_id=thing)
    scalingo.clear_requests()
    assert look(store, identity).last_error is None
    assert paths(scalingo) == [f"/api/operations/{thing} 400", f"{TOKEN_PATH} 200", f"/api/operations/{thing} 200"]
    scalingo.fault(faults.unauthorized(), times=None, operation_id=thing)
    after = look(store, identity)
    assert after.state is State.TRACKING
    assert after.last_error == "the database API rejects a new token of the addon (401)"


@pytest.mark.usefixtures("runtime")
def test_an_unknown_addon_counts_like_any_other_404(store: Store, scalingo: ScalingoApi) -> None:
    identity = tracked(store, "f" * 24, id="osc-fr1-db-x", kind=Kind.DATABASE, v=2, addon_id=ADDON)
    after = look(store, identity)
    assert (after.state, after.missing_looks) == (State.TRACKING, 1)
    assert after.last_error == "the API has no such addon in the app shop (404: not found)"
    assert scalingo.requests
