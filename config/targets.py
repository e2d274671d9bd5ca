"""Builds the targets: `slack` and `webhook` from settings, others from TOML, in a file or in OPWATCH_TARGETS."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notifiers import kinds
from notifiers.targets import People, Target, build, expanded
from operations.errors import ConfigError

DEFAULT_FILE = "config/targets.toml"
LARGEST_FILE = 1_000_000
FROM_SETTINGS = ("slack", "webhook")
"""Kinds that settings can configure: SLACK_CHANNEL is the field `channel` of the target `slack`."""

_OWN_FIELD = re.compile(r"target '(\w+)': (\w+)(?:\.\d+)?(?=:)")


@dataclass(frozen=True, slots=True)
class _Document:
    """The tables of the targets, the people to mention, and where they were read from."""

    targets: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    people: People = field(default_factory=dict)
    where: str = ""


def read(settings: Mapping[str, Any], environ: Mapping[str, str], root: Path) -> tuple[dict[str, Target], list[str]]:
    """Build every target from the settings and the TOML, and list every fault.

    A faulty target is left out. If none is configured, `console` is the only target. `${NAME}` is read from `environ`.
    """
    faults: list[str] = []
    own = dict(_from_settings(settings))
    try:
        given = _document(settings, environ, root)
    except ConfigError as error:
        faults += error.faults
        given = _Document()
    twice = "defined in the environment and in"
    faults += [f"target {name!r}: {twice} {given.where}" for name in own if name in given.targets]
    tables = {**given.targets, **own} or ({} if faults else {"console": {"kind": "console"}})
    built = {}
    for name, table in tables.items():
        try:
            private = settings["allow_private_targets"]
            built[name] = build(name, table, environ, plain_http=private, people=given.people)
        except ConfigError as error:
            faults += [_with_variable(fault) if name in own else fault for fault in error.faults]
    return built, faults


def _from_settings(settings: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in FROM_SETTINGS:
        prefix = f"{kind}_"
        fields = {name.removeprefix(prefix): v for name, v in settings.items() if name.startswith(prefix) and v}
        if fields:
            yield kind, {"kind": kind, **fields}


def _with_variable(fault: str) -> str:
    """Name the variable in front: `SLACK_WEBHOOK_URL (target 'slack': webhook_url): must be …`."""
    return _OWN_FIELD.sub(lambda found: f"{found[1]}_{found[2]}".upper() + f" ({found[0]})", fault)


def _document(settings: Mapping[str, Any], environ: Mapping[str, str], root: Path) -> _Document:
    """Read the TOML from the setting, else from the file."""
    text, named = settings["targets_text"], settings["targets_file"]
    path = root / (named or DEFAULT_FILE)
    if text is not None and (named is not None or path.exists()):
        what = "OPWATCH_TARGETS_FILE" if named is not None else f"the file {DEFAULT_FILE}"
        raise ConfigError([f"OPWATCH_TARGETS: {what} gives targets as well; keep only one of them"])
    if text is not None:
        return _parsed(text.get_secret_value(), "OPWATCH_TARGETS", environ, "OPWATCH_TARGETS")
    if named is None and not path.exists():
        return _Document()
    where = f"OPWATCH_TARGETS_FILE: {str(path)!r}"
    try:
        with path.open("rb") as file:
            return _parsed(file.read(LARGEST_FILE).decode(), where, environ, "the file")  # it may be an endless device
    except OSError as error:
        raise ConfigError([f"{where} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{where} is not TOML: {error}"]) from None


def _parsed(text: str, where: str, environ: Mapping[str, str], called: str) -> _Document:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{where} is not TOML: {error}"]) from None
    targets, people = document.pop("targets", {}), document.pop("people", {})
    if document:
        only = "only [targets.<name>] and [people] may stand here"
        raise ConfigError([f"{where}: {', '.join(sorted(document))} is not known: {only}"])
    if not isinstance(targets, dict) or not all(isinstance(table, dict) for table in targets.values()):
        raise ConfigError([f"{where}: write each target as a table [targets.<name>]"])
    faults: list[str] = []
    people = expanded(people, environ, "[people]", faults)
    if not isinstance(people, dict) or not all(map(_is_mention, people.values())):
        faults.append('[people]: write each person as jane = "<@U123>", or jane = { slack = "<@U123>", discord = "…" }')
    else:
        named = {kind for given in people.values() if isinstance(given, dict) for kind in given}
        faults += [f"[people]: kind {kind!r} is not known" for kind in sorted(named - set(kinds()))]
    if faults:
        raise ConfigError(faults)
    return _Document(targets, people, called)


def _is_mention(given: object) -> bool:
    return isinstance(given, str) or (isinstance(given, dict) and all(isinstance(each, str) for each in given.values()))
