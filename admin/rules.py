"""Says what a target will be told, by its rules."""

from collections.abc import Iterator

from notifiers import Mentioning
from notifiers.targets import Target
from operations.kind import Kind
from operations.model import Verdict
from operations.telling.audience import Rule

_DEFAULT = Rule()


def in_words(target: Target) -> str:
    """Write what the target is told, and whom it mentions: `told of failed, recovered; apps shop-*`."""
    return "; ".join(_parts(target))


def _parts(target: Target) -> Iterator[str]:
    rule = target.rule
    on = [*(verdict for verdict in Verdict if verdict in rule.on), *("slow",) * rule.slow]
    if rule.recovered and Verdict.SUCCEEDED not in rule.on:
        on.append("recovered")
    yield f"told of {', '.join(on) or 'nothing'}"
    if rule.kinds != _DEFAULT.kinds:
        yield f"kinds {', '.join(kind for kind in Kind if kind in rule.kinds) or 'none'}"
    for name, patterns in (("apps", rule.apps), ("environments", rule.environments)):
        if patterns != ("*",):
            yield f"{name} {', '.join(patterns) or 'none'}"
    if isinstance(target.notifier, Mentioning) and target.notifier.mention is not None:
        verdicts = ", ".join(dict.fromkeys(target.notifier.mention_on)) or "alerts alone"
        yield f"mentions {target.notifier.mention} on {verdicts}"
