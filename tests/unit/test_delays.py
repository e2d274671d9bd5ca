"""The detection delay, and the dwell time."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings

from operations.model import Delivery, DeliveryState, Operation, State, Tracking, Verdict
from operations.storage.tallies import detection_s, dwell_s
from operations.telling import audience
from tests.unit.strategies import NOW, a_delivery, a_tracking, attempted_by, attempting, trackings


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def ended(finished_at: datetime | None, *, seen_s: float = 60, created_at: datetime | None = None) -> Tracking:
    """Return a tracking, begun at NOW, whose end was seen so many seconds later."""
    operation = Operation(status="done", outcome=Verdict.SUCCEEDED, created_at=created_at, finished_at=finished_at)
    return a_tracking(state=State.SUCCEEDED, operation=operation, next_look_at=None, ended_at=after(seen_s))


@pytest.mark.parametrize(
    ("tracking", "seconds"),
    [
        (ended(after(58.5)), 1.5),
        (ended(after(58.5), created_at=after(-5)), 1.5),
        (ended(after(61)), 0.0),
        (ended(after(120)), 0.0),
        (ended(after(121)), None),
        (ended(after(10**8)), None),
        (ended(NOW), 60.0),
        (ended(after(-0.001)), None),
        (ended(after(-(10**9))), None),
        (ended(after(30), created_at=after(31)), None),
        (ended(None), None),
    ],
    ids=[
        "as late as the API's time says",
        "with the time of its beginning",
        "a clock ahead of ours counts as no delay",
        "as far ahead as clocks may differ",
        "further ahead nothing is believed",
        "an absurd time of the future",
        "over as the watch began",
        "over before it began",
        "an absurd time of the past",
        "over before it had begun itself",
        "without a time",
    ],
)
def test_the_delay_of_an_end_is_told_only_where_the_times_are_sane(tracking: Tracking, seconds: float | None) -> None:
    assert detection_s(tracking) == seconds


@pytest.mark.parametrize("state", [State.TIMED_OUT, State.LOST, State.CANCELLED])
def test_an_end_that_was_not_seen_has_no_delay(state: State) -> None:
    operation = Operation(status="running", finished_at=after(30))
    tracking = a_tracking(state=state, operation=operation, next_look_at=None, ended_at=after(60))
    assert detection_s(tracking) is None


def test_an_operation_that_is_watched_has_no_delay_whatever_its_time() -> None:
    assert detection_s(a_tracking(operation=Operation(status="pending", waiting=True, finished_at=after(30)))) is None


@settings(max_examples=40)
@given(trackings())
def test_no_delay_is_negative(tracking: Tracking) -> None:
    waits = [detection_s(tracking), *(dwell_s(tracking, delivery) for delivery in tracking.outgoing)]
    assert [wait for wait in waits if wait is not None and wait < 0] == []


def told(**changes: object) -> Delivery:
    """Return a delivery that was made 90 s after NOW."""
    fields = {"state": DeliveryState.DELIVERED, "next_attempt_at": None, "ended_at": after(90), **changes}
    return a_delivery(**fields)


@pytest.mark.parametrize(
    ("delivery", "seconds"),
    [
        (told(), 30.0),
        (told(ended_at=after(59)), 0.0),
        (told(planned_at=after(88)), 2.0),
        (told(state=DeliveryState.DEAD), None),
        (told(state=DeliveryState.SKIPPED, ended_at=None), None),
        (told(run=2), None),
        (told(verdict=None), None),
        (a_delivery(), None),
    ],
    ids=[
        "since the end",
        "a clock set back",
        "since it was asked for",
        "dead",
        "skipped",
        "of another run",
        "a warning",
        "not made yet",
    ],
)
def test_an_outcome_dwells_from_its_end_until_it_is_delivered(delivery: Delivery, seconds: float | None) -> None:
    assert dwell_s(ended(None), delivery) == seconds


def test_what_is_asked_for_after_the_end_dwells_only_from_then() -> None:
    over = ended(None)
    joined = audience.also_told(over, ("slack",), {}, after(500))
    (delivery,) = joined.deliveries
    claimed = attempting(joined, frozenset({delivery.id}), "ours", after(500))
    done = attempted_by(claimed, delivery.id, "ours", None, after(501))
    assert done is not None
    assert dwell_s(done, done.deliveries[0]) == 1.0


def test_what_was_planned_at_the_end_says_nothing_more() -> None:
    over = ended(None)
    (delivery,) = audience.deliveries(over, Verdict.SUCCEEDED, {"slack": audience.Rule()}, after(60))
    assert delivery.planned_at is None
