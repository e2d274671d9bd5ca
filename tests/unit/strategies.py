"""Values of the domain for tests: samples to vary, and Hypothesis strategies."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from notifiers.targets import NAME
from operations.errors import OpwatchError
from operations.history import Attempt, Looks
from operations.model import (
    Alert,
    AlertKind,
    Delivery,
    DeliveryState,
    LiveMessage,
    MessageRef,
    Operation,
    Slow,
    State,
    Tracking,
    Usual,
    Verdict,
)
from operations.storage.records import with_ids
from operations.telling import attempts as telling
from operations.telling.attempts import Policy, Result

settings.register_profile("unit", deadline=None, max_examples=50)  # a busy machine must not fail the test
settings.load_profile("unit")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OPERATION_ID = "5ed11f2c884fef000f5e502e"


def a_tracking(**changes: Any) -> Tracking:
    """Return a tracking that began at NOW and is due at once, with `changes`."""
    sample = Tracking(
        id=f"osc-fr1-{OPERATION_ID}",
        app="shop",
        operation_id=OPERATION_ID,
        region="osc-fr1",
        account="default",
        created_at=NOW,
        created_by="ci",
        timeout_s=3600,
        next_look_at=NOW,
    )
    return replace(sample, **changes)


def a_delivery(**changes: Any) -> Delivery:
    """Return a delivery of run 1 that is due at NOW, with `changes`."""
    sample = Delivery(target="slack", run=1, verdict=Verdict.FAILED, state=DeliveryState.PENDING, next_attempt_at=NOW)
    changed = replace(sample, **changes)
    return changed if changed.id else with_ids(a_tracking(deliveries=(changed,))).deliveries[0]


def attempting(tracking: Tracking, ids: frozenset[str], claim: str, now: datetime) -> Tracking:
    """Claim the deliveries of these ids for an attempt."""
    return telling.claimed(tracking, [d for d in tracking.outgoing if d.id in ids], claim, now)


def attempted_by(
    tracking: Tracking,
    delivery_id: str,
    claim: str,
    error: OpwatchError | None,
    now: datetime,
    *,
    alert_target: str | None = None,
) -> Tracking | None:
    """Record how an attempt ended, as the worker with that claim does; a transient error is tried again after 90 s."""
    known = (d for d in tracking.outgoing if d.id == delivery_id)
    delivery = replace(next(known, a_delivery(id=delivery_id)), claim=claim)
    policy = Policy(delays_s=(90.0,) * 99, alert_target=alert_target)
    return telling.after_attempt(tracking, delivery, Result(error=error), now, policy)


def a_text(*, max_size: int | None = None) -> st.SearchStrategy[str]:
    """Draw any text that UTF-8 can carry."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=max_size)


times = st.integers(31_536_000_000, 253_000_000_000_000).map(lambda ms: EPOCH + timedelta(milliseconds=ms))
"""From 1971 to 9987. An integer is drawn several times faster than a datetime."""
target_names = st.from_regex(NAME, fullmatch=True)
operation_ids = st.from_regex(r"[0-9a-f]{24}", fullmatch=True)
apps = st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True)
regions = st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True)
_seconds = st.floats(min_value=0, max_value=1e9)
usuals = st.tuples(_seconds, _seconds, st.integers(3, 50)).map(
    lambda drawn: Usual(p50=min(drawn[:2]), p90=max(drawn[:2]), samples=drawn[2])
)

operations = st.builds(
    Operation,
    status=a_text(),
    type=st.none() | a_text(),
    created_at=st.none() | times,
    finished_at=st.none() | times,
    error=st.none() | a_text(),
    error_truncated=st.booleans(),
)
looks = st.builds(
    Looks,
    what=a_text(max_size=160),
    first_at=times,
    last_at=st.none() | times,
    times=st.integers(1, 10**6),
    failed=st.booleans(),
)
attempt_entries = st.builds(Attempt, at=times, error=st.none() | a_text(max_size=160))
deliveries = st.builds(
    Delivery,
    target=target_names,
    run=st.integers(1, 99),
    verdict=st.sampled_from(Verdict),
    state=st.sampled_from(DeliveryState),
    attempts=st.integers(0, 99),
    last_error=st.none() | a_text(),
    next_attempt_at=st.none() | times,
    ended_at=st.none() | times,
    claim=st.none() | a_text(),
    planned_at=st.none() | times,
    history=st.lists(attempt_entries, max_size=3).map(tuple),
)
alerts = st.builds(
    Alert, kind=st.sampled_from(AlertKind), subject=target_names, at=times, body=a_text(max_size=200)
).flatmap(lambda alert: deliveries.map(lambda delivery: replace(delivery, verdict=None, alert=alert)))

warnings = st.builds(
    Slow,
    body=a_text(max_size=200),
    deliveries=st.lists(deliveries.map(lambda delivery: replace(delivery, verdict=None)), max_size=2).map(tuple),
)

live_messages = st.builds(
    LiveMessage,
    target=target_names,
    run=st.integers(1, 99),
    due_at=st.none() | times,
    claim=st.none() | a_text(),
    posted=st.none() | st.builds(MessageRef, channel=a_text(), ts=a_text()),
    shows=st.none() | a_text(max_size=16),
    shown_at=st.none() | times,
    failures=st.integers(0, 99),
)


@st.composite
def trackings(
    draw: st.DrawFn, /, *, of: st.SearchStrategy[str] = operation_ids, **changes: st.SearchStrategy[Any]
) -> Tracking:
    """Draw any record, possible or not; `of` draws the operation's id."""
    operation_id = draw(of)
    region = "osc-fr1" if operation_id == OPERATION_ID else draw(regions)
    fields: dict[str, st.SearchStrategy[Any]] = {
        "app": apps,
        "account": a_text(max_size=20),
        "created_at": times,
        "created_by": a_text(max_size=41),
        "timeout_s": st.integers(60, 86400),
        "notify_all": st.booleans(),
        "notify": st.lists(target_names, max_size=3).map(tuple),
        "context": st.dictionaries(a_text(), a_text(), max_size=3),
        "group": st.none() | a_text(max_size=200),
        "group_size": st.none() | st.integers(1, 1000),
        "run": st.integers(1, 99),
        "state": st.sampled_from(State),
        "next_look_at": st.none() | times,
        "claim": st.none() | a_text(),
        "operation": st.none() | operations,
        "polls": st.integers(0, 10**6),
        "last_polled_at": st.none() | times,
        "last_error": st.none() | a_text(),
        "missing_looks": st.integers(0, 99),
        "missing_since": st.none() | times,
        "refused_looks": st.integers(0, 99),
        "refused_since": st.none() | times,
        "unanswered_since": st.none() | times,
        "ended_at": st.none() | times,
        "duration_s": st.none() | _seconds,
        "usual": st.none() | usuals,
        "reason": st.none() | a_text(),
        "deliveries": st.lists(deliveries, max_size=3).map(tuple),
        "alerts": st.lists(alerts, max_size=2).map(tuple),
        "slow": st.none() | warnings,
        "live": st.lists(live_messages, max_size=2).map(tuple),
        "looks": st.lists(looks, max_size=3).map(tuple),
    }
    drawn = draw(st.fixed_dictionaries({**fields, **changes}))
    return with_ids(a_tracking(id=f"{region}-{operation_id}", region=region, operation_id=operation_id, **drawn))
