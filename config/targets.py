"""Builds the targets: `slack` and `webhook` from settings, others from a TOML file."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from notifiers.targets import Target, build
from operations.errors import ConfigError

DEFAULT_FILE = "config/targets.toml"
LARGEST_FILE = 1_000_000
FROM_SETTINGS = ("slack", "webhook")
"""Kinds that settings can configure: SLACK_CHANNEL is the field `channel` of the target `slack`."""


def read(settings: Mapping[str, Any], environ: Mapping[str, str], root: Path) -> tuple[dict[str, Target], list[str]]:
    """Build every target from the settings and the file below `root`, and list every fault.

    A faulty target is left out. If none is configured, `console` is the only target. `${NAME}` in the file is read
    from `environ`.
    """
    faults: list[str] = []
    own = dict(_from_settings(settings))
    try:
        from_file = _from_file(settings["targets_file"], root)
    except ConfigError as error:
        faults += error.faults
        from_file = {}
    faults += [f"target {name!r}: defined in the environment and in the file" for name in own if name in from_file]
    tables = {**from_file, **own} or ({} if faults else {"console": {"kind": "console"}})
    built = {}
    for name, table in tables.items():
        try:
            known = {} if name in own else environ
            built[name] = build(name, table, known, plain_http=settings["allow_private_targets"])
        except ConfigError as error:
            faults += error.faults
    return built, faults


def _from_settings(settings: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in FROM_SETTINGS:
        prefix = f"{kind}_"
        fields = {name.removeprefix(prefix): v for name, v in settings.items() if name.startswith(prefix) and v}
        if fields:
            yield kind, {"kind": kind, **fields}


def _from_file(named: str | None, root: Path) -> dict[str, dict[str, Any]]:
    path = root / (named or DEFAULT_FILE)
    if named is None and not path.exists():
        return {}
    where = f"OPWATCH_TARGETS_FILE: {str(path)!r}"
    try:
        with path.open("rb") as file:
            document = tomllib.loads(file.read(LARGEST_FILE).decode())  # it may be a device without an end
    except OSError as error:
        raise ConfigError([f"{where} cannot be read: {error.strerror}"]) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{where} is not TOML: {error}"]) from None
    targets = document.pop("targets", {})
    if document or not isinstance(targets, dict) or not all(isinstance(table, dict) for table in targets.values()):
        raise ConfigError([f"{where}: write each target as a table [targets.<name>]"])
    return targets
