"""The duration, and the usual duration, in words."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifiers import context_wording, wording
from notifiers.time_wording import span
from operations.kind import Kind
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
        (15.2, 20.4, "15–20\u00a0s"),
        (14.6, 15.4, "15\u00a0s"),
        (9.7, 10.4, "10\u00a0s"),
        (3.4, 4.6, "3–5\u00a0s"),
        (0.43, 0.61, "0.4–0.6\u00a0s"),
        (0.43, 1.2, "0.4–1\u00a0s"),
        (0.96, 1.2, "1\u00a0s"),
        (45, 95, "45–95\u00a0s"),
        (100, 119.4, "100–119\u00a0s"),
        (100, 150, "2–3\u00a0min"),
        (121, 130, "2\u00a0min"),
        (40, 180, "40\u00a0s – 3\u00a0min"),
        (40, 9000, "40\u00a0s – 3\u00a0h"),
        (3000, 7000, "50–117\u00a0min"),
        (4000, 9000, "1–3\u00a0h"),
        (86_400, 86_400, "24\u00a0h"),
    ],
)
def test_what_is_usual_is_a_range_in_whole_units(p50: float, p90: float, said: str) -> None:
    assert span(usual(p50, p90)) == said


@given(usuals)
def test_a_range_says_what_is_usual_to_within_half_a_unit_and_never_backwards(each: Usual) -> None:
    said = span(each)
    match = re.fullmatch(
        r"(?:(?P<low>[\d.]+)(?:\u00a0(?P<own>s|min) – |–))?(?P<high>[\d.]+)\u00a0(?P<unit>s|min|h)", said
    )
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
        (Verdict.SUCCEEDED, "✅ shop: restart succeeded after 42\u00a0s (usually 15–20\u00a0s)"),
        (Verdict.FAILED, "❌ shop: restart failed after 42\u00a0s (usually 15–20\u00a0s)"),
        (
            Verdict.TIMED_OUT,
            "⏱️ shop: restart still running after 42\u00a0s (usually 15–20\u00a0s); Opwatch stopped watching",
        ),
        (Verdict.LOST, "❓ shop: restart: end unknown (Scalingo no longer knows this operation)"),
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
    assert line.replace(f" (usually {span(each)})", "") == wording.outcome(without)


@pytest.mark.parametrize(
    ("seconds", "said"), [(15, False), (20.4, False), (30, False), (31, True), (8, False), (7, True), (0.1, True)]
)
def test_what_is_usual_is_said_only_of_what_was_far_from_it(seconds: float, said: bool) -> None:  # noqa: FBT001
    assert ("usually" in wording.headline(replace(SHOP, usual=USUAL, duration_s=seconds))) is said
    assert "usually" in wording.headline(replace(SHOP, usual=USUAL, duration_s=seconds, ended=False))


@pytest.mark.parametrize(
    ("changes", "said", "cause"),
    [
        ({"reason": "still pending after 60 s; it may still succeed"}, "restart still pending after", "it may still"),
        ({"reason": "no usable answer for 900 s, the end is unknown"}, "restart end unknown after", "no usable"),
        ({"verdict": Verdict.LOST, "kind": Kind.BACKUP}, "restart: end unknown (Scalingo no longer knows this", ""),
        ({"verdict": Verdict.LOST, "reason": "the API refuses access to the app"}, "(Scalingo refuses access", "the"),
    ],
)
def test_what_is_unknown_is_not_claimed(changes: dict[str, Any], said: str, cause: str) -> None:
    told = replace(SHOP, **{"verdict": Verdict.TIMED_OUT, "error": None, **changes})
    assert said in wording.headline(told)
    assert wording.shown_cause(told).startswith(cause)
    stopped = told.verdict is Verdict.TIMED_OUT
    assert ("Opwatch stopped watching" in wording.headline(told)) is stopped
    assert ("42" in wording.headline(told)) is stopped


def test_environment_and_place_stand_behind_the_app() -> None:
    told = replace(SHOP, context={"environment": "production\n"}, place="osc-secnum-fr1")
    assert wording.app(told) == "shop (production, osc-secnum-fr1)"
    assert wording.app(replace(told, context={}, place="")) == "shop"
    assert len(wording.app(replace(told, context={"environment": "x" * 150}, place=""))) == len("shop ()") + 40


@pytest.mark.parametrize(
    ("repository", "commit", "url"),
    [
        ("https://github.com/a/b", "4f2c1aa9", "https://github.com/a/b/commit/4f2c1aa9"),
        ("https://gitlab.com/a/b.git", "4f2c1aa9", "https://gitlab.com/a/b/commit/4f2c1aa9"),
        ("https://bitbucket.org/a/b/", "4f2c1aa9", "https://bitbucket.org/a/b/commits/4f2c1aa9"),
        ("a/b", "4f2c1aa9", None),
        ("git@github.com:a/b.git", "4f2c1aa9", None),
        ("https://t:oken@github.com/a/b", "4f2c1aa9", None),
        ("https://github.com/a/b?x", "4f2c1aa9", None),
        ("javascript:alert(1)", "4f2c1aa9", None),
        ("https://github.com/a/b", "main", None),
        ("https://github.com/a/b", "../../x", None),
        ("https://github.com/" + "b" * 300, "4f2c1aa9", None),
    ],
)
def test_a_commit_links_to_its_repository(repository: str, commit: str, url: str | None) -> None:
    context = {"repository": repository, "commit": commit}
    assert dict(context_wording.links(context)) == ({} if url is None else {"commit 4f2c1aa9": url})
    shown = [*context_wording.known_context(context), *context_wording.other_context(context)]
    assert ("commit" in dict(shown)) is ("repository" in dict(shown)) is (url is None)


def test_people_are_told_of_every_state_in_words_that_differ() -> None:
    assert set(wording.WORDS) == set(wording.MARKS) == set(State)
    assert len(set(wording.WORDS.values())) == len(set(wording.MARKS.values())) == len(State)
    assert wording.WORDS[State.CANCELLED] == "cancelled"
    assert wording.DELIVERY_WORDS == {
        "pending": "pending", "retrying": "retrying", "delivered": "delivered", "dead": "given up", "skipped": "skipped"
    }  # fmt: skip
