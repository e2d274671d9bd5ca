"""Writes what the buttons of Scalingo and Heroku ask for, `env` in `scalingo.json` and `app.json`, from the settings.

Scalingo wants a `value` or a `generator` for each variable that is not optional: https://doc.scalingo.com/platform/app/app-manifest.
Heroku knows only the generator `secret`: https://devcenter.heroku.com/articles/app-json-schema.
"""

import json
import re
from pathlib import Path
from typing import Any

from config.reading import variables
from config.settings import Settings

ROOT = Path(__file__).parents[1]
NAMES = ("scalingo.json", "app.json")
_SLACK = ("WEBHOOK_URL", "BOT_TOKEN", "CHANNEL", "LIVE", "MENTION", "ON", "APPS")
_ASKED: dict[str, dict[str, Any]] = {
    "OPWATCH_TOKENS": {"generator": "secret", "required": True},
    "SCALINGO_API_TOKEN": {
        "description": "An API token (tk-us-…) of a Scalingo account that may see the apps to watch.",
        "value": "",
        "required": True,
    },
    "OPWATCH_PUBLIC_URL": {"generator": "url"},
    "OPWATCH_EVENTS_SECRET": {"generator": "secret"},
    **{f"SLACK_{name}": {"required": False} for name in _SLACK},
    "OPWATCH_TARGETS": {"required": False},
}
"""The variables that a button asks for, as Scalingo wants them described."""


def manifest(name: str) -> str:
    """Return the text of a manifest, with `env` made from the settings."""
    known = json.loads((ROOT / name).read_text(encoding="utf-8"))
    described = {variables(field)[0]: field.description or "" for field in Settings.model_fields.values()}
    env = {asked: {"description": _plain(described[asked]), **how} for asked, how in _ASKED.items()}
    made = {**known, "env": {asked: _for_heroku(how) if name == "app.json" else how for asked, how in env.items()}}
    return json.dumps(made, ensure_ascii=False, indent=2) + "\n"


def _for_heroku(how: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in how.items() if key != "value" and (key, value) != ("generator", "url")}
    return kept if {"generator", "required"} & set(kept) else {**kept, "required": False}


def _plain(markdown: str) -> str:
    return re.sub(r"\[(.+?)\]\(.+?\)", r"\1", markdown).replace("`", "").removeprefix("Required, except for make run. ")
