"""The history of looks and attempts: short, bounded, and true."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from operations.errors import OpwatchError, PermanentError, TransientError
from operations.history import Attempt, Looks
from operations.model import Operation, State, Verdict
from operations.storage.records import decode, encode
from operations.telling import attempts, view
from operations.telling.announcement import body_of
from operations.telling.attempts import ATTEMPTS_KEPT, with_attempt
from operations.watching import looks as watching
from operations.watching.durations import Durations
from operations.watching.looks import LOOKS_KEPT, with_look
from tests.unit.strategies import NOW, a_delivery, a_tracking, attempted_by, attempting

SECOND = timedelta(seconds=1)


def looks(*met: tuple[str, bool]) -> tuple[Looks, ...]:
    """Look once a second."""
    known: tuple[Looks, ...] = ()
    for number, (what, failed) in enumerate(met):
        known = with_look(known, what, NOW + number * SECOND, failed=failed)
    return known


def test_looks_that_meet_the_same_are_one_entry() -> None:
    assert looks(("pending", False), ("running", False), ("running", False), ("running", False)) == (
        Looks(what="pending", first_at=NOW),
        Looks(what="running", first_at=NOW + SECOND, last_at=NOW + 3 * SECOND, times=3),
    )


def test_a_failure_is_no_answer_even_if_it_has_the_same_words() -> None:
    assert [each.failed for each in looks(("running", False), ("running", True))] == [False, True]


@given(st.lists(st.sampled_from([("pending", False), ("running", False), ("away", True)]), min_size=1, max_size=90))
def test_the_first_and_the_latest_entries_are_kept(met: list[tuple[str, bool]]) -> None:
    known = looks(*met)
    assert len(known) <= LOOKS_KEPT
    assert known[0].first_at == NOW
    assert (known[-1].what, known[-1].failed) == met[-1]
    assert (known[-1].last_at or known[-1].first_at) == NOW + (len(met) - 1) * SECOND
    if len(known) < LOOKS_KEPT:
        assert sum(each.times for each in known) == len(met)


def test_texts_are_kept_in_short_and_without_control_characters() -> None:
    long = "\x1b[31mno\u202e answer\n" + "x" * 1000
    assert looks((long, True))[0].what == "no answer"
    (attempt,) = with_attempt((), "x" * 1000, NOW)
    assert attempt.error is not None
    assert len(attempt.error) < 200


def test_the_latest_attempts_are_kept() -> None:
    known: tuple[Attempt, ...] = ()
    for number in range(2 * ATTEMPTS_KEPT):
        known = with_attempt(known, str(number), NOW + number * SECOND)
    assert [each.error for each in known] == [str(number) for number in range(ATTEMPTS_KEPT, 2 * ATTEMPTS_KEPT)]


def test_each_look_adds_to_the_history_of_its_tracking() -> None:
    tracking = a_tracking()
    met: list[Operation | OpwatchError] = [
        Operation(status="running"),
        TransientError("away"),
        Operation(status="done", outcome=Verdict.SUCCEEDED),
    ]
    for number, seen in enumerate(met):
        at = NOW + number * SECOND
        after = watching.after_look(
            watching.claimed(tracking, "ours", at), "ours", seen, now=at, durations=Durations.learn(), rules={}
        )
        assert after is not None
        tracking = after
    assert [(each.what, each.failed) for each in tracking.looks] == [
        ("running", False),
        ("away", True),
        ("done", False),
    ]


def test_each_attempt_adds_to_the_history_of_its_delivery() -> None:
    delivery = a_delivery()
    tracking = a_tracking(state=State.FAILED, next_look_at=None, ended_at=NOW, deliveries=(delivery,))
    name = delivery.id
    for error in (TransientError("500 Internal Server Error"), PermanentError("410 Gone"), None):
        if not tracking.deliveries[0].unfinished:
            tracking = attempts.retried(tracking, "slack", NOW) or tracking
        begun = attempting(tracking, frozenset({name}), "ours", NOW)
        tracking = attempted_by(begun, name, "ours", error, NOW) or tracking
    assert [each.error for each in tracking.deliveries[0].history] == ["500 Internal Server Error", "410 Gone", None]


def test_neither_answers_nor_announcements_carry_it() -> None:
    known = looks(("marker-of-a-look", False))
    ended = {"state": State.FAILED, "next_look_at": None, "ended_at": NOW}
    silent = a_tracking(**ended, deliveries=(a_delivery(),))
    told = a_tracking(**ended, deliveries=(a_delivery(history=with_attempt((), "x", NOW)),), looks=known)
    assert (body_of(told), view.as_json(told)) == (body_of(silent), view.as_json(silent))


def test_a_usual_watch_takes_two_hundred_bytes_more() -> None:
    usual = looks(*[("pending", False)] * 3, *[("running", False)] * 9)
    record = encode(a_tracking(looks=usual))
    assert len(record) - len(encode(a_tracking())) <= 230
    assert decode(record).looks == usual
