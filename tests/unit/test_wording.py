"""The duration, and the usual duration, in words."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifiers import wording
from notifiers.time_wording import span
from operations.model import State, Usual, Verdict
from operations.telling.announcement import Announcement
from tests.unit.strategies import usuals
from tests.unit.test_slack_message import SHOP

UNITS_S = {"s": 1, "min": 60, "h": 3600}
USUAL = Usual(p50=15.2, p90=20.4, samples=23)


def usual(p50: float, p90: float) -> Usual:
    return Usual(p50=p50, p90=p90, samples=9)


@pytest.mark.parametrize(
    ("p50", "p90", "said"),
    [
        (15.2, 20.4, "15–20 s"),
        (14.6, 15.4, "15 s"),
        (9.7, 10.4, "10 s"),
        (3.4, 4.6, "3–5 s"),
        (0.43, 0.61, "0.4–0.6 s"),
        (0.43, 1.2, "0.4–1 s"),
        (0.96, 1.2, "1 s"),
        (45, 95, "45–95 s"),
        (100, 119.4, "100–119 s"),
        (100, 150, "2–3 min"),
        (121, 130, "2 min"),
        (40, 180, "40 s – 3 min"),
        (40, 9000, "40 s – 3 h"),
        (3000, 7000, "50–117 min"),
        (4000, 9000, "1–3 h"),
        (86_400, 86_400, "24 h"),
    ],
)
def test_what_is_usual_is_a_range_in_whole_units(p50: float, p90: float, said: str) -> None:
    assert span(usual(p50, p90)) == said


@given(usuals)
def test_a_range_says_what_is_usual_to_within_half_a_unit_and_never_backwards(each: Usual) -> None:
    said = span(each)
    match = re.fullmatch(r"(?:(?P<low>[\d.]+)(?: (?P<own>s|min) – |–))?(?P<high>[\d.]+) (?P<unit>s|min|h)", said)
    assert match is not None, said
    unit_s = UNITS_S[match["unit"]]
    assert float(match["high"]) * unit_s == pytest.approx(each.p90, abs=unit_s * 0.5001)
    low_unit_s = UNITS_S[match["own"] or match["unit"]]
    low_s = float(match["low"] or match["high"]) * low_unit_s
    assert low_s == pytest.approx(each.p50, abs=low_unit_s * 0.5001)
    assert low_s <= float(match["high"]) * unit_s
    assert match["low"] != match["high"] or match["own"]
    assert "." not in said or each.p50 < 1


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict.SUCCEEDED, "✅ shop: restart succeeded after 42\u00a0s (usually 15–20 s)"),
        (Verdict.FAILED, "❌ shop: restart failed after 42\u00a0s (usually 15–20 s)"),
        (Verdict.TIMED_OUT, "⏱️ shop: restart not finished after 42\u00a0s (usually 15–20 s)"),
        (Verdict.LOST, "❓ shop: restart lost from sight after 42\u00a0s"),
    ],
)
def test_an_outcome_is_compared_with_what_is_usual(verdict: Verdict, said: str) -> None:
    assert wording.headline(replace(SHOP, verdict=verdict, usual=USUAL)) == said


@pytest.mark.parametrize("announcement", [SHOP, replace(SHOP, usual=USUAL, duration_s=None)])
def test_where_either_is_unknown_nothing_is_compared(announcement: Announcement) -> None:
    assert wording.compared(announcement) == ""
    assert "usually" not in wording.headline(announcement)


@given(st.sampled_from(Verdict), st.none() | st.floats(0, 1e6), usuals)
def test_what_is_usual_is_said_behind_a_line_that_stays_as_it_was(
    verdict: Verdict, duration_s: float | None, each: Usual
) -> None:
    without = replace(SHOP, verdict=verdict, duration_s=duration_s)
    line = wording.outcome(replace(without, usual=each))
    assert line in (wording.outcome(without), f"{wording.outcome(without)} (usually {span(each)})")


def test_people_are_told_of_every_state_in_words_that_differ() -> None:
    assert set(wording.WORDS) == set(wording.MARKS) == set(State)
    assert len(set(wording.WORDS.values())) == len(set(wording.MARKS.values())) == len(State)
    assert wording.WORDS[State.CANCELLED] == "cancelled"
    assert wording.DELIVERY_WORDS == {
        "pending": "pending", "retrying": "retrying", "delivered": "delivered", "dead": "given up", "skipped": "skipped"
    }  # fmt: skip
