"""The welcome text: how to use the running service."""

import shlex
from collections.abc import Sequence

from local.service import API_TOKEN
from local.settings import Settings


def welcome(settings: Settings, api: str, samples: Sequence[str]) -> str:
    """Return the text. `api` is the stand-in's address, if any; `samples` are the ids of tracked operations."""
    authorization = shlex.quote(f"Authorization: Bearer {settings.token}")
    look = f"curl -H {authorization} {settings.url}/v1/operations"
    lines = [
        "",
        f"  Opwatch runs on {settings.url} (Ctrl-C stops it and loses nothing)",
        "",
        *(_about_standin(api) if api else []),
        *_how_to_track(settings, api),
        "  Look at all of them, or at one:",
        "",
        look,
        *[f"{look}/{sample}" for sample in samples or ["'<id>'"]],
        "",
        f"  Or see them in a browser: {settings.url}/ (sign in with the token {settings.token})",
        "  Commands for operators: .venv/bin/python -m admin --help",
        "",
    ]
    return "\n".join(lines)


def _about_standin(api: str) -> list[str]:
    return [
        f"  No SCALINGO_API_TOKEN is set, so a stand-in Scalingo API runs on {api}.",
        "  For the real one, put SCALINGO_API_TOKEN=tk-us-… into .env and start again.",
        "",
    ]


def _how_to_track(settings: Settings, api: str) -> list[str]:
    script = f"OPWATCH_URL={settings.url} OPWATCH_TOKEN={shlex.quote(settings.token)} bin/opwatch"
    if not api:
        title, command = "Track an operation", f"{script} track '<the Location header>' --wait"
    else:
        exchange = f"curl -s -X POST -u :{API_TOKEN} {api}/v1/tokens/exchange | cut -d'\"' -f4"
        restart = f'curl -si -X POST -H "Authorization: Bearer $({exchange})" {api}/v1/apps/shop/restart'
        title, command = "Restart an app, and wait for its end", f"{restart} | {script} track - --wait"
    return [f"  {title}, in another terminal:", "", command, ""]
