"""Where targets come from: the environment, and a TOML file."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.environment import Environment
from notifiers.targets import Target, build
from operations.errors import ConfigError

DEFAULT_FILE = "config/targets.toml"


def read(fixed: Environment, given: Mapping[str, str], root: Path) -> tuple[dict[str, Target], list[str]]:
    """Build every target of the environment and of the file below `root`, and list every fault.

    `console` where there is no target; one that is faulty is left out.
    """
    tables = _tables_from_environment(fixed)
    faults: list[str] = []
    try:
        from_file = _tables_from_file(fixed, root)
    except ConfigError as error:
        faults += error.faults
        from_file = {}
    faults += [f"target {name!r}: defined in the environment and in the file" for name in tables if name in from_file]
    targets = {}
    for name, table in {**from_file, **tables}.items():
        environ = given if name in from_file else {}
        try:
            targets[name] = build(name, table, environ, plain_http=fixed.OPWATCH_ALLOW_PRIVATE_TARGETS)
        except ConfigError as error:
            faults += error.faults
    if targets or faults:
        return targets, faults
    return {"console": build("console", {"kind": "console"}, {}, plain_http=False)}, []


def _tables_from_environment(fixed: Environment) -> dict[str, dict[str, Any]]:
    slack = {
        "webhook_url": fixed.SLACK_WEBHOOK_URL,
        "bot_token": fixed.SLACK_BOT_TOKEN,
        "channel": fixed.SLACK_CHANNEL,
        "api_url": fixed.SLACK_API_URL,
        "live": fixed.SLACK_LIVE or None,
    }
    webhook = {"url": fixed.WEBHOOK_URL, "secret": fixed.WEBHOOK_SECRET}
    tables = {}
    for name, fields in (("slack", slack), ("webhook", webhook)):
        own = {key: value for key, value in fields.items() if value is not None}
        if own:
            tables[name] = {"kind": name, **own}
    return tables


def _tables_from_file(fixed: Environment, root: Path) -> dict[str, dict[str, Any]]:
    path = root / (fixed.OPWATCH_TARGETS_FILE or DEFAULT_FILE)
    if fixed.OPWATCH_TARGETS_FILE is None and not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError([f"OPWATCH_TARGETS_FILE: {path} cannot be read: {error.strerror}"]) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"OPWATCH_TARGETS_FILE: {path} is not TOML: {error}"]) from None
    targets = document.pop("targets", {})
    if document or not isinstance(targets, dict) or not all(isinstance(table, dict) for table in targets.values()):
        raise ConfigError([f"OPWATCH_TARGETS_FILE: {path}: write each target as a table [targets.<name>]"])
    return targets
