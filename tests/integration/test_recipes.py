"""The kind `http`: every recipe of docs/recipes.md against a server, and values that try to leave their place."""

import email.header
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from notifiers.targets import build
from operations.errors import ConfigError, OpwatchError, PermanentError
from operations.model import Operation, State, Verdict
from operations.telling.announcement import Announcement, body_of, read
from operations.telling.progress import compose
from tests.support.receiver import Receiver, RequestReceived
from tests.support.running import ROOT
from tests.support.stages import attempted
from tests.unit.strategies import NOW, a_tracking
from workers.loop import HttpLoop

HOSTILE = 'say "no"\n\\u0022 {{app}} ${HOME}\r\nX-Evil: 1\t\x00\x1b[31m</b>&<users/all> 🐑 %2e'
SAID = 'say "no"\n\\u0022 {{app}} ${HOME}\nX-Evil: 1\t</b>&<users/all> 🐑 %2e'
CONTEXT = {"actor": 'jane "j"', "commit": "4f2c1aa9", "environment": "production", "deployment": "42", "evil": HOSTILE}
FAILED = replace(
    read(
        "osc-fr1-5ed1_1_failed_x",
        body_of(
            a_tracking(
                state=State.FAILED,
                ended_at=NOW,
                duration_s=42.0,
                operation=Operation(status="error", outcome=Verdict.FAILED, type="restart", error=HOSTILE),
                context=CONTEXT,
                group="deploy 7",
            )
        ),
    ),
    delivery_id="osc-fr1-5ed1_1_failed_x",
)
SUCCEEDED = replace(FAILED, delivery_id="osc-fr1-5ed1_1_succeeded_x", verdict=Verdict.SUCCEEDED, error=None)
HEADLINE = "❌ shop (production): restart failed after 42 s"
RECIPES = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
TARGETS: dict[str, dict[str, Any]] = {
    name: table
    for block in re.findall(r"^```toml\n(.*?)^```$", RECIPES, re.MULTILINE | re.DOTALL)
    for name, table in tomllib.loads(block)["targets"].items()
}
SECRET = "sEkrEt-of-nobody"  # noqa: S105 - it opens nothing


@pytest.fixture
def server() -> Iterator[Receiver]:
    """Run the service that a recipe posts to."""
    with Receiver() as receiver:
        yield receiver


def made(server: Receiver, table: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Any:
    """Make the target, with the server in place of the service's host."""
    url = re.sub(r"^https://[^/?]+", server.base_url, table["url"])
    return build("x", {"kind": "http", **table, "url": url}, environ or {}, plain_http=True).notifier


Send = Callable[..., OpwatchError | None]


@pytest.fixture
def send(loop: HttpLoop) -> Send:
    """Return a function that sends once, as a worker does, and returns the error."""
    return lambda notifier, told=FAILED: attempted(loop, lambda: notifier.send(told, loop.targets))


# Each service's required fields, by its documentation:
# https://developers.google.com/workspace/chat/api/reference/rest/v1/cards, PagerDuty's Events API v2, Grafana's and
# Sentry's HTTP API, https://spec.matrix.org (send/{eventType}/{txnId}), GitHub's and GitLab's REST API, docs.ntfy.sh


def google_chat(_: RequestReceived, body: Any) -> None:
    assert body["fallbackText"] == HEADLINE
    (card,) = body["cardsV2"]
    assert card["card"]["header"] == {"title": HEADLINE, "subtitle": 'jane "j"'}
    (section,) = card["card"]["sections"]
    assert section["widgets"][0]["textParagraph"]["text"] == f"restart of shop: 42 s\n{SAID}"


def pagerduty(request: RequestReceived, body: Any) -> None:
    assert request.path == "/v2/enqueue"
    assert (body["routing_key"], body["event_action"]) == (SECRET, "trigger")
    assert body["dedup_key"] == "opwatch/shop/restart"
    payload = body["payload"]
    assert 0 < len(payload["summary"]) <= 1_024
    assert payload["source"]
    assert payload["severity"] in ("critical", "error", "warning", "info")


def pagerduty_resolved(_: RequestReceived, body: Any) -> None:
    assert body == {"routing_key": SECRET, "event_action": "resolve", "dedup_key": "opwatch/shop/restart"}


def grafana(request: RequestReceived, body: Any) -> None:
    assert request.path == "/api/annotations"
    assert body == {"text": HEADLINE, "tags": ["opwatch", "app:shop", "restart", "failed"]}


def sentry(request: RequestReceived, body: Any) -> None:
    assert request.path == f"/api/0/organizations/{SECRET}/releases/4f2c1aa9/deploys/"
    assert body["environment"] == "production"
    assert body["dateFinished"] == "2026-03-01T12:00:00.000Z"


def matrix(request: RequestReceived, body: Any) -> None:
    assert (request.method, request.path.rsplit("/", 2)[1:]) == ("PUT", ["m.room.message", "osc-fr1-5ed1"])
    assert body["msgtype"] == "m.notice"
    assert body["body"].startswith(f"{HEADLINE}\n{SAID}\n")
    assert body["m.mentions"] == {}


def github(request: RequestReceived, body: Any) -> None:
    assert request.path == "/repos/example/shop/deployments/42/statuses"
    assert request.headers["Accept"] == "application/vnd.github+json"
    assert body["state"] in ("success", "failure")
    assert 0 < len(body["description"]) <= 140


def gitlab(request: RequestReceived, body: Any) -> None:
    assert request.path == f"/api/v4/projects/{SECRET}/statuses/4f2c1aa9"
    assert request.headers["PRIVATE-TOKEN"] == SECRET
    assert body["state"] in ("success", "failed")
    assert 0 < len(body["description"]) <= 255


def ntfy(request: RequestReceived, body: Any) -> None:
    assert body == f"restart of shop: 42 s\n{SAID}"
    (decoded,) = email.header.decode_header(request.headers["Title"])
    assert decoded[0].decode() == HEADLINE
    assert "Click" not in request.headers, "there is no story to link to"


CHECKS = {
    "google-chat": google_chat, "pagerduty": pagerduty, "pagerduty-resolved": pagerduty_resolved, "grafana": grafana,
    "sentry": sentry, "matrix": matrix, "github-succeeded": github, "github-failed": github,
    "gitlab-succeeded": gitlab, "gitlab-failed": gitlab, "ntfy": ntfy,
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_a_recipe_sends_what_the_service_requires(name: str, server: Receiver, send: Send) -> None:
    table = dict(TARGETS[name])
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", str(table)), SECRET)
    if table["url"] == "${GOOGLE_CHAT_URL}":
        table["url"] = "https://chat.googleapis.com/v1/spaces/A/messages?key=k&token=t"
    notifier = made(server, table, environ)
    told = SUCCEEDED if table.get("on") == ["succeeded"] else FAILED
    assert send(notifier, told) is None
    (request,) = server.requests
    body = request.body.decode()
    CHECKS[name](request, body if name == "ntfy" else json.loads(body))
    assert SECRET not in repr(notifier) + notifier.preview(told)


EVERYWHERE = {
    "method": "patch",
    "url": "https://a.example/x/{{context.evil}}/{{app}}?q={{context.evil}}&none={{context.none}}",
    "headers": {"X-One": "v {{context.evil}}", "X-Two": "{{app}} {{verdict}}", "X-None": "{{context.none}}"},
    "body": '{"{{app}}": ["{{cause}}", 1.5, null, {"n": "<{{ context.evil }}|{{group}}|{{duration}}>"}]}',
}


def test_no_value_leaves_its_place(server: Receiver, send: Send) -> None:
    assert send(made(server, EVERYWHERE)) is None
    (request,) = server.requests
    one_line = " ".join(SAID.split())
    assert request.method == "PATCH"
    assert json.loads(request.body) == {"shop": [SAID, 1.5, None, {"n": f"<{SAID}|deploy 7|42 s>"}]}
    assert request.headers["Content-Type"] == "application/json"
    ((word, _),) = email.header.decode_header(request.headers["X-One"])
    assert word.decode() == f"v {one_line}"
    assert request.headers["X-Two"] == "shop failed"
    assert not {"X-Evil", "X-None"} & set(request.headers)
    assert parse_qs(request.query, keep_blank_values=True) == {"q": [one_line.replace("%2e", ".")], "none": [""]}
    assert request.path == f"/x/{one_line}/shop"


@pytest.mark.parametrize(
    ("content_type", "body", "sent"),
    [
        (None, "{{cause}}", SAID),
        ("text/plain", '{"a": {{cause}}}', f'{{"a": {SAID}}}'),
        ("text/html", "<b>{{cause}}</b>", "&lt;/b&gt;&amp;&lt;users/all&gt;"),
        ("application/x-www-form-urlencoded", "a={{cause}}&b=1", "%26%3Cusers%2Fall%3E"),
    ],
)
def test_a_body_in_another_format_is_escaped_for_it(
    content_type: str | None, body: str, sent: str, server: Receiver, send: Send
) -> None:
    headers = {} if content_type is None else {"content-TYPE": content_type}
    assert send(made(server, {"url": "https://a.example", "headers": headers, "body": body})) is None
    (request,) = server.requests
    assert sent in request.body.decode()
    assert request.headers["Content-Type"] == content_type or request.headers["Content-Type"].startswith("text/plain")


def test_without_a_body_it_sends_the_webhooks_json_and_a_get_sends_none(server: Receiver, send: Send) -> None:
    for method, body in (("POST", FAILED.body), ("GET", b"")):
        assert send(made(server, {"url": "https://a.example/x", "method": method})) is None
        assert (server.requests[-1].method, server.requests[-1].body) == (method, body)
    assert "webhook-signature" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("value", "sent"),
    [("..", False), (".", False), ("", False), ("..%2f", True), ("a/../b", False), (r"a\..", False), ("a/b..c", True)],
)
def test_no_value_changes_the_path(value: str, sent: bool, server: Receiver, send: Send) -> None:  # noqa: FBT001
    notifier = made(server, {"url": "https://a.example/projects/{{context.commit}}/x"})
    error = send(notifier, replace(FAILED, context={"commit": value}))
    assert (error is None) is sent
    assert isinstance(error, PermanentError | None)
    assert [request.path for request in server.requests] == ([f"/projects/{value}/x"] if sent else [])


def test_each_message_has_an_id_of_its_own_that_its_attempts_share(server: Receiver, send: Send) -> None:
    notifier = made(server, {"url": "https://a.example/x", "body": '{"id": "{{id}}"}'})
    messages: tuple[Announcement, ...] = (
        FAILED,
        FAILED,
        replace(FAILED, delivery_id="osc-fr1-5ed1_2_failed_x"),
        replace(FAILED, delivery_id="osc-fr1-5ed1_1_slow_x", ended=False),
        replace(FAILED, delivery_id="osc-fr1-5ed1_1_failing_y_17", alert="deliveries to `y` are failing"),
    )
    assert [send(notifier, message) for message in messages] == [None] * 5
    first, again, *others = [json.loads(request.body)["id"] for request in server.requests]
    assert first == again == "osc-fr1-5ed1"
    assert others == [message.delivery_id for message in messages[2:]]


@pytest.mark.parametrize(("state", "verdict"), [(State.FAILED, Verdict.FAILED), (State.CANCELLED, Verdict.LOST)])
def test_a_closing_message_says_that_it_is_about_a_group(
    state: State, verdict: Verdict, server: Receiver, send: Send
) -> None:
    member = a_tracking(state=state, ended_at=NOW, duration_s=42.0, group="deploy 7", group_size=1)
    closing = compose("deploy 7", [member], [member.id], NOW)
    told = Announcement(
        delivery_id=f"group-5ed1_1_{state}_x", body=b"{}", verdict=verdict, app="deploy 7", region="", operation_id="",
        type=None, error=None, reason=None, duration_s=42.0, context={}, closing=closing,
    )  # fmt: skip
    body = '["{{app}}", "{{group}}", "{{type}}", "{{kind}}", "{{verdict}}", "{{id}}"]'
    assert send(made(server, {"url": "https://a.example/x", "body": body}), told) is None
    (request,) = server.requests
    assert json.loads(request.body) == ["deploy 7", "deploy 7", "group", "group", state.value, "group-5ed1"]


FAULTS = [
    ({"body": '{"a": "{{foo}}"}'}, "body: {{foo}} is not known; known: {{app}}, {{type}}"),
    ({"body": '{"a": "{{context.}}"}'}, "body: {{context.}} is not known"),
    ({"body": '{"a": "{{app}"}'}, "body: has {{ without a name and }} after it"),
    ({"body": '{"a": {{app}}}'}, "body: is not JSON"),
    ({"body": "{{app}}", "headers": {"Content-Type": "application/json"}}, "body: is not JSON"),
    ({"headers": {"X-A": "{{APP}}"}}, "headers.X-A: {{APP}} is not known"),
    ({"headers": {"X-A": "a\nX-B: b"}}, "headers.X-A: must be one line"),
    ({"headers": {"X A": "a"}}, "is not a header that can be set"),
    ({"headers": {"Content-Length": "1"}}, "is not a header that can be set"),
    ({"url": "https://{{app}}.example/x"}, "url: a placeholder may stand only in the path and in the query"),
    ({"url": "https://a:{{app}}@a.example/x"}, "url: a placeholder may stand only"),
    ({"url": "https://a.example/x#{{app}}"}, "url: a placeholder may stand only"),
    ({"url": "https://a.example/{{foo}}"}, "url: {{foo}} is not known"),
    ({"method": "TRACE"}, "method: "),
]


@pytest.mark.parametrize(("changes", "fault"), FAULTS)
def test_what_is_wrong_is_said_at_start_without_a_value(changes: dict[str, Any], fault: str) -> None:
    table = {"kind": "http", "url": f"https://a.example/{SECRET}", "headers": {"X-S": SECRET}, **changes}
    with pytest.raises(ConfigError) as raised:
        build("board", table, {}, plain_http=False)
    (said,) = raised.value.faults
    assert said.startswith("target 'board': ")
    assert fault in said
    assert SECRET not in said


def test_a_preview_shows_no_text_that_may_be_secret(server: Receiver) -> None:
    body = f'{{"key": "{SECRET}", "text": "{{{{headline}}}}"}}'
    assert json.loads(made(server, {"url": "https://a.example", "body": body}).preview(FAILED)) == {
        "key": "…",
        "text": HEADLINE,
    }
    text = made(server, {"url": "https://a.example", "body": f"{SECRET}: {{{{headline}}}}"}).preview(FAILED)
    assert text == f"{{{{headline}}}}: {HEADLINE}"
