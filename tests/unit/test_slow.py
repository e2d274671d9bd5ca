"""Warnings of slow operations: when, to which targets, and at how many extra looks."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notifiers import wording
from notifiers.slack.message import message
from operations.errors import OpwatchError, PermanentError, TransientError
from operations.model import DeliveryState, Operation, State, Tracking, Usual, Verdict
from operations.storage.records import decode, encode
from operations.telling import attempts, view
from operations.telling.announcement import BODY_LIMIT_BYTES, body_of, read, slow_body_of
from operations.telling.audience import Rule, Rules
from operations.watching import looks, pace, slow
from operations.watching.durations import Durations
from tests.support.slack_samples import CALLING
from tests.unit.strategies import NOW, a_tracking, attempted_by, attempting, trackings, usuals

RULES: Rules = {"all": Rule(), "early": Rule(slow=True), "blogs": Rule(on=frozenset(), apps=("blog",), slow=True)}
NOBODY: Rules = {"all": Rule()}
RUNNING, DONE = (
    Operation(status="running", type="restart", created_at=NOW),
    Operation(status="done", outcome=Verdict.SUCCEEDED, type="restart"),
)
SHORT = Durations.learn([1.0] * 10)
SLOW_FROM_S = 12.0


def look(
    tracking: Tracking,
    age_s: float,
    seen: Operation | OpwatchError = RUNNING,
    *,
    rules: Rules = RULES,
    durations: Durations = SHORT,
) -> Tracking:
    """Look at a tracking that began at NOW, and plan what follows, as a worker does."""
    now = NOW + timedelta(seconds=age_s)
    after = looks.after_look(
        looks.claimed(tracking, "ours", now), "ours", seen, now=now, durations=durations, rules=rules
    )
    assert after is not None
    return after


def warned(age_s: float = SLOW_FROM_S, **changes: Any) -> Tracking:
    """Return a tracking that was found slow."""
    tracking = look(a_tracking(**changes), age_s)
    assert tracking.slow is not None
    return tracking


def told(tracking: Tracking) -> dict[str, str]:
    """Return the state of the warning to each target."""
    return {d.target: d.state.value for d in tracking.slow.deliveries} if tracking.slow else {}


# When


@pytest.mark.parametrize(
    ("usual", "from_s"),
    [
        (None, float("inf")),
        (Usual(p50=15, p90=20, samples=4), float("inf")),
        (Usual(p50=15, p90=20, samples=5), 50),
        (Usual(p50=1, p90=1, samples=50), SLOW_FROM_S),
        (Usual(p50=0, p90=0, samples=5), 10),
    ],
)
def test_an_operation_is_slow_from_twice_what_nine_in_ten_take_and_ten_seconds_more(
    usual: Usual | None, from_s: float
) -> None:
    assert slow.slow_from_s(usual) == from_s


@given(usuals)
def test_nothing_is_slow_while_it_takes_what_is_usual(usual: Usual) -> None:
    assert slow.slow_from_s(usual) > 1.99 * usual.p90 + 9


@pytest.mark.parametrize(
    ("age_s", "seen", "expected"),
    [
        (11.999, RUNNING, {}),
        (12, RUNNING, {"early": "pending"}),
        (3599, RUNNING, {"early": "pending"}),
        (12, Operation(status="queued"), {"early": "pending"}),
        (12, TransientError("500"), {}),  # its state is unknown
        (12, DONE, {}),
        (3600, RUNNING, {}),  # timed out
    ],
)
def test_a_warning_is_planned_by_the_look_that_finds_it_unfinished_and_slow(
    age_s: float, seen: Operation | OpwatchError, expected: dict[str, str]
) -> None:
    after = look(a_tracking(), age_s, seen)
    assert told(after) == expected
    for delivery in after.slow.deliveries if after.slow else ():
        assert (delivery.next_attempt_at, delivery.run, delivery.verdict) == (after.last_polled_at, 1, None)
        assert delivery.id == f"{after.id}_1_slow_early"
        assert delivery in after.outgoing


def test_the_age_counts_from_the_operations_own_beginning() -> None:
    began_before = replace(RUNNING, created_at=NOW - timedelta(seconds=11))
    assert told(look(a_tracking(), 1, began_before)) == {"early": "pending"}
    assert told(look(a_tracking(), 1, replace(RUNNING, created_at=NOW - timedelta(days=2)))) == {}


def test_one_warning_in_a_run_is_enough() -> None:
    first = warned()
    again = look(first, 100)
    assert again.slow == first.slow
    ended = look(again, 3600)
    assert ended.state is State.TIMED_OUT
    anew = looks.started_anew(ended, a_tracking())
    assert anew.slow is None
    second = look(anew, 50)
    assert second.slow is not None
    (delivery,) = second.slow.deliveries
    assert delivery.id == f"{anew.id}_2_slow_early"


# Who


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"early"}),
        ({"app": "blog"}, {"early", "blogs"}),
        ({"notify": ("blogs",)}, {"early", "blogs"}),  # for a name, the rule for apps does not count
        ({"notify_all": False, "notify": ("blogs", "blogs")}, {"blogs"}),
        ({"notify_all": False, "notify": ("all",)}, set()),  # but `on` does
        ({"notify_all": False, "notify": ("gone",)}, set()),
        ({"notify_all": False}, set()),
    ],
)
def test_who_asked_for_it_is_warned_as_names_and_apps_have_it(changes: dict[str, Any], expected: set[str]) -> None:
    assert set(told(look(a_tracking(**changes), 12))) == expected


# How many looks


@pytest.mark.parametrize("rules", [NOBODY, {}, {"blogs": RULES["blogs"]}])
@pytest.mark.parametrize("age_s", [11, 12, 100])
def test_where_nobody_asked_for_it_nothing_changes(rules: Rules, age_s: int) -> None:
    now = NOW + timedelta(seconds=age_s)
    claimed = looks.claimed(a_tracking(), "ours", now)

    def after(rules: Rules) -> Tracking | None:
        return looks.after_look(claimed, "ours", RUNNING, now=now, durations=SHORT, rules=rules)

    assert after(rules) == after({}) is not None
    assert after(rules) != after(RULES)


def looks_until(ends_at_s: float, rules: Rules, durations: Durations) -> list[float]:
    """Return the ages at the looks until an operation's end, each look made when due."""
    tracking, ages_s = a_tracking(), [1.0]
    while ages_s[-1] < ends_at_s:
        tracking = look(tracking, ages_s[-1], rules=rules, durations=durations)
        assert tracking.next_look_at is not None
        ages_s.append((tracking.next_look_at - NOW).total_seconds())
    return ages_s


@settings(max_examples=40)
@given(st.lists(st.floats(0.5, 600), min_size=5, max_size=50), st.floats(1, 3000))
@example([1.0, 1.0, 1.0, 1.0, 508.8719222699745], 1884.0)
def test_a_warning_costs_two_looks_at_most_and_comes_when_the_age_is_reached(
    known_s: list[float], ends_at_s: float
) -> None:
    durations = Durations.learn(known_s)
    without, ages_s = looks_until(ends_at_s, NOBODY, durations), looks_until(ends_at_s, RULES, durations)
    from_s = slow.slow_from_s(durations.usual)
    assert [age_s for age_s in ages_s if age_s < from_s - pace.LONGEST_WAIT_S] == [
        age_s for age_s in without if age_s < from_s - pace.LONGEST_WAIT_S
    ]
    assert len(ages_s) <= len(without) + 2  # its own, and the next ones come earlier: the last before the end, too
    if ends_at_s > from_s + pace.SHORTEST_WAIT_S:
        first = next(age_s for age_s in ages_s if age_s >= from_s - 1e-3)
        assert first <= from_s + pace.SHORTEST_WAIT_S


def test_durations_beyond_all_reason_are_no_fault() -> None:
    eons = Durations.learn([2e11] * 9)
    assert look(a_tracking(), 5, durations=eons) == look(a_tracking(), 5, durations=eons, rules=NOBODY)


# What follows


@pytest.mark.parametrize("error", [None, TransientError("500"), PermanentError("410 Gone")])
def test_an_attempt_counts_for_the_warning_alone(error: OpwatchError | None) -> None:
    before = warned()
    (name,) = (d.id for d in before.outgoing)
    begun = attempting(before, frozenset({name}), "mine", NOW)
    after = attempted_by(begun, name, "mine", error, NOW)
    assert after is not None
    assert replace(after, slow=None) == replace(before, slow=None)
    assert after.slow is not None
    (delivery,) = after.slow.deliveries
    assert delivery.attempts == 1
    assert delivery.unfinished == isinstance(error, TransientError)
    released = attempts.released(begun, name, "mine", NOW)
    assert released is not None
    assert released.slow is not None
    assert released.slow.deliveries[0].attempts == 0
    assert attempts.retried(after, "early", NOW) is None, "callers do not see it"
    assert view.as_json(after)["deliveries"] == []


@pytest.mark.parametrize("state", DeliveryState)
@pytest.mark.parametrize("ending", ["done", "timed out", "cancelled"])
def test_what_is_not_told_before_the_end_is_skipped(state: DeliveryState, ending: str) -> None:
    before = warned()
    assert before.slow is not None
    (delivery,) = before.slow.deliveries
    delivery = replace(delivery, state=state, claim="theirs" if delivery.unfinished else None)
    before = replace(before, slow=replace(before.slow, deliveries=(delivery,)))
    if ending == "cancelled":
        ended = looks.cancelled(before, NOW)
    else:
        ended = look(before, 20 if ending == "done" else 3600, DONE if ending == "done" else RUNNING)
    assert ended is not None
    assert ended.slow is not None
    (after,) = ended.slow.deliveries
    if delivery.unfinished:
        assert (after.state, after.next_attempt_at, after.claim) == (DeliveryState.SKIPPED, None, None)
        assert attempted_by(ended, after.id, "theirs", None, NOW) is None
    else:
        assert after == delivery
    assert [d.target for d in ended.deliveries] == ([] if ending == "cancelled" else ["all", "early", "blogs"])


@given(trackings(state=st.sampled_from([State.TRACKING]), ended_at=st.none(), slow=st.none()), usuals)
def test_any_warning_is_stored_and_read_back(tracking: Tracking, usual: Usual) -> None:
    at = tracking.created_at + timedelta(seconds=slow.slow_from_s(replace(usual, p90=60.0, samples=5)))
    found = replace(
        tracking,
        usual=replace(usual, p50=1.0, p90=60.0, samples=5),
        last_polled_at=at,
        next_look_at=at,
        unanswered_since=None,
        notify_all=True,
        notify=(),
    )
    after = slow.watched(found, RULES)
    assert decode(encode(after)) == after
    assert after.slow is not None
    assert decode(encode(replace(after, slow=None))) == found


# In words


def test_the_body_holds_the_tracking_and_the_age() -> None:
    after = warned(65.0004, context={"actor": "jane"})
    assert after.slow is not None
    document = json.loads(after.slow.body)
    assert document["type"] == "operation.slow"
    assert document["timestamp"] == document["data"]["last_polled_at"] == view.timestamp(after.last_polled_at)
    assert document["data"].pop("age_s") == 65.0
    assert document["data"].pop("error_truncated") is False
    assert document["data"] == view.without_deliveries(after)
    assert (document["data"]["state"], document["data"]["duration_s"]) == ("tracking", None)


@pytest.mark.parametrize("char", ["x", '"', "日", "\n"])
def test_the_longest_texts_of_all_together_stay_below_20_kB(char: str) -> None:  # noqa: N802
    after = warned(
        app="a" * 64,
        id="r" * 41 + "-" + "f" * 24,
        region="r" * 41,
        account="a" * 41,
        created_by="c" * 41,
        context={f"key-{number:02}": char * (380 // len(json.dumps(char)[1:-1].encode())) for number in range(10)},
        group=char * 200,
    )
    assert after.slow is not None
    assert len(after.slow.body.encode()) < BODY_LIMIT_BYTES


def test_a_warning_says_for_how_long_it_has_run_and_what_is_usual() -> None:
    tracking = replace(warned(65), usual=Usual(p50=15.2, p90=20.4, samples=23))
    body = slow_body_of(tracking, 65.2, NOW)
    announcement = read("an-id", body)
    line = "⏳ shop: restart still running after 1\u00a0min 5\u00a0s (usually 15–20\u00a0s)"
    assert wording.headline(announcement) == line
    assert wording.explanation(announcement) == ""
    assert (announcement.slow, announcement.ended, announcement.body) == (True, False, body)
    built = message(announcement, CALLING.mention_for(announcement))
    assert built["text"] == line, "nothing has failed yet, so nobody is mentioned"
    assert [block["text"]["text"] for block in built["blocks"]] == [
        "⏳ *shop*: restart *still running after 1\u00a0min 5\u00a0s* (usually 15–20\u00a0s)"
    ]
    outcome = read("an-id", body_of(replace(tracking, state=State.LOST, ended_at=NOW)))
    assert (outcome.slow, outcome.verdict) == (False, Verdict.LOST)
