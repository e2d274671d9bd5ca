"""Learned durations, and queries about them."""

from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from operations.watching.durations import FADE, KEPT, WEIGHT_OF_TYPE, Durations

durations_s = st.floats(0.1, 10_000)
samples = st.lists(durations_s, max_size=KEPT)


def running(known: Durations, age_s: float) -> float:
    """Return the share that still runs at an age, from the points."""
    ages_s, weights = [*known.ages_s, age_s + 1e9], [*known.running, 0.0]
    after = next(point for point, at_s in enumerate(ages_s) if at_s > age_s)
    share = (age_s - ages_s[after - 1]) / (ages_s[after] - ages_s[after - 1])
    return weights[after - 1] + (weights[after] - weights[after - 1]) * share


@given(samples, samples, durations_s, durations_s)
def test_the_unseen_time_is_the_mean_over_the_durations_still_possible(
    own_s: list[float], of_type_s: list[float], one_s: float, other_s: float
) -> None:
    known, (seen_at_s, age_s) = Durations.learn(own_s, of_type_s), sorted((one_s, other_s))
    # The mean of max(0, age - duration) is the integral of the probability that it has ended by then.
    steps = sorted({seen_at_s, age_s, *(at_s for at_s in known.ages_s if seen_at_s < at_s < age_s)})
    ended = [1 - running(known, at_s) / running(known, seen_at_s) for at_s in steps]
    mean_s = sum(
        (to - start) * (p + q) / 2 for (start, to), (p, q) in zip(pairwise(steps), pairwise(ended), strict=True)
    )
    assert known.unseen_s(seen_at_s, age_s) == pytest.approx(mean_s, rel=1e-6, abs=1e-6)


@given(samples, samples)
@example([0.5] * 3, [0.5] * 3)
@example([319.0, 0.125], [0.125])
def test_the_weight_that_runs_only_falls_from_all_to_nothing(own_s: list[float], of_type_s: list[float]) -> None:
    known = Durations.learn(own_s, of_type_s)
    assert list(known.running) == sorted(known.running, reverse=True)
    assert known.running[-1] == 0
    assert list(known.ages_s) == sorted(set(known.ages_s))


@given(samples, durations_s, st.floats(0.01, 100))
def test_the_age_is_the_one_at_which_that_time_is_reached(
    own_s: list[float], seen_at_s: float, wanted_s: float
) -> None:
    known = Durations.learn(own_s)
    age_s = known.age_s(seen_at_s, wanted_s)
    assert age_s >= seen_at_s + wanted_s * (1 - 1e-6)
    assert known.unseen_s(seen_at_s, age_s) == pytest.approx(wanted_s, rel=1e-4)


@given(samples, durations_s, durations_s, durations_s)
def test_the_unseen_time_grows_with_age_and_no_faster(own_s: list[float], a_s: float, b_s: float, c_s: float) -> None:
    seen_at_s, one_s, other_s = sorted((a_s, b_s, c_s))
    assume(other_s > one_s)
    known = Durations.learn(own_s)
    before_s, after_s = known.unseen_s(seen_at_s, one_s), known.unseen_s(seen_at_s, other_s)
    assert -1e-6 <= after_s - before_s <= (other_s - one_s) * (1 + 1e-9) + 1e-6


def test_beyond_everything_known_it_has_ended() -> None:
    known = Durations.learn()
    assert known.age_s(1e9, 0.2) == 1e9 + 0.2
    assert known.unseen_s(1e9, 1e9 + 7) == 7


def test_nothing_is_impossible_however_much_was_learned() -> None:
    known = Durations.learn([30.0] * KEPT)
    assert 0 < known.unseen_s(40.0, 80.0) < 40
    assert known.age_s(40.0, 0.2) < 60


def test_newer_durations_count_more_than_older_ones() -> None:
    slower_now = Durations.learn([90.0] * 12 + [30.0] * 38).usual
    assert slower_now is not None
    assert slower_now.p90 == 90.0
    assert pytest.approx(0.5, abs=0.01) == FADE**23
    two_in_five_new = Durations.learn([90.0] * 20 + [30.0] * 30).usual
    assert two_in_five_new is not None
    assert two_in_five_new.p50 == 90.0


def test_what_is_learned_of_the_app_outweighs_what_is_learned_of_the_type() -> None:
    own_s, of_type_s = [20.0] * 6, [200.0] * KEPT
    both, alone = Durations.learn(own_s, of_type_s), Durations.learn(own_s)
    assert both.usual == alone.usual
    assert both.running[0] == pytest.approx(alone.running[0] + WEIGHT_OF_TYPE)
    for_another = Durations.learn((), of_type_s)
    assert for_another.usual is None
    assert for_another.age_s(60.0, 0.2) > Durations.learn().age_s(60.0, 0.2)


def test_from_fewer_than_three_nothing_is_called_usual() -> None:
    assert Durations.learn([20.0, 21.0]).usual is None
    usual = Durations.learn([20.0, 22.0, 21.0]).usual
    assert usual is not None
    assert (usual.p50, usual.p90, usual.samples) == (21.0, 22.0, 3)
