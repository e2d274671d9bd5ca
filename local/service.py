"""Opwatch as in the Procfile, with Valkey and the stand-in Scalingo API: starts, calls and stops them together."""

import os
import socket
import sys
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from local.http import PROBE_S, Answer, call
from local.processes import GRACE_S, Child, Output, read_procfile, stop_all
from local.valkey import Valkey

ROOT = Path(__file__).parent.parent
API_TOKEN = "tk-us-stand-in"  # noqa: S105 - only the stand-in accepts it
START_S = 60.0
"""A busy machine takes seconds to start a process."""
NEEDS_GRACE_S = 10.0


class Service:
    """The processes of one service. `env` is their whole environment; `web` listens on its PORT.

    `token` is the bearer that `request` sends. `output` says where the output of a process goes, by its name.
    """

    def __init__(self, env: Mapping[str, str], token: str, output: Callable[[str], Output], root: Path = ROOT) -> None:
        # The Procfile's programs come from the virtual environment, activated or not.
        path = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
        self.env = {**env, "PATH": path}
        # The address, not `localhost`, which may mean ::1 first: gunicorn listens on IPv4.
        self.url = f"http://127.0.0.1:{env['PORT']}"
        self.api = ""
        self.procfile = read_procfile(root / "Procfile")
        self.children: list[Child] = []
        self.needs: list[Child] = []
        """The servers that the children use. They stop after the children."""
        self._token = token
        self._output = output
        self._root = root

    def launch_valkey(self, directory: Path) -> Valkey:
        """Start an embedded Valkey without waiting for it. Children added from now on use it."""
        valkey = Valkey(directory)
        self.needs.append(valkey)
        self.env["REDIS_URL"] = valkey.url
        valkey.launch()
        return valkey

    def launch_standin(self, limit: int = 60) -> Child:
        """Start the stand-in Scalingo API without waiting for it. Children added from now on use it.

        `limit` is its limit of requests a minute; 0: none.
        """
        port = free_port()
        self.use_api(f"http://127.0.0.1:{port}")
        standin = self._child("api", f"exec python -m standin --port {port} --limit {limit}")
        self.needs.append(standin)
        standin.start()
        return standin

    def use_api(self, url: str) -> None:
        """Make children added from now on use this stand-in of the Scalingo API."""
        self.api = url
        self.env |= {
            "SCALINGO_API_TOKEN": API_TOKEN,
            "SCALINGO_API_URL": url,
            "SCALINGO_AUTH_URL": url,
            "SCALINGO_DB_API_URL": url,
        }

    def add(self, name: str, command: str | None = None, env: Mapping[str, str] | None = None) -> Child:
        """Add a process, not yet started: a shell command, by default the Procfile's; `env` changes its environment."""
        child = self._child(name, command or self.procfile[name], env)
        self.children.append(child)
        return child

    def _child(self, name: str, command: str, env: Mapping[str, str] | None = None) -> Child:
        argv = ("/bin/sh", "-c", command)
        return Child(name, argv, cwd=self._root, env={**self.env, **(env or {})}, output=self._output(name))

    def begin(self, app: str, **fields: object) -> str:
        """Begin an operation at the stand-in, with fields of `standin.operations.Operation`. Returns its URL."""
        return str(call("POST", f"{self.api}/_standin/operations", {"app": app, **fields}).check()["operation_url"])

    def request(self, method: str, path: str, body: object = None, **options: Any) -> Answer:
        """Send one request to `web`; options are `headers`, `timeout_s`, and `token`, None for none."""
        token = options.pop("token", self._token)
        headers = dict(options.pop("headers", None) or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return call(method, self.url + path, body, headers, **options)

    def track(self, operation_url: str, **fields: object) -> str:
        """Track an operation. Returns the id. Raises LocalError if `web` refuses."""
        return str(self.request("POST", "/v1/operations", {"operation_url": operation_url, **fields}).check()["id"])

    def missing(self) -> str:
        """Return the problems of `/readyz`; an empty text if the service is ready."""
        try:
            answer = self.request("GET", "/readyz", token=None, timeout_s=PROBE_S)
        except (OSError, HTTPException) as error:
            return f"web does not answer ({error!r})"
        return "" if answer.good else answer.text

    def stop(self, grace_s: float = GRACE_S, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop the children, then the servers that they use: web and worker write to Redis while they finish."""
        stop_all(self.children, grace_s, hurry=hurry)
        stop_all(self.needs, min(grace_s, NEEDS_GRACE_S), hurry=hurry)


def free_port() -> int:
    """Find a port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
