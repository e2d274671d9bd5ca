"""Records, as they are stored and read back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.model import Delivery, Tracking, decode, encode, tracking_id
from tests.unit.strategies import a_tracking, deliveries, trackings


@given(trackings())
def test_a_record_is_read_back_as_it_was_written(tracking: Tracking) -> None:
    assert decode(encode(tracking)) == tracking


@given(trackings(deliveries=st.lists(deliveries, min_size=1, max_size=2).map(tuple)))
def test_fields_of_a_later_version_are_passed_over(tracking: Tracking) -> None:
    document = json.loads(encode(tracking))
    document["mood"] = {"new": [1]}
    document["deliveries"][0]["mood"] = "new"
    if tracking.operation is not None:
        document["operation"]["mood"] = "new"
    assert decode(json.dumps(document).encode()) == tracking


@pytest.mark.parametrize("record", [b"", b"null", b"[]", b"{}", b'{"id": 1}', b"\xff", b"{"])
def test_what_is_no_record_is_a_value_error(record: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(record)


def test_a_record_of_an_unknown_state_is_a_value_error() -> None:
    record = {**json.loads(encode(a_tracking())), "state": "paused"}
    with pytest.raises(ValueError, match="state"):
        decode(json.dumps(record).encode())


@given(trackings(), deliveries)
def test_a_delivery_id_holds_no_dot_and_leads_back_to_its_tracking(tracking: Tracking, delivery: Delivery) -> None:
    identity = tracking.delivery_id(delivery)
    assert "." not in identity
    assert tracking_id(identity) == tracking.id
    assert identity == f"{tracking.id}_{delivery.run}_{delivery.verdict.value}_{delivery.target}"
