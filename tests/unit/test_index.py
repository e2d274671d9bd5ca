"""The index entries of a record, for any record and any earlier one."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from operations.errors import PermanentError
from operations.model import DeliveryState, Operation, State, Tracking, Verdict
from operations.storage import index
from operations.storage.clock import milliseconds
from operations.storage.index import COUNTERS, ChangeKind, IndexChange, index_changes
from operations.storage.tallies import tally_changes
from operations.storage.told import told_changes
from operations.telling import alerts
from tests.unit.strategies import NOW, OPERATION_ID, a_delivery, a_tracking, attempted_by, times, trackings

RETENTION = timedelta(days=7)
UNFINISHED = (DeliveryState.PENDING, DeliveryState.RETRYING)

Entries = dict[tuple[str, str], float]


def entries(tracking: Tracking) -> Entries:
    """List a record's entries in the sorted sets, by the rules."""
    there: Entries = {(index.RECENT, tracking.id): milliseconds(tracking.created_at)}
    if tracking.group is not None:
        there[f"opwatch:group:{tracking.group}", tracking.id] = milliseconds(tracking.created_at)
    if tracking.next_look_at is not None:
        there[index.DUE, tracking.id] = milliseconds(tracking.next_look_at)
    everything = [*tracking.deliveries, *tracking.alerts, *(tracking.slow.deliveries if tracking.slow else ())]
    for each in everything:
        if each.state in UNFINISHED and each.next_attempt_at is not None:
            there[index.OUTBOX, each.id] = milliseconds(each.next_attempt_at)
        if each.state is DeliveryState.RETRYING:
            there[index.RETRYING, f"{each.target} {each.id}"] = 0
        if each.state is DeliveryState.DEAD:
            at = milliseconds(each.ended_at or tracking.created_at)
            there[index.DEAD, f"{each.target} {each.id}"] = at
    written = {(index.LIVE, m.id): milliseconds(m.due_at) for m in tracking.live if m.due_at}
    there |= written
    if tracking.ended_at is not None:
        wrong = ["went-wrong"] * (tracking.state in ("failed", "timed_out", "lost"))
        there |= {(f"opwatch:{name}", tracking.id): milliseconds(tracking.ended_at) for name in ["by-end", *wrong]}
    unfinished = any(each.state in UNFINISHED for each in everything) or written
    if tracking.ended_at is not None and not unfinished:
        last = max([tracking.ended_at, *(each.ended_at for each in everything if each.ended_at is not None)])
        there[index.EXPIRING, tracking.id] = milliseconds(last + RETENTION)
        there[f"opwatch:ended-by:{tracking.created_by}", tracking.id] = milliseconds(last)
        if tracking.state is State.CANCELLED and not everything:
            there[f"opwatch:cancelled:{tracking.created_by}", tracking.id] = milliseconds(tracking.ended_at)
    return there


def changed(before: Entries, changes: list[IndexChange]) -> Entries:
    """Apply changes of scores as the script does."""
    after = dict(before)
    for change in (each for each in changes if each.kind is ChangeKind.SCORE):
        after.pop((change.key, change.member), None)
        if change.value is not None:
            after[change.key, change.member] = change.value
    return after


of_one_operation = trackings(of=st.just(OPERATION_ID))


@given(of_one_operation, of_one_operation)
def test_the_changes_lead_from_the_entries_of_one_record_to_those_of_the_next(old: Tracking, new: Tracking) -> None:
    first = changed({}, list(index_changes(None, old, RETENTION)))
    assert first == entries(old)
    assert changed(first, list(index_changes(old, new, RETENTION))) == entries(new)


@settings(max_examples=20)
@given(of_one_operation, of_one_operation)
def test_only_an_alert_that_is_news_marks_its_subject(old: Tracking, new: Tracking) -> None:
    known = {each.id for each in old.alerts}
    marks = [change for change in told_changes(old, new, RETENTION) if change.kind is ChangeKind.MARK]
    assert Counter(change.member for change in marks) == Counter(each.id for each in new.alerts if each.id not in known)
    assert [change for change in told_changes(new, new, RETENTION) if change.kind is ChangeKind.MARK] == []


def test_a_mark_is_named_after_the_target_and_lasts_an_hour() -> None:
    before = a_tracking(state=State.FAILED, next_look_at=None, ended_at=NOW, deliveries=(a_delivery(claim="ours"),))
    (delivery_id,) = (each.id for each in before.deliveries)
    dead = attempted_by(before, delivery_id, "ours", PermanentError("410 Gone"), NOW)
    assert dead is not None
    after = alerts.with_alert(dead, delivery_id, "ops", None, NOW)
    (alert,) = after.alerts
    (mark,) = (change for change in told_changes(before, after, RETENTION) if change.kind is ChangeKind.MARK)
    assert mark == IndexChange(ChangeKind.MARK, "opwatch:failing:slack", alert.id, 3600)


def test_a_wait_is_counted_once_with_what_ended_it() -> None:
    def counted(old: Tracking, new: Tracking) -> dict[str, int | None]:
        added = (change for change in tally_changes(old, new) if change.key == COUNTERS)
        return {change.member: change.value for change in added if change.member.startswith(("detection", "dwell"))}

    watched = a_tracking(
        operation=Operation(status="done", outcome=Verdict.SUCCEEDED, finished_at=NOW + timedelta(seconds=4))
    )
    ended = replace(watched, state=State.SUCCEEDED, next_look_at=None, ended_at=NOW + timedelta(seconds=6.5))
    assert counted(watched, ended) == {"detection:default:3": 1, "detection:default:ms": 2500}
    told = a_delivery(state=DeliveryState.DELIVERED, next_attempt_at=None, ended_at=NOW + timedelta(seconds=7))
    before, after = replace(ended, deliveries=(a_delivery(),)), replace(ended, deliveries=(told,))
    assert counted(before, after) == {"dwell:slack:0.5": 1, "dwell:slack:ms": 500}
    assert counted(after, replace(after, alerts=(replace(told, target="ops", verdict=None),))) == {}
    assert counted(watched, replace(watched, polls=2)) == {}


@settings(max_examples=20)
@given(of_one_operation, of_one_operation)
def test_orphans_are_entries_of_the_outbox_that_the_record_does_not_know(known: Tracking, former: Tracking) -> None:
    members = {member for each in (known, former) for key, member in entries(each) if key == index.OUTBOX}
    other = f"osc-fr1-{'0' * 24}_1_failed_slack"
    found = index.orphans(known, index.OUTBOX, [*members, other])
    assert set(found) == members - {m for key, m in entries(known) if key == index.OUTBOX}


@settings(max_examples=20)
@given(of_one_operation, times)
def test_nothing_is_left_of_a_record_that_is_deleted(tracking: Tracking, ended_at: datetime) -> None:
    over = replace(
        tracking,
        next_look_at=None,
        ended_at=ended_at,
        deliveries=tuple(replace(each, state=DeliveryState.DEAD) for each in tracking.deliveries),
        alerts=(),
        slow=None,
        live=(),
    )
    left_by_an_older_version = {(index.RETRYING, f"{d.target} {d.id}"): 0.0 for d in over.deliveries}
    assert set(entries(over)) | set(left_by_an_older_version) <= set(index.deletions(over))
