"""Tells the user what runs and how to use it, once it does, and shows it with two samples."""

import shlex
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from local.http import Answer, call
from local.processes import Console
from local.settings import Settings
from local.standin import API_TOKEN, StandIn

POLL_S = 0.2
READY_S = 10.0
"""How long web may answer that something is missing, before the user is told what."""
ATTEMPTS = 5
SAMPLE_ERROR = "container web-1 failed to start: listen tcp :5000: bind: address already in use"


class Welcome:
    """Waits for the service, tracks the samples and prints how to use it; `run` it in a thread until `stop` is called.

    `on_answer` is called when web answers for the first time, `on_ready` when everything is well.
    """

    def __init__(
        self,
        settings: Settings,
        standin: StandIn | None,
        console: Console,
        *,
        on_answer: Callable[[], None],
        on_ready: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._standin = standin
        self._console = console
        self._on_answer = on_answer
        self._on_ready = on_ready
        self._stopped = threading.Event()
        # The address, not `localhost`, which may mean ::1 first: gunicorn listens on IPv4.
        self._base = f"http://127.0.0.1:{settings.port}"
        self._authorization = f"Authorization: Bearer {settings.token}"

    def stop(self) -> None:
        """Let `run` end soon."""
        self._stopped.set()

    def run(self) -> None:
        """Do all of it; returns early when stopped."""
        if self._await_ready():
            samples = self._track_samples()
            if not self._stopped.is_set():
                lines = [*self._about(), *self._how_to_track(), *self._how_to_look(samples)]
                self._console.show("\n".join(["", *lines, ""]))

    def _await_ready(self) -> bool:
        """Return whether to welcome the user: not when stopped. Says what is missing if it takes long."""
        answered_s = None
        while not self._stopped.wait(POLL_S):
            try:
                answer = call("GET", f"{self._base}/readyz")
            except OSError:
                continue
            if answer.status == HTTPStatus.OK:
                self._on_answer()
                self._on_ready()
                return True
            if answered_s is None:
                answered_s = time.monotonic()
                self._on_answer()
            if time.monotonic() - answered_s >= READY_S:
                self._say(f"the service runs but is not ready: {self._base}/readyz says {answer.status} {answer.body}")
                return True
        return False

    def _track_samples(self) -> list[str]:
        """Return the ids of the trackings; none with real credentials."""
        if self._standin is None:
            return []
        samples = (("shop", "restart", 4.0, None), ("blog", "scale", 7.0, SAMPLE_ERROR))
        ids: list[str] = []
        try:
            for app, kind, duration_s, error in samples:
                ids.append(self._track(self._standin.begin(app, kind, duration_s, error)))
                self._say(f"tracking a {kind} of {app}, which {'fails' if error else 'succeeds'} in {duration_s:g} s")
        except (OSError, ValueError) as error:
            self._say(f"could not track a sample: {error}")
        return ids

    def _track(self, operation_url: str) -> str:
        """Track an operation and return the tracking's id; tries again while the service says that it cannot now."""
        answer = Answer(HTTPStatus.SERVICE_UNAVAILABLE, "")
        for _ in range(ATTEMPTS):
            answer = self._post({"operation_url": operation_url})
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE or self._stopped.wait(1):
                break
        return answer.text("id")

    def _post(self, body: dict[str, str]) -> Answer:
        name, _, value = self._authorization.partition(": ")
        return call("POST", f"{self._base}/v1/operations", body, {name: value})

    def _about(self) -> list[str]:
        lines = [f"  Opwatch runs on {self._settings.url} (Ctrl-C stops it and loses nothing)", ""]
        if self._standin is None:
            return lines
        return [
            *lines,
            f"  No SCALINGO_API_TOKEN is set, so a stand-in Scalingo API runs on {self._standin.url}.",
            "  For the real one, put SCALINGO_API_TOKEN=tk-us-… into .env and start again.",
            "",
        ]

    def _how_to_track(self) -> list[str]:
        script = f"OPWATCH_URL={self._settings.url} OPWATCH_TOKEN={shlex.quote(self._settings.token)} bin/opwatch"
        if self._standin is None:
            return [
                "  Track an operation, in another terminal:",
                "",
                f"{script} track '<the Location header>' --wait",
                "",
            ]
        exchange = f"curl -s -X POST -u :{API_TOKEN} {self._standin.url}/v1/tokens/exchange | cut -d'\"' -f4"
        restart = f'curl -si -X POST -H "Authorization: Bearer $({exchange})" {self._standin.url}/v1/apps/shop/restart'
        title = "  Restart an app, and wait for the end of that, in another terminal:"
        return [title, "", f"{restart} | {script} track - --wait", ""]

    def _how_to_look(self, samples: list[str]) -> list[str]:
        look = f"curl -H {shlex.quote(self._authorization)} {self._settings.url}/v1/operations"
        one = [f"{look}/{sample}" for sample in samples] or [f"{look}/'<id>'"]
        page = f"  Or see them in a browser: {self._settings.url}/ (sign in with the token {self._settings.token})"
        return ["  Look at all of them, or at one:", "", look, *one, "", page, ""]

    def _say(self, text: str) -> None:
        self._console.say("local", text)
