"""`python -m admin`, with a real server and scripted services: what it prints, sends and changes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import redis
from standardwebhooks import Webhook

from admin import trackings
from admin.__main__ import main
from config.settings import Settings
from operations.errors import PermanentError, SignInRejectedError, TransientError
from operations.storage.budget import Budget
from operations.storage.heartbeat import Heartbeat
from operations.storage.index import DUE, OUTBOX
from operations.storage.store import Store
from operations.telling import sample
from standin import faults
from standin.api import DEFAULT_TOKENS, ScalingoApi
from tests.integration.bench import BROKEN, attempted, found, operation_id, seen, tracked
from tests.support import leaks, plugins
from tests.support.receiver import Receiver, Reply
from tests.support.running import CALLER_TOKEN, ROOT, WEBHOOK_SECRET
from tests.support.trap import Trap

SECRETS = [CALLER_TOKEN, WEBHOOK_SECRET, *DEFAULT_TOKENS.values(), "tk-us-other", "xoxb-sEkrEt", "sEkrEt"]
OTHER_KINDS = """
    import socket
    from notifiers import Kind

    class Diallers(Kind):
        port: int

        async def send(self, announcement, http):
            socket.create_connection(("127.0.0.1", self.port)).close()

    class Letters(Diallers):
        def preview(self, announcement):
            return f"Subject: {announcement.app}"
    """
PROJECT = """
[project]
name = "letters"
[project.entry-points."opwatch.notifiers"]
diallers = "letters:Diallers"
letters = "letters:Letters"
"""


@pytest.fixture
def beating(connection: redis.Redis, store: Store) -> None:
    """Send a worker's heartbeat."""
    Heartbeat(connection).beat("a-worker", store.records.now())


@pytest.fixture
def admin(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str]]]:
    """Return a function that runs a command. It checks that no secret is printed."""
    assert settings.targets
    printed: list[str] = []

    def run(*arguments: str) -> tuple[int, str]:
        """Return the exit code, and the output."""
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(str(end.code))
        out, err = capsys.readouterr()
        printed.append(out + err)
        return code, out + err

    yield run
    assert leaks.found(SECRETS, {"what admin printed": "\n".join(printed)}) == []


Admin = Callable[..., tuple[int, str]]


@pytest.fixture
def with_targets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that replaces all targets."""

    def write(text: str) -> None:
        file = tmp_path / "others.toml"
        file.write_text(dedent(text), encoding="utf-8")
        monkeypatch.setenv("OPWATCH_TARGETS_FILE", str(file))
        for name in ("SLACK_WEBHOOK_URL", "WEBHOOK_URL", "WEBHOOK_SECRET"):
            monkeypatch.delenv(name)

    return write


@pytest.fixture
def other_kinds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Install third-party notifiers that do not use HTTP."""
    there = plugins.install(tmp_path / "plugged-in", PROJECT, {"letters": dedent(OTHER_KINDS)})
    monkeypatch.syspath_prepend(str(there))


def line(printed: str, name: str) -> str:
    """Return the one line with this name."""
    (found_line,) = (each for each in printed.splitlines() if each[6:].startswith(f"{name}:"))
    return found_line


class TestCheck:
    """`check` tests everything, even after a failure, and posts nothing."""

    @pytest.fixture(autouse=True)
    def _one_account(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "other" in settings.accounts
        monkeypatch.delenv("SCALINGO_API_TOKEN_OTHER")

    @pytest.mark.usefixtures("beating")
    def test_it_counts_entries_that_have_lost_their_records(self, admin: Admin, connection: redis.Redis) -> None:
        assert "orphans" not in admin("check")[1]
        connection.zadd(DUE, {"osc-fr1-" + "0" * 24: 1})
        assert "warn  orphans: 1 in opwatch:due" in admin("check")[1]
        assert connection.zcard(DUE) == 1, "it only reads"

    @pytest.mark.usefixtures("beating")
    def test_says_of_each_part_that_it_is_well(
        self,
        admin: Admin,
        monkeypatch: pytest.MonkeyPatch,
        scalingo: ScalingoApi,
        receiver: Receiver,
        connection: redis.Redis,
    ) -> None:
        monkeypatch.setenv("SCALINGO_REQUESTS_PER_MINUTE", "10")
        code, printed = admin("check")
        assert code == 0, printed
        assert [each[:4] for each in printed.splitlines()] == ["ok  "] * 9
        assert line(printed, "workers") == "ok    workers: 1 alive"
        assert line(printed, "account default") == "ok    account default: signed in"
        assert {(each.method, each.path) for each in receiver.requests} == {("HEAD", "/")}
        assert [each.path for each in scalingo.requests] == ["/v1/tokens/exchange"]
        assert Budget(connection, 10).balance("default").tokens < 1, "the request spent a token of the shared budget"

    def test_lists_every_fault_and_tries_the_rest(
        self, admin: Admin, monkeypatch: pytest.MonkeyPatch, connection: redis.Redis
    ) -> None:
        monkeypatch.setenv("OPWATCH_TOKENS", "ci:sEkrEt")
        monkeypatch.setenv("SCALINGO_REQUESTS_PER_MINUTE", "sEkrEt")
        monkeypatch.setenv("WEBHOOK_SECRET", "sEkrEt")
        monkeypatch.setenv("SCALINGO_API_TOKEN", "tk-us-sEkrEt")
        connection.config_set("maxmemory-policy", "allkeys-lru")
        try:
            code, printed = admin("check")
        finally:
            connection.config_set("maxmemory-policy", "noeviction")
        assert code == 1
        settings = [each for each in printed.splitlines() if each.startswith("FAIL  settings: ")]
        assert len(settings) == 5, "three targets have that secret"
        assert "allkeys-lru" in line(printed, "redis")
        assert "scale `worker` to 1" in line(printed, "workers")
        assert "rejects the API token" in line(printed, "account default")
        assert line(printed, "target slack").startswith("ok")

    def test_sends_no_token_to_another_server_than_the_one_that_was_meant(
        self, admin: Admin, monkeypatch: pytest.MonkeyPatch, scalingo: ScalingoApi
    ) -> None:
        monkeypatch.setenv("SCALINGO_AUTH_URL", "sEkrEt")
        code, printed = admin("check")
        assert code == 1
        assert line(printed, "accounts").startswith("warn")
        assert "account default" not in printed
        assert not scalingo.requests

    def test_goes_on_without_redis(self, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDIS_URL", "redis://:sEkrEt@127.0.0.1:1/0")
        code, printed = admin("check")
        assert code == 1
        assert line(printed, "redis").startswith("FAIL")
        assert "ConnectionRefusedError" in line(printed, "redis")
        assert line(printed, "account default").startswith("warn")
        assert line(printed, "target webhook").startswith("ok")

    def test_says_when_redis_takes_no_writes(self, admin: Admin, connection: redis.Redis) -> None:
        connection.config_set("maxmemory", "1")
        try:
            code, printed = admin("check")
        finally:
            connection.config_set("maxmemory", "0")
        assert code == 1
        assert "refuses writes: it is full (OOM)" in line(printed, "redis")
        assert line(printed, "account default").startswith("warn")

    def test_a_429_slows_everybody_down(self, admin: Admin, scalingo: ScalingoApi, connection: redis.Redis) -> None:
        scalingo.fault(faults.rate_limited(7), exchange=True)
        _, printed = admin("check")
        assert line(printed, "account default").startswith("warn")
        assert Budget(connection, 6000).balance("default").share < 1

    def test_is_for_scripts_too(self, admin: Admin) -> None:
        code, printed = admin("check", "--json")
        findings = json.loads(printed)
        assert code == 1
        assert {"level": "FAIL", "name": "workers"}.items() <= next(
            f for f in findings if f["name"] == "workers"
        ).items()

    def test_dials_targets_as_deliveries_do(
        self, admin: Admin, monkeypatch: pytest.MonkeyPatch, with_targets: Callable[[str], None], trap: Trap
    ) -> None:
        with_targets(
            f"""
            [targets.private]
            kind = "webhook"
            url = "https://127.0.0.1:{trap.port}/sEkrEt"
            secret = "{WEBHOOK_SECRET}"

            [targets.unknown]
            kind = "slack"
            webhook_url = "https://nobody.invalid/sEkrEt"

            [targets.odd]
            kind = "slack"
            webhook_url = "https://127.1/sEkrEt"
            """
        )
        monkeypatch.setenv("OPWATCH_ALLOW_PRIVATE_TARGETS", "false")
        code, printed = admin("check")
        assert code == 1
        assert "refused by Opwatch: 127.0.0.1 is a private" in line(printed, "target private")
        assert line(printed, "target unknown").startswith("FAIL  target unknown: no answer: ")
        assert "cannot be dialled" in line(printed, "target odd")
        assert trap.caught == 0

    def test_says_when_tls_fails(self, admin: Admin, with_targets: Callable[[str], None], receiver: Receiver) -> None:
        url = receiver.url("/sEkrEt").replace("http:", "https:")
        with_targets(f'[targets.plain]\nkind = "slack"\nwebhook_url = "{url}"\n')
        _, printed = admin("check")
        assert "SSL" in line(printed, "target plain")

    def test_says_what_was_not_told(self, admin: Admin, store: Store, settings: Settings) -> None:
        identity = ended(store, settings, 1)
        attempted(store, identity, "slack", PermanentError("Slack answered 404: no_service"))
        attempted(store, identity, "webhook", TransientError("410 Gone"))
        _, printed = admin("check")
        dead, retrying = (each for each in printed.splitlines() if each.startswith("warn  deliveries: "))
        assert "given up: 1 to slack;" in dead
        assert "retried: 1 to webhook;" in retrying

    def test_says_what_each_target_will_be_told(self, admin: Admin, with_targets: Callable[[str], None]) -> None:
        with_targets(
            """
            [targets.all]
            kind = "console"
            on = ["succeeded", "failed", "slow", "recovered"]

            [targets.rest]
            kind = "console"

            [targets.some]
            kind = "slack"
            webhook_url = "${RECEIVER_URL}/some"
            on = ["failed", "recovered"]
            kinds = ["backup"]
            apps = ["shop", "shop-*"]
            environments = ["production"]
            mention = "actor"
            mention_on = ["lost", "failed"]
            """
        )
        _, printed = admin("check")
        assert line(printed, "target all").endswith("among its log; told of succeeded, failed, slow")
        assert line(printed, "target some").endswith(
            "; told of failed, recovered; kinds backup; apps shop, shop-*; environments production; "
            "mentions actor on lost, failed"
        )
        assert line(printed, "target rest").endswith("; told of succeeded, failed, timed_out, lost")

    @pytest.mark.usefixtures("other_kinds")
    def test_says_what_cannot_be_checked(self, admin: Admin, with_targets: Callable[[str], None], trap: Trap) -> None:
        with_targets(f'[targets.me]\nkind = "diallers"\nport = {trap.port}\n')
        _, printed = admin("check")
        assert line(printed, "target me").startswith("warn")
        assert "send-test me" in line(printed, "target me")
        assert trap.caught == 0


AUTH = '{"ok": true, "user": "opwatch", "team": "Shops"}'
SCOPES = "chat:write,channels:read"
MEMBER = '{"ok": true, "channel": {"is_member": true}}'
BOTS = {  # scopes, what auth.test and conversations.info answer, the channel, what check says
    "good": (SCOPES, AUTH, MEMBER, "C0123456789", "ok    target bot: signed in as opwatch of Shops; it may post"),
    "not there": (SCOPES, AUTH, '{"ok": true, "channel": {}}', "C0123456789", "FAIL  target bot: the bot is not in"),
    "anywhere": ("chat:write,chat:write.public,channels:read", AUTH, '{"ok": true}', "C0123456789", "ok  "),
    "blind": (SCOPES, AUTH, '{"ok": false, "error": "missing_scope"}', "C0123456789", "ok  "),
    "no such channel": (SCOPES, AUTH, '{"ok": false, "error": "channel_not_found"}', "C0123456789", "FAIL  "),
    "by name": (SCOPES, AUTH, "not asked", "deploys", "ok    target bot: signed in as opwatch of Shops; the channel"),
    "mute": (
        "channels:read",
        AUTH,
        MEMBER,
        "C0123456789",
        "FAIL  target bot: the bot lacks the scope chat:write",
    ),
    "revoked": (
        "",
        '{"ok": false, "error": "token_revoked"}',
        MEMBER,
        "C0123456789",
        "FAIL  target bot: Slack answered",
    ),
    "no Slack": ("", '"sEkrEt"', MEMBER, "C0123456789", "FAIL  target bot: the answer is not Slack's"),
}


@pytest.mark.parametrize("row", BOTS.values(), ids=BOTS)
def test_a_slack_bot_is_asked_who_it_is_and_where(
    admin: Admin, with_targets: Callable[[str], None], receiver: Receiver, row: tuple[str, str, str, str, str]
) -> None:
    scopes, auth, info, channel, said = row
    json_type = {"Content-Type": "application/json", "X-OAuth-Scopes": scopes}
    receiver.script("/api/auth.test", Reply(200, auth, json_type))
    receiver.script("/api/conversations.info", Reply(200, info, json_type))
    with_targets(
        f"""
        [targets.bot]
        kind = "slack"
        bot_token = "xoxb-sEkrEt"
        channel = "{channel}"
        api_url = "{receiver.url("/api/")}"
        """
    )
    _, printed = admin("check")
    assert line(printed, "target bot").startswith(said)
    assert {each.path for each in receiver.requests} <= {"/api/auth.test", "/api/conversations.info"}
    assert {each.headers["Authorization"] for each in receiver.requests} == {"Bearer xoxb-sEkrEt"}


class TestMessages:
    """`send-test` sends one message, `preview` none."""

    def test_a_test_message_goes_the_way_of_all_others(
        self, admin: Admin, receiver: Receiver, connection: redis.Redis
    ) -> None:
        code, printed = admin("send-test", "webhook")
        assert code == 0, printed
        (request,) = receiver.requests
        told = json.loads(request.body)
        assert (told["type"], told["data"]["app"]) == ("operation.succeeded", "opwatch-test")
        assert told["data"]["context"]["test"].startswith("sent with python -m admin")
        Webhook(WEBHOOK_SECRET).verify(request.body, dict(request.headers))
        assert connection.dbsize() == 0, "nothing is stored"

    def test_says_why_a_message_was_not_taken(self, admin: Admin, receiver: Receiver) -> None:
        receiver.script("/slack", Reply(403, "action_prohibited"))
        assert admin("send-test", "slack") == (1, "FAIL  target slack: Slack answered 403: action_prohibited\n")

    @pytest.mark.parametrize(
        ("target", "verdict"), [("slack", "failed"), *(("webhook", kind) for kind in sample.KINDS)]
    )
    def test_what_is_previewed_is_what_is_sent(
        self, admin: Admin, capsys: pytest.CaptureFixture[str], receiver: Receiver, target: str, verdict: str
    ) -> None:
        assert admin("send-test", target, "--verdict", verdict)[0] == 0
        (request,) = receiver.requests
        capsys.readouterr()
        assert main(["preview", target, "--verdict", verdict]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert without_times(shown) == without_times(json.loads(request.body))
        assert len(receiver.requests) == 1

    def test_a_failure_is_previewed_unless_told_otherwise(self, admin: Admin) -> None:
        _, printed = admin("preview", "webhook")
        assert '"type": "operation.failed"' in printed

    def test_the_console_is_previewed(self, admin: Admin, with_targets: Callable[[str], None]) -> None:
        with_targets("")
        code, printed = admin("preview", "console")
        assert (code, printed.splitlines()[0]) == (0, "❌ opwatch-test: test failed after 42 s (usually 15–20 s)")

    @pytest.mark.usefixtures("other_kinds")
    def test_a_kind_without_a_preview_says_so_and_sends_nothing(
        self, admin: Admin, with_targets: Callable[[str], None], trap: Trap
    ) -> None:
        with_targets(f'[targets.me]\nkind = "diallers"\nport = {trap.port}\n')
        code, printed = admin("preview", "me")
        assert code == 1
        assert "has no preview" in printed
        assert trap.caught == 0
        assert admin("send-test", "me")[0] == 0
        assert trap.caught == 1

    @pytest.mark.usefixtures("other_kinds")
    def test_a_kind_may_show_its_message_itself(self, admin: Admin, with_targets: Callable[[str], None]) -> None:
        with_targets('[targets.me]\nkind = "letters"\nport = 1\n')
        assert admin("preview", "me") == (0, "Subject: opwatch-test\n")

    def test_of_a_live_message_the_last_edit_and_the_reply_are_previewed(
        self, admin: Admin, capsys: pytest.CaptureFixture[str], with_targets: Callable[[str], None], receiver: Receiver
    ) -> None:
        posted = '{"ok": true, "channel": "C0000000000", "ts": "1.000000"}'
        for method in ("chat.postMessage", "chat.update"):
            receiver.script(f"/api/{method}", Reply(200, posted, {"Content-Type": "application/json"}))
        bot = 'kind = "slack"\nbot_token = "xoxb-sEkrEt"\nchannel = "C0123456789"\nlive = true\n'
        with_targets(f'[targets.bot]\n{bot}api_url = "{receiver.url("/api/")}"\n')
        assert main(["preview", "bot"]) == 0
        shown = capsys.readouterr().out
        assert list(receiver.requests) == []
        assert admin("send-test", "bot", "--verdict", "failed")[0] == 0
        assert [each.path.rpartition("/")[2] for each in receiver.requests] == [
            "chat.postMessage", "chat.update", "chat.postMessage"
        ]  # fmt: skip
        where = ("channel", "ts", "thread_ts", "attachments")
        told = [{k: v for k, v in json.loads(each.body).items() if k not in where} for each in receiver.requests]
        assert shown == "".join(f"{json.dumps(body, ensure_ascii=False, indent=2)}\n" for body in told[1:])

    @pytest.mark.usefixtures("settings")
    def test_of_the_settings_only_the_target_is_needed(self, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("REDIS_URL", "OPWATCH_TOKENS", "SCALINGO_API_TOKEN", "SCALINGO_API_TOKEN_OTHER"):
            monkeypatch.delenv(name)
        assert admin("preview", "slack")[0] == 0
        assert admin("send-test", "slack")[0] == 0

    @pytest.mark.parametrize("command", ["send-test", "preview", "retry-dead"])
    def test_an_unknown_target_is_a_usage_error(self, admin: Admin, command: str) -> None:
        code, printed = admin(command, "nobody")
        assert code == 2
        assert "configured: failures, shops, slack, webhook" in printed


def without_times(told: Any) -> Any:
    """Remove the parts that differ between test messages."""
    if isinstance(told, dict):
        odd = ("id", "operation_id", "timestamp", "created_at", "ended_at", "finished_at", "last_polled_at")
        return {name: without_times(value) for name, value in told.items() if name not in odd}
    return [without_times(value) for value in told] if isinstance(told, list) else told


def ended(store: Store, settings: Settings, number: int, **changes: Any) -> str:
    """Store an operation that has just failed, with deliveries to slack and webhook."""
    identity = tracked(store, operation_id(number), notify_all=False, notify=("slack", "webhook"), **changes)
    seen(store, identity, BROKEN, settings.rules)
    return identity


def states(store: Store, identity: str) -> dict[str, str]:
    return {d.target: str(d.state) for d in found(store, identity).tracking.deliveries}


class TestList:
    """`list` shows operations, newest first."""

    @pytest.fixture(autouse=True)
    def _three(self, store: Store, settings: Settings) -> None:
        self.one = ended(store, settings, 1)
        attempted(store, self.one, "webhook", PermanentError("410 Gone \x1b[31m"))
        self.two = ended(store, settings, 2, app="blog")
        self.three = tracked(store, operation_id(3))

    def test_as_a_table(self, admin: Admin) -> None:
        code, printed = admin("list")
        headings, *rows = printed.splitlines()
        assert code == 0
        assert headings.split() == list(trackings.HEADINGS)
        assert {row.split()[0] for row in rows} == {self.one, self.two, self.three}
        (row,) = (row for row in rows if row.startswith(self.one))
        assert row.endswith("slack pending, webhook given up (410 Gone)")
        assert row.split()[1:4] == ["shop", "restart", "failed"]

    @pytest.mark.parametrize(
        ("narrowed", "names"),
        [
            (["--app", "blog"], ["two"]),
            (["--state", "tracking"], ["three"]),
            (["--delivery", "dead"], ["one"]),
            (["--app", "blog", "--delivery", "dead"], []),
        ],
    )
    def test_narrowed_for_scripts(self, admin: Admin, narrowed: list[str], names: list[str]) -> None:
        _, printed = admin("list", "--json", *narrowed)
        assert [each["id"] for each in json.loads(printed)] == [getattr(self, name) for name in names]

    def test_what_a_look_met_is_said(self, admin: Admin, store: Store, settings: Settings) -> None:
        seen(store, self.three, SignInRejectedError("the API token is rejected"), settings.rules)
        _, printed = admin("list", "--state", "tracking")
        assert printed.endswith("no answer yet: the API token is rejected\n")

    @pytest.mark.parametrize(("pattern", "number"), [(" SHOP", 2), ("b*g", 1), ("*", 3), ("sho", 0)])
    def test_an_app_is_found_as_it_is_typed(self, admin: Admin, pattern: str, number: int) -> None:
        assert len(json.loads(admin("list", "--json", "--app", pattern)[1])) == number

    def test_nothing_that_it_prints_steers_a_terminal(self, admin: Admin, store: Store) -> None:
        odd = "\u009b31m\u202e\u061c\x1b[2J\nosc-fr1-forged  x"
        tracked(store, operation_id(4), app=f"app{odd}", group=f"group{odd}", context={"x": odd}, last_error=odd)
        _, table = admin("list")
        assert len(table.splitlines()) == 5
        assert not set(table) & set("\u009b\u202e\x1b")
        _, printed = admin("list", "--json")
        assert printed.isascii()
        assert json.loads(printed)[0]["context"] == {"x": odd}

    def test_it_says_when_it_began_and_in_which_group(self, admin: Admin, store: Store) -> None:
        began = store.records.now()
        identity = tracked(store, operation_id(4), group="build 17")
        (row,) = (row for row in admin("list")[1].splitlines() if row.startswith(identity))
        assert f"{began:%b %d %H:}" in row
        assert row.split("  ")[-2:] == ["build 17", "-"]

    @pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5"])
    def test_a_limit_is_a_number_from_one(self, admin: Admin, limit: str) -> None:
        code, printed = admin("list", f"--limit={limit}")
        assert (code, "--limit: must be a number from 1" in printed) == (2, True)

    @pytest.mark.parametrize("command", ["list", "list --json", "check --json", "retry-dead --json", "--help"])
    def test_a_reader_that_has_read_enough_is_no_fault(self, command: str) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        ran = subprocess.run(
            [sys.executable, "-m", "admin", *command.split()],
            cwd=ROOT,
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(writing)
        assert (ran.returncode, ran.stderr) == (0, b"")

    def test_no_longer_than_asked(self, admin: Admin) -> None:
        _, printed = admin("list", "--limit", "2")
        assert len(printed.splitlines()) == 4  # headings, two rows, and a hint at more


class TestCancel:
    """`cancel` ends the watch of one operation."""

    def test_once(self, admin: Admin, store: Store) -> None:
        identity = tracked(store, operation_id(1))
        assert admin("cancel", identity) == (0, f"cancelled {identity}\n")
        ended = found(store, identity).tracking
        assert (ended.state, ended.cancelled_by, ended.deliveries) == ("cancelled", "admin", ())
        assert admin("cancel", identity) == (1, f"{identity} has already ended\n")
        assert admin("cancel", "no\x1b[2Jthing") == (1, "no operation 'nothing' is tracked\n")


class TestRetryDead:
    """`retry-dead` makes given-up deliveries due."""

    @pytest.fixture(autouse=True)
    def _three_dead(self, store: Store, settings: Settings) -> None:
        self.one, self.two = ended(store, settings, 1), ended(store, settings, 2)
        for identity, target in ((self.one, "slack"), (self.one, "webhook"), (self.two, "webhook")):
            attempted(store, identity, target, PermanentError("410 Gone"))
        attempted(store, self.two, "slack")

    def test_all_of_them_once(self, admin: Admin, store: Store, connection: redis.Redis) -> None:
        assert admin("retry-dead") == (0, "3 will be retried: 1 to slack, 2 to webhook\n")
        assert states(store, self.one) == {"slack": "pending", "webhook": "pending"}
        assert states(store, self.two) == {"slack": "delivered", "webhook": "pending"}
        assert store.overview.size(OUTBOX) == 3
        assert connection.llen("rq:queue:opwatch-deliver") == 1, "the doorbell rings at once"
        assert admin("retry-dead") == (0, "no delivery was given up\n")

    def test_those_of_one_target(self, admin: Admin, store: Store) -> None:
        assert json.loads(admin("retry-dead", "slack", "--json")[1]) == {"retried": {"slack": 1}, "left": {}}
        assert states(store, self.one) == {"slack": "pending", "webhook": "dead"}

    def test_not_those_of_a_target_that_is_gone(
        self, admin: Admin, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("WEBHOOK_URL", "WEBHOOK_SECRET"):
            monkeypatch.delenv(name)
        monkeypatch.delenv("OPWATCH_TARGETS_FILE")
        _, printed = admin("retry-dead")
        assert printed.splitlines() == [
            "1 will be retried: 1 to slack",
            "not retried, because these targets are not configured: 2 to webhook",
        ]
        assert states(store, self.two)["webhook"] == "dead"


@pytest.mark.usefixtures("settings")
def test_an_unknown_target_is_said_even_if_settings_are_missing(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "OPWATCH_TOKENS", "SLACK_WEBHOOK_URL"):
        monkeypatch.delenv(name)
    code, printed = admin("preview", "slack")
    assert (code, printed.splitlines()[-1]) == (1, "no target is named 'slack'; configured: failures, shops, webhook")


@pytest.mark.parametrize("command", ["list", "retry-dead", "send-test nobody", "preview nobody"])
def test_faulty_settings_stop_what_needs_them(admin: Admin, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("OPWATCH_TOKENS", "sEkrEt")
    monkeypatch.setenv("SCALINGO_AUTH_URL", "sEkrEt")
    code, printed = admin(*command.split())
    assert code == 1
    assert printed.startswith("Correct these settings:\n")
    assert printed.count("\n  - ") == 2


@pytest.mark.parametrize("command", ["list", "retry-dead"])
def test_redis_away_is_said(admin: Admin, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert admin(command) == (1, "Redis fails (ConnectionError); see python -m admin check\n")


@pytest.mark.parametrize(("arguments", "code"), [("--help", 0), ("check --help", 0), ("", 2), ("lst", 2)])
def test_usage_is_shown(admin: Admin, arguments: str, code: int) -> None:
    ended_with, printed = admin(*arguments.split())
    assert ended_with == code
    assert "usage: python -m admin" in printed


@pytest.mark.usefixtures("settings")
def test_it_is_a_program_of_its_own() -> None:
    command = [sys.executable, "-m", "admin", "list"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, list(trackings.HEADINGS), "")
