"""The settings of `make run`, from the environment, `.env` and `var/`."""

import errno
import json
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from local.processes import LocalError

LAST_PORT = 65535
API_TOKEN = re.compile(r"SCALINGO_API_TOKEN(_.+)?")
DEFAULTS = {"PORT": "8000", "LOG_FORMAT": "text", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Settings:
    """The settings of one run."""

    root: Path
    """Where Procfile, `.env` and `var/` are, and where the processes run."""
    env: Mapping[str, str] = field(repr=False)
    """The environment of the processes, without the addresses of servers that are started here."""
    token: str = field(repr=False)
    """The first of the tokens that callers may use."""
    brings_valkey: bool
    """No Redis is configured."""
    uses_standin: bool
    """No Scalingo API token is configured."""

    @property
    def data(self) -> Path:
        """Where Valkey keeps its data between runs.

        Operations of the stand-in have their own directory: the real API does not know them, and they would become
        `lost`.
        """
        return self.root / "var" / ("standin" if self.uses_standin else "valkey")

    @property
    def for_admin(self) -> Path:
        """Where `python -m admin` finds the settings while this runs; see `admin/environment.py`."""
        return self.root / "var" / "run.json"

    @property
    def url(self) -> str:
        """The service's address, for people."""
        return f"http://localhost:{self.env['PORT']}"


def read_settings(root: Path, environ: Mapping[str, str]) -> Settings:
    """Read the settings. The real environment overrides `.env`. Raises LocalError for a bad or used PORT.

    Makes a caller's token, once, if none is configured; not if something else is wrong.
    """
    # `NAME=` in a copied .env.example means that it is not set.
    env = {name: value for name, value in dotenv_values(root / ".env").items() if value} | dict(environ)
    for name, value in DEFAULTS.items():
        env[name] = env.get(name) or value
    env["PORT"] = env["PORT"].strip()
    _check_port(env["PORT"])
    if not env.get("OPWATCH_TOKENS"):
        env["OPWATCH_TOKENS"] = _kept_token(root / "var" / "token")
    return Settings(
        root=root,
        env=env,
        token=_first_that_tracks(env["OPWATCH_TOKENS"]),
        brings_valkey=not (env.get("REDIS_URL") or env.get("SCALINGO_REDIS_URL")),
        uses_standin=not any(value and API_TOKEN.fullmatch(name) for name, value in env.items()),
    )


def _first_that_tracks(tokens: str) -> str:
    """Return the first token that may track; one with `:read` behind it may not."""
    entries = [entry.strip() for entry in tokens.split(",")]
    return next((each for each in entries if not each.endswith(":read")), entries[0]).rpartition(":")[2].strip()


def keep_for_admin(path: Path, env: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Write the settings that `python -m admin` in another terminal lacks, for this user only.

    They come from `.env` or were made here. What is in `environ` stays out of the file: it may be secret.
    """
    made = {name: value for name, value in env.items() if name != "PATH" and environ.get(name) != value}
    path.unlink(missing_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(made))


def _check_port(text: str) -> None:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) <= LAST_PORT:
        raise LocalError(f"PORT must be a number from 1 to {LAST_PORT}, not {text!r}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # As gunicorn does: TIME_WAIT is not taken.
        try:
            probe.bind(("", int(text)))
        except OSError as error:
            what = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise LocalError(f"port {text} {what}; choose another one: PORT=8001 make run") from error


def _kept_token(path: Path) -> str:
    """Return `local:<token>` from the file, which is made if missing. A stored token keeps pasted commands valid."""
    if not path.exists() or not path.read_text().strip():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"local:{secrets.token_hex(24)}\n")
    return path.read_text().strip()
