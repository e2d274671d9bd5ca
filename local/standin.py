"""The stand-in Scalingo API as a process, for those who have no account at hand."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from local.http import call
from local.processes import Child, Console

API_TOKEN = "tk-us-standin"  # noqa: S105 - opens nothing but the stand-in
ARGV = (sys.executable, "-m", "standin", "--token", API_TOKEN, "--port")
LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:(\d+))")


class StandIn:
    """Runs the stand-in; it picks a port at its first start and keeps it from then on.

    It remembers no operation across restarts.
    """

    def __init__(self, cwd: Path, env: Mapping[str, str], console: Console) -> None:
        self.child = Child("api", (*ARGV, "0"), cwd=cwd, env=env, console=console, on_line=self._listen)
        self._url: str | None = None

    @property
    def listening(self) -> bool:
        """Whether it has said where it listens."""
        return self._url is not None

    @property
    def url(self) -> str:
        """Where it listens; only once it is `listening`."""
        if self._url is None:
            message = "the stand-in is not listening yet"
            raise RuntimeError(message)
        return self._url

    @property
    def env(self) -> dict[str, str]:
        """The settings that make the service use it."""
        return {"SCALINGO_API_TOKEN": API_TOKEN, "SCALINGO_API_URL": self.url, "SCALINGO_AUTH_URL": self.url}

    def begin(self, app: str, kind: str, duration_s: float, error: str | None = None) -> str:
        """Begin an operation that ends by itself, with an error if one is given, and return its URL.

        Raises OSError, or ValueError for an answer other than expected.
        """
        outcome = "done" if error is None else "error"
        asked = {"app": app, "type": kind, "duration_s": duration_s, "outcome": outcome, "error": error}
        return call("POST", f"{self.url}/_standin/operations", asked).text("operation_url")

    def _listen(self, line: str) -> None:
        match = LISTENING.fullmatch(line)
        if match:
            self._url = match[1]
            self.child.argv = (*ARGV, match[2])  # The running web and worker know this port.
