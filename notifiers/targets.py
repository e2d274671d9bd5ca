"""Targets: a name, a rule, and a notifier made from settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from notifiers import Notifier, editing, kinds
from operations.errors import ConfigError
from operations.kind import Kind
from operations.model import Verdict
from operations.telling.audience import CLOSING, Rule

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_UNKNOWN = "there is no such rule or field"
_WORDS = {
    "Field required": "is not set",
    "Extra inputs are not permitted": _UNKNOWN,
    "Input should be a valid tuple": 'must be a list, as in ["…"]',
}
"""Messages of Pydantic, in words of the documentation."""

_Event = Literal["succeeded", "failed", "timed_out", "lost", "slow", "recovered"]
"""The events of a rule: each verdict, that an operation is slow, and a success after failures."""

People = Mapping[str, str | Mapping[str, str]]
"""How people are mentioned, by the name of the actor: in all kinds alike, or by kind."""


@dataclass(frozen=True, slots=True)
class Target:
    """A place to deliver to, and the rule for what is delivered."""

    name: str
    kind: str
    rule: Rule
    notifier: Notifier


class _Rules(BaseModel):
    """The settings of every kind."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    on: tuple[_Event, ...] = tuple(verdict.value for verdict in Verdict)
    apps: tuple[str, ...] = ("*",)
    groups: Literal["closing", "each", "both"] | None = None
    kinds: tuple[Kind, ...] = tuple(Kind)
    environments: tuple[str, ...] = ("*",)

    def rule(self, *, live: bool, groups: str) -> Rule:
        """Make the rule of the target; `groups` is the kind's default."""
        return Rule(
            on=frozenset(Verdict(each) for each in self.on if each in set(Verdict)),
            apps=self.apps,
            kinds=frozenset(self.kinds),
            environments=self.environments,
            slow="slow" in self.on,
            recovered="recovered" in self.on,
            live=live,
            groups=self.groups or groups,
        )


def build(
    name: str, table: Mapping[str, Any], environ: Mapping[str, str], *, plain_http: bool, people: People | None = None
) -> Target:
    """Make a target from its table. `${NAME}` is read from `environ`. Raises ConfigError, which lists every fault."""
    where = f"target {name!r}"
    if NAME.fullmatch(name) is None:
        raise ConfigError([f"{where}: a name consists of a-z, 0-9, _ and -, at most 41 characters"])
    faults: list[str] = []
    settings = expanded(dict(table), environ, where, faults)
    kind = str(settings.pop("kind", ""))
    known = kinds()
    if kind not in known:
        raise ConfigError([f"{where}: kind {table.get('kind', '')!r} is not known; known: {', '.join(sorted(known))}"])
    own = {key: value for key, value in settings.items() if key not in _Rules.model_fields}
    rules: _Rules | None = _validated(_Rules, settings, where, faults)
    mentions = {who: given if isinstance(given, str) else given.get(kind) for who, given in (people or {}).items()}
    context = {"plain_http": plain_http, "people": mentions}
    notifier: Notifier | None = _validated(known[kind].load(), own, where, faults, context)
    if faults or rules is None or notifier is None:
        raise ConfigError(faults)
    groups = str(getattr(notifier, "groups", CLOSING))
    rule = rules.rule(live=editing(notifier) is not None, groups=groups)
    if rule.live and rule.on != frozenset(Verdict):
        raise ConfigError(
            [f"{where}: on: must hold every verdict if live = true, which shows each operation to its end"]
        )
    return Target(name, kind, rule, notifier)


def _validated(
    model: type[BaseModel],
    table: Mapping[str, Any],
    where: str,
    faults: list[str],
    context: Mapping[str, Any] | None = None,
) -> Any:
    try:
        return model.model_validate(table, context=context)
    except ValidationError as error:
        faults += [_with_guess(fault, model) for fault in described(error, where)]
        return None


def _with_guess(fault: str, model: type[BaseModel]) -> str:
    """Add the rule or field that an unknown one is probably meant to be."""
    if not fault.endswith(_UNKNOWN):
        return fault
    known = {*_Rules.model_fields, *(field.alias or name for name, field in model.model_fields.items())}
    guess = get_close_matches(
        fault.removesuffix(f": {_UNKNOWN}").rpartition(": ")[2].replace("-", "_"), sorted(known), 1
    )
    return f"{fault}; do you mean {guess[0]}?" if guess else fault


def described(error: ValidationError, where: str) -> list[str]:
    """Write a validation error as one line per fault, without values."""
    faults = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        said = _WORDS.get(fault["msg"], fault["msg"].removeprefix("Value error, "))
        faults.append(": ".join(filter(None, [where, ".".join(map(str, fault["loc"])), said])))
    return faults


def expanded(value: Any, environ: Mapping[str, str], where: str, faults: list[str]) -> Any:
    """Replace `${NAME}` in all texts of a value by the variable. Adds a fault for each that is not set."""
    if isinstance(value, dict):
        return {key: expanded(item, environ, where, faults) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [expanded(item, environ, where, faults) for item in value]
    if not isinstance(value, str):
        return value
    faults += [
        f"{where}: {name} is not set in the environment" for name in _VARIABLE.findall(value) if not environ.get(name)
    ]
    return _VARIABLE.sub(lambda match: environ.get(match[1], ""), value)
