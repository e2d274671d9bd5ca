"""Announcements: bodies below 20 kB that agree with the tracking."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.errors import OpwatchError
from operations.model import Operation, State, Tracking, Usual, Verdict
from operations.telling import view
from operations.telling.announcement import BODY_LIMIT_BYTES, ERROR_LIMIT_BYTES, body_of, cut_error, read
from operations.text import json_bytes, plain
from tests.unit.strategies import NOW, a_text, a_tracking, apps, times, trackings

CONTEXT_LIMIT_BYTES = 4_000
ended = st.sampled_from([State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.LOST])
errors = st.builds(lambda text, times: cut_error(text * times), a_text(), st.integers(1, 2_000))
sayings = st.none() | st.builds(lambda text, times: plain(text * times)[:600], a_text(), st.integers(1, 100))
contexts = st.dictionaries(a_text(max_size=64), a_text(max_size=500), max_size=20).filter(
    lambda context: len(json.dumps(context, ensure_ascii=False).encode()) <= CONTEXT_LIMIT_BYTES
)
limited = trackings(
    state=ended,
    ended_at=times,
    context=contexts,
    reason=sayings,
    last_error=sayings,
    operation=st.none()
    | st.builds(
        Operation,
        status=a_text(max_size=80),
        type=st.none() | a_text(max_size=80),
        created_at=st.none() | times,
        finished_at=st.none() | times,
        error=st.none() | errors,
        error_truncated=st.booleans(),
    ),
)


@given(limited)
def test_a_body_stays_below_20_kB_and_is_read_back_with_the_same_facts(tracking: Tracking) -> None:  # noqa: N802
    body = body_of(tracking)
    assert len(body) < BODY_LIMIT_BYTES
    found, operation = read("an-id", body), tracking.operation
    assert (found.delivery_id, found.body, found.verdict) == ("an-id", body, Verdict(tracking.state))
    assert (found.app, found.region, found.operation_id) == (tracking.app, tracking.region, tracking.operation_id)
    assert (found.type, found.error) == ((operation.type, operation.error) if operation else (None, None))
    assert (found.reason, found.duration_s, found.context) == (tracking.reason, tracking.duration_s, tracking.context)
    assert found.usual == tracking.usual
    document = json.loads(body)
    assert set(document) == {"type", "timestamp", "data"}
    assert document["type"] == f"operation.{tracking.state.value}"
    assert document["timestamp"] == document["data"]["ended_at"] == view.timestamp(tracking.ended_at)
    assert document["data"].pop("error_truncated") is bool(operation and operation.error_truncated)
    assert document["data"] == view.without_deliveries(tracking)
    assert "deliveries" not in document["data"]


def filled(char: str, limit_bytes: int) -> str:
    """Return as many of `char` as fit into so many bytes of JSON."""
    return char * (limit_bytes // json_bytes(char))


@pytest.mark.parametrize("char", ["x", '"', "é", "日", "🎉", "\n", "\x01"])
def test_the_longest_texts_of_all_together_stay_below_20_kB(char: str) -> None:  # noqa: N802
    said = (plain(char) or "🎉") * 600
    tracking = a_tracking(
        state=State.TIMED_OUT,
        ended_at=NOW,
        app="a" * 64,
        id="r" * 41 + "-" + "f" * 24,
        region="r" * 41,
        account="a" * 41,
        created_by="c" * 41,
        duration_s=86400.123,
        usual=Usual(p50=86400.123, p90=86400.123, samples=50),
        last_polled_at=NOW,
        polls=10**6,
        context={f"key-{number:02}": filled(char, 380) for number in range(10)},
        group=char * 200,
        reason=said,
        last_error=said,
        operation=Operation(
            status=said[:80], type=said[:80], created_at=NOW, finished_at=NOW, error=cut_error(char * 100_000)
        ),
    )
    assert len(json.dumps(tracking.context, ensure_ascii=False).encode()) <= CONTEXT_LIMIT_BYTES
    assert len(body_of(tracking)) < BODY_LIMIT_BYTES


@given(errors)
def test_a_cut_error_takes_at_most_8_kB_inside_json(error: str) -> None:  # noqa: N802
    assert json_bytes(error) <= ERROR_LIMIT_BYTES
    assert cut_error(error) == error


_GOOD: dict[str, Any] = json.loads(
    body_of(a_tracking(state=State.FAILED, ended_at=NOW, operation=Operation(status="error", outcome=Verdict.FAILED)))
)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff", b"{", b"null", b"[]", b"7", b'"text"', b"{}", b'{"data": null}', b'{"data": []}',
        *(
            json.dumps({**_GOOD, "data": {**_GOOD["data"], **change}}).encode()
            for change in (
                {"state": "tracking"}, {"state": None}, {"operation": "text"}, {"operation": [1]}, {"operation": 7},
                {"usual_duration_s": 7}, {"usual_duration_s": {"p50": 1}},
            )
        ),
        *(
            json.dumps({**_GOOD, "data": {key: value for key, value in _GOOD["data"].items() if key != gone}}).encode()
            for gone in ("app", "state", "operation", "reason", "duration_s", "context", "region", "operation_id")
        ),
    ],
)  # fmt: skip
def test_what_is_no_announcement_is_refused_by_its_id(body: bytes) -> None:
    with pytest.raises(OpwatchError, match="an-id"):
        read("an-id", body)


def test_what_an_older_version_stored_says_nothing_of_what_is_usual() -> None:
    data = {key: value for key, value in _GOOD["data"].items() if key != "usual_duration_s"}
    data |= {"looks": "of a newer version", "deliveries": 7, "place": None}
    assert read("an-id", json.dumps({**_GOOD, "data": data}).encode()).usual is None


@given(apps, apps)
def test_two_outcomes_of_the_same_facts_have_the_same_bytes(app: str, other: str) -> None:
    one, two = (body_of(a_tracking(app=name, state=State.LOST, ended_at=NOW)) for name in (app, other))
    assert (one == two) == (app == other)


_SUMMER = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, None),
        (NOW, "2026-03-01T12:00:00.000Z"),
        (NOW.replace(microsecond=123_999), "2026-03-01T12:00:00.123Z"),
        (datetime(2014, 9, 10, 10, 17, 52, 690_000, _SUMMER), "2014-09-10T08:17:52.690Z"),
        (datetime(2026, 1, 1, 0, 30, tzinfo=_SUMMER), "2025-12-31T22:30:00.000Z"),
    ],
)
def test_times_are_written_in_utc_with_milliseconds(at: datetime | None, text: str | None) -> None:
    assert view.timestamp(at) == text


@given(times)
def test_a_time_is_read_back_as_it_was(at: datetime) -> None:
    assert datetime.fromisoformat(view.timestamp(at) or "") == at
