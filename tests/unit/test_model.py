"""Records, as they are stored and read back."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operations.errors import NewerRecordError
from operations.model import Delivery, Tracking
from operations.storage.index import tracking_of
from operations.storage.records import RECORD_VERSION, decode, encode, with_ids
from tests.unit.strategies import a_delivery, a_tracking, alerts, deliveries, operation_ids, regions, trackings


@given(trackings())
def test_a_record_is_read_back_as_it_was_written(tracking: Tracking) -> None:
    assert decode(encode(tracking)) == tracking


@settings(max_examples=20)
@given(trackings(deliveries=st.lists(deliveries, min_size=1, max_size=2).map(tuple)))
def test_fields_of_a_later_version_are_passed_over(tracking: Tracking) -> None:
    document = json.loads(encode(tracking))
    document["mood"] = {"new": [1]}
    document["deliveries"][0]["mood"] = "new"
    if tracking.operation is not None:
        document["operation"]["mood"] = "new"
    assert decode(json.dumps(document).encode()) == tracking


@pytest.mark.parametrize("record", [b"", b"null", b"[]", b"{}", b'{"id": 1}', b"\xff", b"{"])
def test_what_is_no_record_is_left_alone(record: bytes) -> None:
    with pytest.raises(NewerRecordError):
        decode(record)


@pytest.mark.parametrize("change", [{"state": "paused"}, {"v": RECORD_VERSION + 1}])
def test_a_record_of_a_later_version_is_left_alone(change: dict[str, Any]) -> None:
    with pytest.raises(NewerRecordError):
        decode(json.dumps({**json.loads(encode(a_tracking())), **change}).encode())


@given(regions, operation_ids, deliveries)
def test_a_delivery_id_holds_no_dot_and_leads_back_to_its_tracking(
    region: str, operation_id: str, delivery: Delivery
) -> None:
    tracking = with_ids(a_tracking(id=f"{region}-{operation_id}", deliveries=(delivery,)))
    identity = tracking.deliveries[0].id
    assert "." not in identity
    assert tracking_of(identity) == tracking.id
    assert identity == f"{tracking.id}_{delivery.run}_{delivery.verdict}_{delivery.target}"


@given(regions, operation_ids, alerts, deliveries)
def test_an_alerts_id_holds_no_dot_leads_back_and_is_never_that_of_a_delivery(
    region: str, operation_id: str, alert: Delivery, delivery: Delivery
) -> None:
    tracking = with_ids(a_tracking(id=f"{region}-{operation_id}", deliveries=(delivery,), alerts=(alert,)))
    identity = tracking.alerts[0].id
    assert "." not in identity
    assert tracking_of(identity) == tracking.id
    assert identity != tracking.deliveries[0].id


def test_a_record_of_before_there_were_alerts_has_none() -> None:
    record = encode(a_tracking(deliveries=(a_delivery(),)))
    assert b"alert" not in record
    assert decode(record).alerts == ()
