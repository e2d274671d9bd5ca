"""Decides which targets are told, by their rules and the caller's request. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase

from operations.kind import Kind
from operations.model import Delivery, DeliveryState, State, Tracking, Verdict

CLOSING, EACH, BOTH = "closing", "each", "both"
TOLD_WITH_GROUP = "told with its group"
"""Why a delivery is skipped that its group's closing message replaces."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a target wants to be told: which verdicts, of which apps, kinds and environments (patterns of names).

    `slow`: it wants warnings. `recovered`: it wants successes after failures. `live`: it wants one live message per
    operation. `groups`: how it is told about the operations of a group: by one message when all have ended, except
    failures (`closing`), by one for each (`each`), or by `both`.
    """

    on: frozenset[Verdict] = frozenset(Verdict)
    apps: tuple[str, ...] = ("*",)
    kinds: frozenset[Kind] = frozenset(Kind)
    environments: tuple[str, ...] = ("*",)
    slow: bool = False
    recovered: bool = False
    live: bool = False
    groups: str = EACH

    def closes(self, tracking: Tracking) -> bool:
        """Tell whether the target is told about the whole group of this tracking."""
        return tracking.group is not None and self.groups != EACH


Rules = Mapping[str, Rule]
"""The rule of every configured target, by the target's name."""


def deliveries(tracking: Tracking, verdict: Verdict, rules: Rules, now: datetime) -> tuple[Delivery, ...]:
    """Plan one delivery for each requested or configured target; `skipped` if its rule excludes the outcome."""
    return tuple(plan(tracking, verdict, name, rules, now) for name in _asked_for(tracking, rules))


def warned(tracking: Tracking, rules: Rules) -> tuple[str, ...]:
    """Return the targets that want a warning if this operation is slow."""
    return tuple(name for name, rule in rules.items() if rule.slow and is_told(tracking, name, rules))


def live(tracking: Tracking, rules: Rules) -> tuple[str, ...]:
    """Return the targets that want a live message of this operation alone."""
    wanting = (name for name, rule in rules.items() if rule.live and not rule.closes(tracking))
    return tuple(name for name in wanting if is_told(tracking, name, rules))


def is_told(tracking: Tracking, target: str, rules: Rules) -> bool:
    """Tell whether the target is told about this operation, at least if the verdict is in its `on`."""
    asked = target in _asked_for(tracking, rules) and _is_for(tracking, target, rules.get(target, Rule()))
    return asked and not _may_be_forged(tracking)


def plan(tracking: Tracking, verdict: Verdict, target: str, rules: Rules, now: datetime) -> Delivery:
    """Plan the delivery to one target: due now, or skipped by its rule.

    For a target requested by name, only the rule's `on` counts. A target that is no longer configured also gets a
    delivery, which ends `dead`: so the loss is visible.
    """
    rule = rules.get(target, Rule())
    unknown = _may_be_forged(tracking)
    told = verdict in rule.on or (rule.recovered and verdict is Verdict.SUCCEEDED and bool(tracking.failures_in_a_row))
    wanted = told and _is_for(tracking, target, rule) and not unknown
    grouped = wanted and verdict is Verdict.SUCCEEDED and rule.groups == CLOSING and tracking.group is not None
    with_group = grouped and now == tracking.ended_at  # a target that is named later is told at once
    wanted = wanted and not with_group
    return Delivery(
        id=delivery_id(tracking, tracking.run, verdict, target),
        target=target,
        run=tracking.run,
        verdict=verdict,
        state=DeliveryState.PENDING if wanted else DeliveryState.SKIPPED,
        next_attempt_at=now if wanted else None,
        planned_at=None if now == tracking.ended_at else now,
        last_error=TOLD_WITH_GROUP if with_group else None,
    )


def also_told(tracking: Tracking, names: tuple[str, ...], rules: Rules, now: datetime) -> Tracking:
    """Add the targets in `names` that are new to the tracking. If it has ended, their deliveries are due now."""
    known = set(tracking.notify) | {
        d.target for d in tracking.deliveries if d.run == tracking.run and d.state is not DeliveryState.SKIPPED
    }
    new = tuple(name for name in dict.fromkeys(names) if name not in known)
    if not new:
        return tracking
    after = replace(tracking, notify=tracking.notify + new)
    if after.ended_at is None or after.state is State.CANCELLED:
        return after
    kept = tuple(d for d in after.deliveries if d.run != after.run or d.target not in new)
    planned = tuple(plan(after, Verdict(after.state), name, rules, now) for name in new)
    return replace(after, deliveries=kept + planned)


def delivery_id(tracking: Tracking, run: int, verdict: Verdict | None, target: str) -> str:
    """Make the id of a delivery of a verdict, or (None) of a warning. It has no dots, as Standard Webhooks requires."""
    return f"{tracking.id}_{run}_{verdict or 'slow'}_{target}"


def _asked_for(tracking: Tracking, rules: Rules) -> tuple[str, ...]:
    names = rules if tracking.notify_all else ()
    return tuple(dict.fromkeys([*names, *tracking.notify]))


def _is_for(tracking: Tracking, target: str, rule: Rule) -> bool:
    of_kind = tracking.kind in rule.kinds and matches(tracking.context.get("environment", ""), rule.environments)
    return target in tracking.notify or (of_kind and matches(tracking.app, rule.apps))


def _may_be_forged(tracking: Tracking) -> bool:
    """Tell whether only an event told of a thing that the API never knew."""
    return tracking.by_event and tracking.state is State.LOST and tracking.operation is None


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a name matches one of the shell-style patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
