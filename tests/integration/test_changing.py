"""Cancelling a tracking, and retrying a delivery by hand."""

import pytest

from config.settings import Settings
from operations.errors import OpwatchError, PermanentError, TransientError
from operations.model import Operation
from operations.storage.index import OUTBOX
from operations.storage.store import Store
from tests.integration.bench import BROKEN, DONE, OPERATION_ID, Caller, attempted, problem, seen

IDENTITY = f"osc-fr1-{OPERATION_ID}"
RETRY = f"/v1/operations/{IDENTITY}/deliveries/webhook/retry"


class TestStopping:
    """DELETE /v1/operations/<id>."""

    def test_it_ends_the_watch_and_tells_nobody(self, caller: Caller, store: Store) -> None:
        caller.track()
        answer = caller.request("DELETE", f"/v1/operations/{IDENTITY}")
        assert answer.status_code == 200
        assert answer.json["state"] == "cancelled"
        assert answer.json["ended_at"]
        assert answer.json["deliveries"] == []
        assert store.records.due_trackings() == []
        assert store.overview.size(OUTBOX) == 0
        assert caller.show(IDENTITY) == answer.json

    def test_it_is_409_once_the_watch_has_ended(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.track()
        caller.request("DELETE", f"/v1/operations/{IDENTITY}")
        problem(caller.request("DELETE", f"/v1/operations/{IDENTITY}"), 409)
        caller.track()
        seen(store, IDENTITY, DONE, settings.rules)
        problem(caller.request("DELETE", f"/v1/operations/{IDENTITY}"), 409)
        assert caller.show(IDENTITY)["state"] == "succeeded"


class TestRetrying:
    """POST /v1/operations/<id>/deliveries/<target>/retry."""

    @pytest.fixture(autouse=True)
    def _tracked(self, caller: Caller) -> None:
        caller.track(notify=["webhook", "failures"])

    def test_a_dead_one_starts_over(self, caller: Caller, store: Store, settings: Settings) -> None:
        end(store, settings, PermanentError("410"))
        assert store.overview.size(OUTBOX) == 0
        answer = caller.request("POST", RETRY)
        assert answer.status_code == 202
        (webhook,) = (d for d in answer.json["deliveries"] if d["target"] == "webhook")
        assert (webhook["state"], webhook["attempts"]) == ("pending", 0)
        assert [members for _, members in store.records.due_deliveries()] == [(f"{IDENTITY}_1_succeeded_webhook",)]

    def test_a_waiting_one_is_due_now(self, caller: Caller, store: Store, settings: Settings) -> None:
        end(store, settings, TransientError("500", retry_after_s=3600.0))
        assert list(store.records.due_deliveries()) == []
        assert caller.request("POST", RETRY).status_code == 202
        assert [members for _, members in store.records.due_deliveries()] == [(f"{IDENTITY}_1_succeeded_webhook",)]

    def test_one_that_was_made_is_409(self, caller: Caller, store: Store, settings: Settings) -> None:
        end(store, settings)
        problem(caller.request("POST", RETRY), 409)
        assert store.overview.size(OUTBOX) == 0

    def test_one_that_was_skipped_is_409(self, caller: Caller, store: Store, settings: Settings) -> None:
        end(store, settings)
        problem(caller.request("POST", RETRY.replace("webhook", "failures")), 409)

    @pytest.mark.parametrize("target", ["slack", "nobody", "Bad!", "x" * 200])
    def test_one_that_is_not_there_is_404(self, caller: Caller, store: Store, settings: Settings, target: str) -> None:
        end(store, settings)
        problem(caller.request("POST", RETRY.replace("webhook", target)), 404)

    def test_before_the_end_there_is_none(self, caller: Caller) -> None:
        problem(caller.request("POST", RETRY), 404)

    def test_only_the_current_run_is_retried(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.request("DELETE", f"/v1/operations/{IDENTITY}")
        caller.track(notify=["webhook"])
        end(store, settings, PermanentError("410"), BROKEN)
        answer = caller.request("POST", RETRY)
        assert answer.json["run"] == 2
        assert [members for _, members in store.records.due_deliveries()] == [(f"{IDENTITY}_2_failed_webhook",)]


def end(store: Store, settings: Settings, error: OpwatchError | None = None, how: Operation = DONE) -> None:
    """End the operation, and the webhook's delivery as given."""
    seen(store, IDENTITY, how, settings.rules)
    attempted(store, IDENTITY, "webhook", error)
