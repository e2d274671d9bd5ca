"""Which targets are told of an outcome."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.kind import Kind
from operations.model import DeliveryState, Verdict
from operations.telling import audience
from operations.telling.audience import Rule
from tests.unit.strategies import NOW, a_tracking, target_names

FAILURES = frozenset({Verdict.FAILED, Verdict.TIMED_OUT, Verdict.LOST})
RULES = {
    "all": Rule(),
    "failures": Rule(on=FAILURES),
    "blog": Rule(apps=("blog-*", "blog")),
    "shop": Rule(apps=("sh?p",)),
}
NARROW = {
    "deployments": Rule(kinds=frozenset({Kind.DEPLOYMENT})),
    "production": Rule(environments=("prod*", "live")),
    "news": Rule(on=frozenset({Verdict.FAILED}), recovered=True),
}


def told(verdict: Verdict, **changes: Any) -> dict[str, str]:
    """Return the state of each planned delivery, by target."""
    planned = audience.deliveries(a_tracking(**changes), verdict, RULES, NOW)
    assert len({d.target for d in planned}) == len(planned), "one delivery per target"
    return {d.target: d.state.value for d in planned}


P, S = "pending", "skipped"


@pytest.mark.parametrize(
    ("verdict", "changes", "expected"),
    [
        (Verdict.SUCCEEDED, {}, {"all": P, "failures": S, "blog": S, "shop": P}),
        (Verdict.FAILED, {}, {"all": P, "failures": P, "blog": S, "shop": P}),
        (Verdict.LOST, {"app": "blog-eu"}, {"all": P, "failures": P, "blog": P, "shop": S}),
        (Verdict.FAILED, {"notify_all": False}, {}),
        (Verdict.FAILED, {"notify_all": False, "notify": ("blog",)}, {"blog": P}),
        (Verdict.SUCCEEDED, {"notify_all": False, "notify": ("failures", "all")}, {"failures": S, "all": P}),
        (Verdict.FAILED, {"notify_all": False, "notify": ("gone",)}, {"gone": P}),
        (Verdict.FAILED, {"notify": ("blog",)}, {"all": P, "failures": P, "blog": P, "shop": P}),
        (Verdict.FAILED, {"notify_all": False, "notify": ("all", "all")}, {"all": P}),
        (Verdict.FAILED, {"notify": ("gone", "gone")}, {"all": P, "failures": P, "blog": S, "shop": P, "gone": P}),
    ],
)
def test_rules_and_names_decide_who_is_told(
    verdict: Verdict, changes: dict[str, Any], expected: dict[str, str]
) -> None:
    assert told(verdict, **changes) == expected


@pytest.mark.parametrize(
    ("verdict", "changes", "expected"),
    [
        (Verdict.SUCCEEDED, {}, []),
        (Verdict.SUCCEEDED, {"kind": Kind.DEPLOYMENT, "failures_in_a_row": 0}, ["deployments"]),
        (Verdict.SUCCEEDED, {"context": {"environment": "production"}, "failures_in_a_row": 1}, ["production", "news"]),
        (Verdict.FAILED, {"context": {"environment": "Production"}, "failures_in_a_row": 1}, ["news"]),
        (Verdict.LOST, {"kind": Kind.BACKUP, "context": {"environment": "live"}}, ["production"]),
        (Verdict.TIMED_OUT, {"notify_all": False, "notify": tuple(NARROW)}, ["deployments", "production"]),
        (Verdict.SUCCEEDED, {"notify_all": False, "notify": ("news",), "failures_in_a_row": 2}, ["news"]),
    ],
)
def test_kinds_environments_and_failures_before_decide_who_is_told(
    verdict: Verdict, changes: dict[str, Any], expected: list[str]
) -> None:
    tracking = a_tracking(**changes)
    planned = audience.deliveries(tracking, verdict, NARROW, NOW)
    assert [d.target for d in planned if d.state is DeliveryState.PENDING] == expected
    slow = {name: replace(rule, slow=True, live=True) for name, rule in NARROW.items()}
    fitting = {*expected} - {"news"} if verdict is not Verdict.TIMED_OUT else {*NARROW} - {"news"}
    assert {*audience.warned(tracking, slow)} - {"news"} == {*audience.live(tracking, slow)} - {"news"} == fitting


@given(st.sampled_from(Verdict), st.lists(target_names, max_size=4, unique=True), st.booleans(), st.integers(1, 9))
def test_every_planned_delivery_is_due_at_once_or_skipped(
    verdict: Verdict,
    named: list[str],
    everyone: bool,  # noqa: FBT001
    run: int,
) -> None:
    tracking = a_tracking(notify=tuple(named), notify_all=everyone, run=run)
    planned = audience.deliveries(tracking, verdict, RULES, NOW)
    assert {d.target for d in planned} == {*named, *(RULES if everyone else ())}
    for delivery in planned:
        assert (delivery.run, delivery.verdict, delivery.attempts) == (run, verdict, 0)
        assert delivery.next_attempt_at == (NOW if delivery.state is DeliveryState.PENDING else None)


@pytest.mark.parametrize(
    ("app", "patterns", "expected"),
    [("shop", ("*",), True), ("shop", (), False), ("shop", ("shop-*",), False), ("shop-eu", ("a", "shop-*"), True)],
)
def test_an_app_matches_shell_patterns(app: str, patterns: tuple[str, ...], expected: bool) -> None:  # noqa: FBT001
    assert audience.matches(app, patterns) is expected
