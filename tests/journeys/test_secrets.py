"""No secret is logged, shown or stored, even if everything fails: a journey, then a search of all that it left."""

import contextlib
import json
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import redis

from local.valkey import Valkey
from standin import faults
from standin.api import ScalingoApi
from tests.support import leaks, plugins
from tests.support.receiver import Receiver, Reply
from tests.support.running import CALLER_TOKEN, UNHURRIED, Opwatch, wait_until

TOKENS = {"default": "tk-us-sEkrEt-default", "agency": "tk-us-sEkrEt-agency"}
REDIS_PASSWORD = "sEkrEt/of+redis!"  # noqa: S105 - it opens nothing
REVOKED, SECOND_CALLER, WRONG_CALLER = "tk-us-sEkrEt-revoked", "sEkrEt-second-caller-0123456789", "sEkrEt-wrong-caller"
SIGNING = "whsec_c0VrckV0LXNpZ25pbmcta2V5LW9mLW5vYm9keS0wMTIz"
PARTS = (
    "sEkrEt-slack-hook", "sEkrEt-hook-path", "sEkrEt-hook-query", "sEkrEt-heartbeat", "xoxb-sEkrEt-bot",
    "sEkrEt-failing", "sEkrEt-resetting", "sEkrEt-redirecting", "sEkrEt-nowhere", "sEkrEt-no-tls", "sEkrEt-odd-url",
    "sEkrEt-userinfo", "sEkrEt-crashing",
)  # fmt: skip
SECRETS = (
    *PARTS, *TOKENS.values(), REVOKED, SECOND_CALLER, WRONG_CALLER, CALLER_TOKEN, REDIS_PASSWORD, SIGNING,
    SIGNING.removeprefix("whsec_"),
)  # fmt: skip
NOTIFIER = """
    from typing import ClassVar
    from notifiers import Kind, SecretUrl

    class Crashing(Kind):
        retry_delays_s: ClassVar[tuple[float, ...]] = (600.0,)
        url: SecretUrl
        error: str

        async def send(self, announcement, http):
            kind = {"OSError": OSError, "KeyError": KeyError, "ValueError": ValueError}[self.error]
            raise kind(f"cannot post to {self.url.get_secret_value()}") from OSError(5, self.url.get_secret_value())
    """


@dataclass
class Answers:
    """The API's answers so far."""

    opwatch: Opwatch
    texts: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        answer = self.opwatch.request(method, path, body, **options)
        self.texts.append(f"{method} {path} {answer.status} {dict(answer.headers)} {answer.text}")
        return answer


def protected(valkey: Valkey) -> str:
    """Make the server require a password. Returns the URL with it."""
    with redis.Redis.from_url(valkey.url) as connection:
        connection.config_set("requirepass", REDIS_PASSWORD)
    return valkey.url.replace("unix://", "unix://:sEkrEt%2Fof%2Bredis%21@")


PROJECT = """
[project]
name = "crashing"
[project.entry-points."opwatch.notifiers"]
crashing = "crashing:Crashing"
"""


def targets(receiver: Receiver) -> str:
    tls = receiver.base_url.replace("http://", "https://")
    urls = {
        "failing": receiver.url("/sEkrEt-failing"),
        "resetting": receiver.url("/sEkrEt-resetting"),
        "redirecting": receiver.url("/sEkrEt-redirecting"),
        "nowhere": "https://nobody.invalid/sEkrEt-nowhere",
        "no-tls": f"{tls}/sEkrEt-no-tls",
        "odd-url": "https://127.1/sEkrEt-odd-url",
        "userinfo": receiver.base_url.replace("http://", "http://me:sEkrEt-userinfo@") + "/userinfo",
    }
    text = "".join(
        f'[targets.{name}]\nkind = "webhook"\nurl = "{url}"\nsecret = "${{WEBHOOK_SECRET}}"\n'
        f'[targets.slack-{name}]\nkind = "slack"\nwebhook_url = "{url}"\n'
        for name, url in urls.items()
    )
    for error in ("OSError", "KeyError", "ValueError"):
        url = "https://x.example/sEkrEt-crashing"
        text += f'[targets.{error.lower()}]\nkind = "crashing"\nurl = "{url}"\nerror = "{error}"\n'
    for name, api_url in (
        ("bot", receiver.url("/bot")),
        ("echoing", receiver.url("/echoing")),
        ("lost", "https://127.0.0.1:1/"),
    ):
        text += (
            f'[targets.{name}]\nkind = "slack"\nbot_token = "${{BOT_TOKEN}}"\nchannel = "C1"\napi_url = "{api_url}"\n'
        )
    return text


def scripted(receiver: Receiver) -> None:
    """Let each receiver fail in its own way; some echo the request."""
    receiver.script("/sEkrEt-failing", Reply(500, "you posted to /sEkrEt-failing"))
    receiver.script("/sEkrEt-resetting", Reply(reset="after_read"))
    receiver.script("/sEkrEt-redirecting", Reply(302, "", {"Location": receiver.url("/sEkrEt-redirecting/on")}))
    receiver.script("/sEkrEt-heartbeat", Reply(reset="before"))
    echo = json.dumps({"ok": False, "error": "bad token xoxb-sEkrEt-bot"})
    receiver.script("/echoing/chat.postMessage", Reply(200, echo, {"Content-Type": "application/json"}))


@pytest.fixture(params=["json", "text"])
def log_format(request: pytest.FixtureRequest) -> str:
    """Return each form of the log in turn."""
    return str(request.param)


def test_no_secret_is_logged_shown_or_stored_whatever_fails(
    tmp_path: Path, receiver: Receiver, log_format: str
) -> None:
    scripted(receiver)
    with Valkey(tmp_path / "data") as valkey, ScalingoApi(TOKENS, limit=None) as scalingo:
        settings = {
            **UNHURRIED,
            "REDIS_URL": protected(valkey),
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": log_format,
            "OPWATCH_TOKENS": f"ci:{CALLER_TOKEN},second:{SECOND_CALLER}",
            "SCALINGO_API_TOKEN": TOKENS["default"],
            "SCALINGO_API_TOKEN_AGENCY": TOKENS["agency"],
            "SCALINGO_API_TOKEN_REVOKED": REVOKED,
            "SLACK_WEBHOOK_URL": receiver.url("/services/T0/B0/sEkrEt-slack-hook"),
            "WEBHOOK_URL": receiver.url("/sEkrEt-hook-path?key=sEkrEt-hook-query"),
            "WEBHOOK_SECRET": SIGNING,
            "BOT_TOKEN": "xoxb-sEkrEt-bot",
            "OPWATCH_HEARTBEAT_URL": receiver.url("/sEkrEt-heartbeat"),
            "PYTHONPATH": str(plugins.install(tmp_path / "plugged-in", PROJECT, {"crashing": dedent(NOTIFIER)})),
        }
        opwatch = Opwatch(valkey.url, scalingo, receiver, settings=settings, targets=targets(receiver))
        try:
            for name in ("web", "worker"):
                opwatch.start(name)
            opwatch.wait_until_ready()
            answers = Answers(opwatch)
            walk_through(answers, scalingo, receiver)
            valkey.kill()
            answers.ask("POST", "/v1/operations", {"app": "shop", "operation_id": "a" * 24})
            answers.ask("GET", "/readyz", token=None)
            valkey.start()
            protected(valkey)  # until here the server has no password, and refuses ours
            wait_until(lambda: answers.ask("GET", "/readyz", token=None).json()["problems"] != [], what="an answer")
            identity = wait_until(lambda: tracked_again(answers, scalingo), what="new work being taken on")
            opwatch.wait_for_delivery(identity, "webhook", "delivered")
            with redis.Redis.from_url(settings["REDIS_URL"]) as connection:
                stored = leaks.kept(connection)
            assert identity in stored
        finally:
            opwatch.stop()
        valkey.stop()
        texts = {
            "web": opwatch.output("web"),
            "worker": opwatch.output("worker"),
            "answers": "\n".join(answers.texts),
            "Redis": stored,
            "the disk of Redis": leaks.written(tmp_path / "data"),
        }
        assert len(scalingo.bearers) >= 3
        assert identity in texts["the disk of Redis"]
        assert "traceback" in texts["worker"].lower() or "OPWATCH_HEARTBEAT_URL could not be reached" in texts["worker"]
        assert leaks.found([*SECRETS, *scalingo.bearers], texts) == []
        assert leaks.found(["sEkrEt"], texts) == []  # not even a part


def tracked_again(answers: Answers, scalingo: ScalingoApi) -> str:
    answer = answers.ask("POST", "/v1/operations", {"operation_url": scalingo.operation().url, "notify": ["webhook"]})
    return str(answer.json()["id"]) if answer.status == 202 else ""


def walk_through(answers: Answers, scalingo: ScalingoApi, receiver: Receiver) -> None:
    """Cause all faults that are possible while Redis answers."""
    opwatch = answers.opwatch
    receiver.wait_for(1, path="/sEkrEt-heartbeat")
    running = scalingo.operation("echo-shop", duration_s=None)
    echoed = answers.ask("POST", "/v1/operations", {"operation_url": running.url}).json()["id"]
    scalingo.wait_for(1, operation_id=running.id)
    (bearer,) = scalingo.bearers
    scalingo.fault(faults.answer(500, f"Authorization: Bearer {bearer}"), operation_id=running.id)
    scalingo.fault(faults.reset(), operation_id=running.id)
    wait_until(lambda: "500" in str(answers.ask("GET", f"/v1/operations/{echoed}").json()["last_error"]))
    scalingo.finish(running.id, "error", f"curl -H 'Authorization: Bearer {bearer}' failed")
    opwatch.wait_for_state(echoed, "failed")
    scalingo.expire_bearers()
    for account in ("revoked", "agency", "default"):
        body: object = {"operation_url": scalingo.operation().url, "account": account, "notify": []}
        assert answers.ask("POST", "/v1/operations", body).status == 202

    def attempted() -> bool:
        deliveries = answers.ask("GET", f"/v1/operations/{echoed}").json()["deliveries"]
        return all(d["state"] == "delivered" or d["last_error"] for d in deliveries)

    wait_until(attempted, what="all attempts")
    wait_until(lambda: "revoked" in answers.ask("GET", "/readyz", token=None).text, what="the alert")
    for method, path, body, token in (
        ("GET", "/v1/operations", None, WRONG_CALLER),
        ("GET", "/v1/operations", None, SECOND_CALLER),
        ("GET", "/metrics", None, CALLER_TOKEN),
        ("GET", "/healthz", None, None),
        ("GET", "/openapi.json", None, None),
        ("POST", "/v1/operations", b"{", CALLER_TOKEN),
        ("POST", "/v1/operations", {"operation_url": "https://evil.example/"}, CALLER_TOKEN),
        ("POST", "/v1/operations", {"app": "shop", "operation_id": "a" * 24, "account": "none"}, CALLER_TOKEN),
        ("POST", "/v1/operations", {"app": "shop", "operation_id": "a" * 24, "notify": ["none"]}, CALLER_TOKEN),
        ("PUT", "/v1/operations", None, CALLER_TOKEN),
        ("GET", "/nowhere", None, CALLER_TOKEN),
        ("POST", f"/v1/operations/{echoed}/deliveries/odd-url/retry", None, CALLER_TOKEN),
    ):
        answers.ask(method, path, body, token=token)
    misplace(opwatch.port, f"Bearer {SECOND_CALLER}".encode())
    misplace(opwatch.port, f"Authorization : Bearer {SECOND_CALLER}".encode())
    misplace(opwatch.port, f"Authorization: Bearer {SECOND_CALLER}\x00".encode())


def misplace(port: int, header: bytes) -> None:
    """Send a header that gunicorn cannot read. Its answer goes only to the sender."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection, contextlib.suppress(OSError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        while connection.recv(4096):
            time.sleep(0)
