"""The page: signing in, its content, and its buttons. tests/journeys/test_page.py uses real browsers."""

import gzip
import hashlib
import html as markup
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from urllib.parse import quote, unquote, urlencode

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from config.settings import Settings
from local.valkey import Valkey
from operations.errors import PermanentError, TransientError
from operations.kind import Kind, Links
from operations.model import Operation, State, Usual, Verdict
from operations.storage import listing
from operations.storage.index import BY_END, DEAD, RECENT, WRONG
from operations.storage.store import Store
from operations.telling.audience import Rule, Rules
from page import pages, sessions, throttle
from page.html import POLICY
from page.signing_in import COOKIE
from tests.integration.bench import BROKEN, DONE, attempted, found, maintain, operation_id, problem, seen, tracked
from tests.support import page_data
from tests.support.receiver import Receiver, Reply
from tests.support.running import CALLER_TOKEN, wait_until
from workers.deliver import delivery_round

OTHER_TOKEN = "another-token-of-somebody-0123"  # noqa: S105 - it opens nothing
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Browser:
    """A person's browser; it keeps cookies."""

    client: FlaskClient

    def get(self, path: str = "/", **headers: str) -> TestResponse:
        """Load a page."""
        return self.client.get(path, headers=headers)

    def sign_in(self, token: str = CALLER_TOKEN, headers: dict[str, str] | None = None, **more: str) -> TestResponse:
        """Send the form of /sign-in."""
        return self.client.post("/sign-in", data={"token": token, **more}, headers=headers or SAME_SITE)

    def press(
        self, path: str, *, form_token: str | None = None, headers: dict[str, str] | None = None, **more: str
    ) -> TestResponse:
        """Press a button, with the form's token unless another is given."""
        token = self.form_token() if form_token is None else form_token
        return self.client.post(path, data={"form_token": token, **more}, headers=headers or SAME_SITE)

    def form_token(self) -> str:
        """Read the token of the page's first form."""
        match = re.search(r'name="form_token" value="([0-9a-f]{64})"', self.get().text)
        assert match is not None
        return match[1]

    @property
    def key(self) -> str:
        """The session's key, as the cookie has it."""
        cookie = self.client.get_cookie(COOKIE)
        assert cookie is not None
        return cookie.value


@pytest.fixture
def stranger(app: Flask) -> Browser:
    """Return a browser that is not signed in."""
    return Browser(app.test_client())


@pytest.fixture
def browser(app: Flask) -> Browser:
    """Return a browser that is signed in."""
    signed_in = Browser(app.test_client())
    assert signed_in.sign_in().status_code == 303
    return signed_in


def is_page(answer: TestResponse, status: int) -> str:
    """Check that an answer is a page of ours, of this status; returns its text."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["Cache-Control"] == "no-store"
    text = re.sub(r"<(script|style)\b[^>]*\bsrc=", "", answer.text)
    assert not re.search(r"<script>|<style|\sstyle=|\son[a-z]+=", text), "inline code or style"
    return markup.unescape(answer.text)


# Signing in


@pytest.mark.parametrize("path", ["/", "/operations/osc-fr1-5ed11f2c884fef000f5e502e", "/operations/nothing"])
def test_a_stranger_is_sent_to_sign_in_and_back(stranger: Browser, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 303
    assert answer.headers["Location"] == ("/sign-in" if path == "/" else f"/sign-in?next={path}")
    is_page(stranger.get(answer.headers["Location"]), 200)
    assert stranger.sign_in(next=path).headers["Location"] == path


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/operations/../x", "/v1/operations", ""])
def test_nobody_is_sent_elsewhere_after_signing_in(stranger: Browser, path: str) -> None:
    assert stranger.sign_in(next=path).headers["Location"] == "/"


def test_the_cookie_is_for_this_host_and_no_script(stranger: Browser) -> None:
    cookie = stranger.sign_in().headers["Set-Cookie"]
    name, _, rest = cookie.partition("=")
    assert name.startswith("__Host-")
    assert {part.strip().lower() for part in rest.split(";")[1:]} >= {"secure", "httponly", "path=/", "samesite=strict"}
    assert "domain" not in rest.lower()
    assert len(stranger.key) >= 43  # 256 bits


def test_a_wrong_token_signs_nobody_in(stranger: Browser) -> None:
    with capture_logs() as lines:
        for token in ("", "wrong", CALLER_TOKEN[:-1], f"ci:{CALLER_TOKEN}", "é"):
            answer = stranger.sign_in(token)
            assert "This token is not valid" in is_page(answer, 403)
            assert "Set-Cookie" not in answer.headers
    assert stranger.get().status_code == 303
    failed = [line for line in lines if line["event"] == "sign-in failed"]
    assert failed == [{"event": "sign-in failed", "address": "127.0.0.1", "log_level": "warning"}] * 5
    assert CALLER_TOKEN[:-1] not in str(lines)


def test_a_form_larger_than_any_of_ours_is_not_even_read(stranger: Browser) -> None:
    is_page(stranger.sign_in(CALLER_TOKEN, padding="x" * 5_000), 413)
    assert stranger.get().status_code == 303


def test_redis_has_neither_key_nor_token(browser: Browser, connection: redis.Redis) -> None:
    browser.get()
    everything = "".join(f"{key!r} {connection.get(key)!r}" for key in connection.keys("opwatch:s*"))
    assert "opwatch:session:" in everything
    assert browser.key not in everything
    assert CALLER_TOKEN not in everything


def test_a_session_ends_when_its_token_is_gone_or_another(
    browser: Browser, make_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    for tokens, stays in (
        (f"ci:{CALLER_TOKEN},x:{OTHER_TOKEN}", 200),
        (f"ci:{OTHER_TOKEN}", 303),
        (f"x:{CALLER_TOKEN}", 303),
    ):
        monkeypatch.setenv("OPWATCH_TOKENS", tokens)
        restarted = Browser(make_app().test_client())
        restarted.client.set_cookie(COOKIE, browser.key)
        assert restarted.get().status_code == stays, tokens


def test_a_session_ends_by_itself(browser: Browser, connection: redis.Redis) -> None:
    (name,) = connection.keys("opwatch:session:*")
    assert 0 < connection.ttl(name) <= sessions.IDLE.total_seconds()
    connection.expire(name, 100)
    assert browser.get().status_code == 200
    assert connection.ttl(name) > 100
    record = json.loads(connection.get(name) or b"")
    connection.set(name, json.dumps({**record, "until": "2020-01-01T00:00:00Z"}))
    assert browser.get().status_code == 303


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{}",
        b"\xff",
        b'{"caller":"ci","mark":"\\u00e9","until":"2999-01-01T00:00:00Z"}',
        b'{"caller":"nobody","mark":"","until":"2999-01-01T00:00:00Z"}',
        b'{"caller":"ci","mark":"","until":"2999-01-01T00:00:00"}',
    ],
)
def test_a_damaged_session_is_none(browser: Browser, connection: redis.Redis, damaged: bytes) -> None:
    (name,) = connection.keys("opwatch:session:*")
    connection.set(name, damaged)
    assert browser.get().status_code == 303


def test_signing_out_ends_the_session_and_signing_in_anew_the_former(browser: Browser) -> None:
    first = browser.key
    assert browser.sign_in().status_code == 303
    assert browser.key != first
    second = browser.key
    answer = browser.press("/sign-out")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    for key in (first, second):
        browser.client.set_cookie(COOKIE, key)
        assert browser.get().status_code == 303


def test_guessing_is_slowed_down_for_one_address_alone(stranger: Browser) -> None:
    def guess(address: str, token: str = "guess") -> int:  # noqa: S107 - it opens nothing
        return stranger.sign_in(token, headers={**SAME_SITE, "X-Forwarded-For": address}).status_code

    answers = [guess("198.51.100.9") for _ in range(throttle.TRIES_OF_ADDRESS * 12)]
    assert answers[0] == 403
    assert answers[-1] == 429  # a new minute may have begun
    assert answers.count(403) <= 2 * throttle.TRIES_OF_ADDRESS
    assert guess("198.51.100.9", CALLER_TOKEN) in (429, 303)
    assert guess("198.51.100.10", CALLER_TOKEN) == 303


def test_guessing_from_everywhere_is_slowed_down_too(stranger: Browser) -> None:
    answers = [
        stranger.sign_in("guess", headers={**SAME_SITE, "X-Forwarded-For": f"198.51.100.{number % 250}"})
        for number in range(2 * throttle.TRIES_OF_ALL + 20)
    ]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 20
    assert refused[0].headers["Retry-After"] == "60"
    assert "Wait a minute" in is_page(refused[0], 429)


# What one of another kind shows


def test_a_deployment_in_another_region_shows_its_kind_and_links(browser: Browser, store: Store) -> None:
    uuid = "7d3c5a52-1f0b-4a39-9c2b-0f7d4f0f6c11"
    logs = "https://dashboard.scalingo.com/apps/osc-fr1/shop/deploy/list"
    links = Links(logs=logs, story=f"https://opwatch.example.com/operations/osc-fr1-{uuid}")
    identity = tracked(store, uuid, kind=Kind.DEPLOYMENT, v=2, links=links, place="agency in osc-secnum-fr1")
    text = is_page(browser.get(f"/operations/{identity}"), 200)
    assert "<dt>kind</dt><dd>deployment</dd>" in text
    for url in (links.logs, links.story):
        assert f'href="{url}"' in text
    assert "<bdi>shop</bdi> (agency in osc-secnum-fr1)" in text
    assert "(agency in osc-secnum-fr1)" in is_page(browser.get(), 200)
    plain = is_page(browser.get(f"/operations/{tracked(store, operation_id(1))}"), 200)
    assert [part for part in ("<dt>kind", "<dt>logs", "<dt>story", "</bdi> (") if part in plain] == []


# Bearers for the API, sessions for the page


def test_a_bearer_does_not_open_the_page(stranger: Browser) -> None:
    assert stranger.get(Authorization=f"Bearer {CALLER_TOKEN}").status_code == 303


def test_a_session_does_not_open_the_api(browser: Browser) -> None:
    for path in ("/v1/operations", "/metrics"):
        assert browser.get(path).status_code == 401
    assert (
        browser.client.post("/v1/operations", data={"app": "shop", "operation_id": operation_id(1)}).status_code == 401
    )


# Forms from other sites


@pytest.mark.parametrize("form_token", ["", "0" * 64, "é"])
def test_a_form_without_the_sessions_token_does_nothing(browser: Browser, store: Store, form_token: str) -> None:
    identity = tracked(store, operation_id(1))
    answer = browser.press(f"/operations/{identity}/stop", form_token=form_token)
    assert "out of date" in is_page(answer, 403)
    assert browser.press("/sign-out", form_token=form_token).status_code == 403
    assert found(store, identity).tracking.state == "tracking"
    assert browser.get().status_code == 200


def test_a_form_of_another_session_does_nothing(app: Flask, browser: Browser, store: Store) -> None:
    identity = tracked(store, operation_id(1))
    other = Browser(app.test_client())
    other.sign_in()
    assert browser.press(f"/operations/{identity}/stop", form_token=other.form_token()).status_code == 403


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:8001"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
)
def test_a_form_sent_by_another_site_does_nothing(
    browser: Browser, stranger: Browser, store: Store, elsewhere: dict[str, str]
) -> None:
    identity = tracked(store, operation_id(1))
    assert browser.press(f"/operations/{identity}/stop", headers=elsewhere).status_code == 403
    assert stranger.sign_in(headers=elsewhere).status_code == 403
    assert stranger.sign_in(headers={"Origin": "http://localhost"}).status_code == 303, "an old browser, our own page"


def test_after_the_session_somebody_comes_back_and_hears_that_nothing_was_done(
    browser: Browser, store: Store, connection: redis.Redis
) -> None:
    identity, there = tracked(store, operation_id(1)), "/?state=failed%2Clost&app=shop"
    token = browser.form_token()
    connection.delete(*connection.keys("opwatch:session:*"))
    answer = browser.get(there)
    assert "state=failed,lost&app=shop" in unquote(unquote(answer.headers["Location"]))
    answer = browser.press(f"/operations/{identity}/stop", form_token=token, back=there)
    asked = browser.get(answer.headers["Location"])
    assert "nothing was done" in is_page(asked, 200)
    (hidden,) = re.findall(r'name="next" value="([^"]*)"', asked.text)
    assert browser.sign_in(next=markup.unescape(hidden)).headers["Location"] == there
    assert found(store, identity).tracking.state == "tracking"


def test_a_link_from_elsewhere_is_led_on_to_where_the_cookie_is_sent(stranger: Browser) -> None:
    path = "/operations/osc-fr1-5ed11f2c884fef000f5e502e"
    answer = stranger.get(path, **{"Sec-Fetch-Site": "cross-site"})
    assert f'content="0; url={path}"' in is_page(answer, 200)
    assert stranger.get(path, **{"Sec-Fetch-Site": "same-origin"}).status_code == 303


# What it shows


def test_an_empty_page_says_so(browser: Browser) -> None:
    text = is_page(browser.get(), 200)
    assert "Nothing is in flight." in text
    assert "No worker runs" in text
    assert 'curl -d operation_url="$LOCATION"' in text
    assert "http://localhost/v1/operations" in text
    assert "<title>Opwatch</title>" in text


def test_it_shows_what_is_in_flight_what_ended_and_what_is_not_told(
    browser: Browser, store: Store, settings: Settings
) -> None:
    usual = Usual(p50=15.0, p90=20.0, samples=9)
    tracked(store, operation_id(1), app="flying", usual=usual, created_at=store.records.now() - timedelta(seconds=12))
    ended = tracked(store, operation_id(2), app="broken", notify=("slack", "webhook"))
    seen(store, ended, BROKEN, settings.rules)
    attempted(store, ended, "slack", PermanentError("410 Gone"))
    attempted(store, ended, "webhook", TransientError("503 Service Unavailable", retry_after_s=3600.0))
    text = is_page(browser.get(), 200)
    assert "<title>2 not delivered · 1 in flight · Opwatch</title>" in text
    for words in (
        "of usually 15–20\u00a0s",
        "it broke",
        "1 given up",
        "410 Gone",
        "1 retrying",
        "503 Service Unavailable",
    ):
        assert words in text
    assert re.search(r'<progress aria-label="flying: operation" value="1[2-9][.0-9]*" max="20.0">', text)
    story = is_page(browser.get(f"/operations/{ended}"), 200)
    for words in ("tracked by ci", "looked: error", "outcome not delivered to slack", "410 Gone", "it broke"):
        assert words in story


def test_a_target_with_many_failing_deliveries_hides_no_other(browser: Browser, store: Store) -> None:
    rules: Rules = {"aaa-webhook": Rule(apps=("many",)), "slack": Rule(apps=("one",)), "zzz": Rule(apps=("dead-*",))}
    for number in range(60):
        attempted(store, failed(store, rules, number, "many"), "aaa-webhook", TransientError("503"))
        attempted(store, failed(store, rules, 100 + number, "dead-many"), "zzz", PermanentError("410"))
    attempted(store, failed(store, rules, 200, "one"), "slack", TransientError("429"))
    text = is_page(browser.get(), 200)
    assert "<title>121 not delivered · Opwatch</title>" in text
    for target, badge in (("aaa-webhook", "60 retrying"), ("slack", "1 retrying"), ("zzz", "60 given up")):
        assert badge in text.partition(f'id="target-{target}"')[2].partition("</li>\n</ul>")[0]
    assert text.count('<li id="osc-fr1-') == 7, "the first three of each"
    assert text.count('href="/?delivery=retrying"') == text.count('href="/?delivery=dead"') == 1
    assert is_page(browser.get("/?delivery=retrying"), 200).count('id="op-') == 50


def failed(store: Store, rules: Rules, number: int, app: str) -> str:
    """Store an operation that has failed, with its deliveries."""
    identity = tracked(store, operation_id(number), app=app)
    seen(store, identity, BROKEN, rules)
    return identity


def test_what_was_told_in_the_end_is_not_failing_any_more(browser: Browser, store: Store, settings: Settings) -> None:
    ended = tracked(store, operation_id(2))
    seen(store, ended, BROKEN, settings.rules)
    attempted(store, ended, "slack", PermanentError("410 Gone"))
    assert "410 Gone" in browser.get().text
    assert browser.press(f"/operations/{ended}/deliveries/slack/retry").status_code == 303
    assert "410 Gone" not in browser.get().text
    assert "410 Gone" in browser.get(f"/operations/{ended}").text  # its timeline stays


@pytest.mark.parametrize("path", ["/", "/?state=failed", "/operations/{id}"])
def test_texts_from_outside_break_nothing(browser: Browser, store: Store, settings: Settings, path: str) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> \u202egnp.exe \x1b[31mred\x00"
    context = {"actor": evil, evil: evil, "url": "javascript:alert(1)"}
    identity = tracked(store, operation_id(1), app=evil, created_by=evil, context=context, group=evil)
    seen(store, identity, Operation(status="error", outcome=Verdict.FAILED, type=evil, error=evil), settings.rules)
    attempted(store, identity, "slack", PermanentError(evil))
    answer = browser.get(path.format(id=identity))
    assert answer.status_code == 200
    assert "<img" not in answer.text
    assert "<script>" not in answer.text
    assert 'href="javascript' not in answer.text
    assert not re.search("[\u202e\x1b\x00]", answer.text)
    assert "&lt;script&gt;alert(1)" in answer.text


def test_a_link_of_the_context_takes_nothing_with_it(browser: Browser, store: Store) -> None:
    tracked(store, operation_id(1), context={"url": "https://ci.example.com/17?a=1&b=2"})
    expected = '<a href="https://ci.example.com/17?a=1&amp;b=2" rel="noreferrer noopener">'
    assert expected in browser.get().text


def test_the_list_is_filtered_and_has_pages(browser: Browser, store: Store) -> None:
    for number in range(60):
        identity = tracked(store, operation_id(number), app="shop" if number % 2 else "blog")
        if number < 55:
            seen(store, identity, DONE, {})
    assert browser.get("/?app=shop").text.count('<li class="card') == 30
    assert browser.get("/?app=shop&state=tracking").text.count('<li class="card') == 3
    first = browser.get("/?state=succeeded").text
    assert first.count('<li class="card') == 50
    (older,) = re.findall(r'href="(/\?[^"]*cursor[^"]*)"', first)
    second = browser.get(markup.unescape(older)).text
    assert second.count('<li class="card') == 5
    assert "cursor" not in second
    overview = browser.get().text
    assert overview.count('<li class="card') == 5 + 25


def test_of_very_many_in_flight_the_newest_are_shown(browser: Browser, store: Store) -> None:
    now = store.records.now()
    for number in range(60):
        began = now - timedelta(seconds=number)
        tracked(store, operation_id(number), created_at=began, next_look_at=now - timedelta(hours=number))
    text = browser.get().text
    assert re.findall(r'id="op-osc-fr1-([0-9a-f]+)"', text) == [operation_id(number) for number in range(50)]
    assert '<a href="/?state=tracking">All 60</a>' in text


def test_what_was_deployed_together_is_found_together(browser: Browser, store: Store) -> None:
    first, _ = (tracked(store, operation_id(number), group="build 1 & 2") for number in (1, 2))
    tracked(store, operation_id(3), group="build 1")
    (link,) = re.findall(r'href="(/groups/[^"]*)"', browser.get(f"/operations/{first}").text)
    assert browser.get(markup.unescape(link)).text.count('<li class="card') == 2
    assert browser.get("/?group=build+1+%26+2").text.count('<li class="card') == 2


@pytest.mark.parametrize(
    ("query", "field", "kept"),
    [
        ("state=odd", "state", 'value="odd" selected'),
        ("state=failed,odd", "state", 'value="failed,odd" selected'),
        ("delivery=lost", "delivery", 'value="lost" selected'),
        ("target=a+b", "target", 'value="a b" selected'),
        ("cursor=odd", "cursor", ""),
        ("app=sh_op&state=failed", "app", 'value="sh_op"'),
        ("app=%00My+Shop%22", "app", 'value="My Shop&#34;"'),
        (f"group={'x' * 201}", "group", f'value="{"x" * 201}"'),
    ],
)
def test_a_fault_stands_next_to_its_field_and_keeps_what_was_typed(
    browser: Browser, query: str, field: str, kept: str
) -> None:
    answer = browser.get(f"/?{query}")
    is_page(answer, 422)
    assert f'id="fault-{field}"' in answer.text
    assert kept in answer.text
    assert (f'aria-describedby="fault-{field}"' in answer.text) is bool(kept)
    assert "No operations found" not in answer.text


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("app=+SHOP+", [1, 2]),
        ("app=sho", [1, 2]),
        ("app=shop-*", [2]),
        ("app=*-eu", [2, 3]),
        ("app=*o*", [1, 2, 3]),
        ("app=s.op", []),
        ("app=blog-eu&utm_source=slack&limit=odd", [3]),
        ("state=failed,lost", [3]),
        ("state=succeeded&state=Failed", [3, 2]),
        ("state=tracking&app=", [1]),
        ("target=slack", [3]),
        ("target=slack&delivery=delivered", []),
        ("target=Webhook&delivery=pending&state=failed", [3]),
    ],
)
def test_what_is_typed_is_found(
    browser: Browser, store: Store, settings: Settings, query: str, numbers: list[int]
) -> None:
    names = {1: "shop", 2: "shop-eu", 3: "blog-eu"}
    ids = {number: tracked(store, operation_id(number), app=app) for number, app in names.items()}
    seen(store, ids[2], DONE, {})
    seen(store, ids[3], BROKEN, settings.rules)
    answer = browser.get(f"/?{query}")
    text = is_page(answer, 200) if query != "app=s.op" else is_page(answer, 422)
    found_there = re.findall(r'id="op-osc-fr1-0*([0-9]+)"', text)
    assert sorted(map(int, found_there)) == sorted(numbers)
    if "state=succeeded" in query:
        assert list(map(int, found_there)) == numbers, "the latest end first"


def test_the_form_offers_what_went_wrong_and_keeps_every_filter(browser: Browser, store: Store) -> None:
    for number, what in enumerate((DONE, BROKEN)):
        seen(store, tracked(store, operation_id(number)), what, {})
    (choice,) = re.findall(r'<option value="([^"]*)">went wrong</option>', browser.get().text)
    text = browser.get("/").text
    assert 'name="target"' in text
    text = browser.get(f"/?state={choice}&delivery=dead&target=slack&app=s&group=g").text
    for chosen in (f'value="{choice}" selected', 'value="dead" selected', 'value="slack" selected', 'value="s"'):
        assert chosen in text
    assert 'name="group" value="g"' in text
    assert browser.get(f"/?state={choice}").text.count('<li class="card') == 1
    assert browser.get("/?utm_source=slack&fbclid=1").text == browser.get().text


def test_at_any_size_all_in_flight_and_the_latest_ends_are_shown(browser: Browser, store: Store) -> None:
    began = store.records.now() - timedelta(hours=1)
    flying = [tracked(store, operation_id(number), created_at=began) for number in range(60)]
    long = tracked(store, operation_id(99), app="long-deploy", created_at=began - timedelta(hours=1))
    for number in range(100, 520):
        seen(store, tracked(store, operation_id(number), app="short"), DONE, {})
    seen(store, long, BROKEN, {})
    text = is_page(browser.get(), 200)
    in_flight, recent = text.partition('id="flying"')[2].split('id="ended"')
    in_flight, wrong = in_flight.split('id="wrong"')
    assert re.findall(r'id="wrong-osc-fr1-0*([0-9a-f]+)"', wrong) == ["63"]
    assert set(re.findall(r'id="op-([^"]+)"', in_flight)) <= set(flying)
    assert in_flight.count('<li class="card') == 50
    assert re.findall(r'id="op-osc-fr1-0*([0-9a-f]+)"', recent) == [f"{n:x}" for n in (99, *range(519, 495, -1))]
    assert is_page(browser.get("/?state=tracking"), 200).count('<li class="card') == 50
    (older,) = re.findall(r'href="([^"]+)">Older', browser.get("/?state=tracking").text)
    assert browser.get(markup.unescape(older)).text.count('<li class="card') == 10
    (older,) = re.findall(r'href="([^"]+)">Older', recent)
    following = re.findall(r'id="op-osc-fr1-0*([0-9a-f]+)"', browser.get(older).text)
    assert following == [f"{n:x}" for n in range(495, 445, -1)]


def test_records_of_an_older_version_are_shown_too(
    browser: Browser, store: Store, settings: Settings, connection: redis.Redis
) -> None:
    for number in range(5):
        identity = tracked(store, operation_id(number))
        seen(store, identity, BROKEN, settings.rules)
        attempted(store, identity, "slack", PermanentError("410 Gone"))
    tracked(store, operation_id(9))
    names = (BY_END, WRONG, DEAD)
    written = [connection.zrange(name, 0, -1, withscores=True) for name in names]
    connection.delete(*names)  # as an older version leaves them: it does not know these sets
    assert browser.get().text.partition('id="ended"')[2].count('<li class="card') == 5
    connection.delete(*names)
    connection.zadd(BY_END, {f"osc-fr1-{operation_id(0)}": 1})  # of a former run
    connection.set("opwatch:tracking:odd", b"of a newer version")
    connection.zadd(RECENT, {"odd": 1})
    maintain(connection, store)
    assert [connection.zrange(name, 0, -1, withscores=True) for name in names] == written
    for identity in (each.decode() for each in connection.zrange(BY_END, 0, -1)):
        connection.delete(f"opwatch:tracking:{identity}")
    maintain(connection, store)
    assert connection.zcard(BY_END) == 0
    assert is_page(browser.get(), 200).count("Nothing has ended yet.") == 1


def test_a_page_that_refreshes_itself_gets_little_and_no_token(
    browser: Browser, store: Store, settings: Settings
) -> None:
    context = {
        "actor": "jane.doe@example.com",
        "environment": "production",
        "commit": "4f2c1aa0",
        "url": "https://x.io/1",
    }
    usual = Usual(p50=15.0, p90=20.0, samples=9)
    for number in range(80):
        text = hashlib.sha256(str(number).encode()).hexdigest()
        identity = tracked(store, text[:24], app=f"shop-{text[:6]}", context=context, usual=usual)
        if number >= 50:
            broken = Operation(status="error", outcome=Verdict.FAILED, type="restart", error=f"{text}\n" * 200)
            seen(store, identity, broken, settings.rules)
            attempted(store, identity, "slack", PermanentError("410 Gone"))
    whole, token, refreshing = browser.get(), browser.form_token(), {"Sec-Fetch-Dest": "empty"}
    assert "Content-Encoding" not in whole.headers, "it has a token and, in a search, what was typed (BREACH)"
    for path in ("/", "/?app=shop&delivery=dead", f"/operations/{identity}"):
        plainly = browser.get(path, **refreshing, **{"Accept-Encoding": "identity, gzip;q=0"})
        packed = browser.get(path, **refreshing, **{"Accept-Encoding": "gzip, br"})
        assert "Content-Encoding" not in plainly.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert len(packed.data) < 10_000
        for text in (plainly.text, gzip.decompress(packed.data).decode()):
            assert token not in text
            assert "form_token" not in text
            assert text.count('<main id="main"') == 1
            assert "410 Gone" in text


def test_all_failing_deliveries_to_a_target_are_retried_at_once(
    browser: Browser, store: Store, connection: redis.Redis
) -> None:
    rules: Rules = {"ci-hook": Rule(), "slack": Rule()}
    ids = [failed(store, rules, number, "shop") for number in range(120)]
    for identity in ids[:110]:
        attempted(store, identity, "ci-hook", PermanentError("410 Gone"))
    for identity in ids[110:]:
        attempted(store, identity, "ci-hook", TransientError("503", retry_after_s=3600.0))
        attempted(store, identity, "slack", PermanentError("404"))
    text = is_page(browser.get(), 200)
    assert "All 110 given up" in text
    link = re.findall(r'href="(/[^"]*target=ci-hook[^"]*)">All 110 given up<', browser.get().text)[0]
    there = markup.unescape(link)
    shown = is_page(browser.get(there), 200)
    assert shown.count('<li class="card') == 50
    assert shown.count("410 Gone") == 50
    assert '<option value="ci-hook" selected>' in shown
    (action,) = set(re.findall(r'formaction="([^"]*)">Retry all to ci-hook<', shown))
    answer = browser.press(action, back=there)
    assert (answer.status_code, answer.headers["Location"]) == (303, there)
    assert "120 deliveries to ci-hook will be retried." in is_page(browser.get(there), 200)
    assert "will be retried" not in browser.get(there).text, "it is said once"
    assert connection.llen("rq:queue:opwatch-deliver") == 1, "the doorbell rings"
    now = store.records.now()
    for identity in ids:
        by_target = {d.target: d for d in found(store, identity).tracking.deliveries}
        assert (by_target["ci-hook"].next_attempt_at or now + timedelta(days=1)) <= now
        assert by_target["slack"].state in ("pending", "dead"), "those to another target are left alone"
    assert "retry to ci-hook by ci" in is_page(browser.get(f"/operations/{ids[0]}"), 200)
    assert "No delivery to nobody" in is_page(
        browser.get(browser.press("/targets/nobody/retry").headers["Location"]), 200
    )


def test_what_has_not_changed_is_not_sent_again(browser: Browser, store: Store) -> None:
    first = browser.get()
    again = browser.get(**{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    tracked(store, operation_id(1))
    assert browser.get(**{"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_our_files_are_kept_by_browsers_as_long_as_they_stay_the_same(stranger: Browser) -> None:
    paths = re.findall(r'"(/static/[^"]+)"', stranger.get("/sign-in").text)
    assert len(paths) == 2
    for path in paths:
        answer = stranger.get(path)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        other = stranger.get(re.sub(r"/static/\w+/", "/static/other/", path))
        assert (other.data, other.headers["Cache-Control"]) == (answer.data, "no-store")
    assert stranger.get("/static/x/nothing.css").status_code == 404
    assert stranger.get("/static/x/..%2fview.py").status_code == 404


# What its buttons do


def test_stopping_tells_nobody_and_comes_back(browser: Browser, store: Store) -> None:
    identity = tracked(store, operation_id(1))
    answer = browser.press(f"/operations/{identity}/stop")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/operations/{identity}")
    assert "cancelled" in is_page(browser.get(answer.headers["Location"]), 200)
    assert "already ended" in is_page(browser.press(f"/operations/{identity}/stop"), 409)


def test_a_retry_makes_a_dead_delivery_due(browser: Browser, store: Store, settings: Settings) -> None:
    identity = tracked(store, operation_id(1))
    seen(store, identity, BROKEN, settings.rules)
    attempted(store, identity, "slack", PermanentError("410 Gone"))
    answer = browser.press(f"/operations/{identity}/deliveries/slack/retry")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/operations/{identity}")
    (delivery,) = (d for d in found(store, identity).tracking.deliveries if d.target == "slack")
    assert delivery.state == "pending"
    assert browser.press(f"/operations/{identity}/deliveries/nobody/retry").status_code == 404


@pytest.mark.parametrize("path", ["/operations/nothing", f"/operations/{'x' * 999}", "/operations/%00%ff"])
def test_what_is_not_there_is_a_page_that_says_so(browser: Browser, path: str) -> None:
    is_page(browser.get(path), 404)


def test_errors_of_the_api_stay_problems(browser: Browser) -> None:
    assert browser.get("/v1/nowhere").content_type == "application/problem+json"


def test_without_redis_there_is_a_page_that_says_so(
    make_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch, own_valkey: Valkey
) -> None:
    monkeypatch.setenv("REDIS_URL", own_valkey.url)
    browser = Browser(make_app().test_client())
    assert browser.sign_in().status_code == 303
    own_valkey.kill()
    for answer in (
        browser.get(),
        browser.get("/operations/x"),
        browser.sign_in(),
        browser.client.post("/sign-out"),
    ):
        assert "does not answer" in is_page(answer, 503)
        assert answer.headers["Retry-After"]
    is_page(browser.get("/sign-in"), 200)


def test_the_log_says_who_did_it(browser: Browser, store: Store) -> None:
    identity = tracked(store, operation_id(1))
    with capture_logs() as lines:
        browser.press(f"/operations/{identity}/stop")
    (line,) = (line for line in lines if line.get("path") == f"/operations/{identity}/stop")
    assert line["caller"] == "ci"
    assert browser.key not in str(lines)


def test_a_page_that_keeps_itself_up_to_date_fills_no_log(browser: Browser) -> None:
    with capture_logs() as lines:
        tag = browser.get().headers["ETag"]
        browser.get(**{"Sec-Fetch-Dest": "empty"})
        browser.get(**{"Sec-Fetch-Dest": "empty", "If-None-Match": tag})
        browser.get("/operations/nothing", **{"Sec-Fetch-Dest": "empty"})
    assert [line["status"] for line in lines if line["event"] == "request"] == [200, 404]


# Searching


def test_a_part_of_whatever_is_known_is_found_in_any_case(browser: Browser, store: Store, settings: Settings) -> None:
    context = {"actor": "Jane Doe", "commit": "4F2C1AA0"}
    one = tracked(store, operation_id(0xABC), app="shop", context=context, group="Nightly", created_by="deploy-bot")
    broken = replace(BROKEN, error='container "web-1" Failed\n\tto start: caf\u00e9 \\o/')
    seen(store, one, broken, settings.rules)
    attempted(store, one, "slack", PermanentError("410 Gone"))
    other = tracked(store, operation_id(0xDEF), app="blog")
    browser.press(f"/operations/{other}/stop")
    for typed, ids in (
        ("  SHO ", [one]), ("jane", [one]), ("doe  JANE", [one]), ("4f2c", [one]), ("web-1", [one]), ('"web-1"', [one]),
        ("failed to start", [one]), ("CAF\u00c9", [one]), ("\\o/", [one]), ("410 gone", [one]), ("nightly", [one]),
        ("deploy-bot", [one]), (one, [one]), (operation_id(0xABC), [one]), (one[-9:].upper(), [one]),
        ("restart", [one]), ("ci", [other]), ("blog cancelled", [other]),
        ("shop failed nightly", [one]), ("shop cancelled", []), ("jane blog", []), ("osc-fr1", [one, other]),
    ):  # fmt: skip
        answer = browser.get("/?" + urlencode({"q": typed}))
        assert set(re.findall(r'id="op-([^"]+)"', is_page(answer, 200))) == set(ids), typed
    assert 'value="jane"' in browser.get("/?q=jane&state=failed").text
    assert 'aria-describedby="fault-q"' in is_page(browser.get(f"/?q={'x' * 201}"), 422)


def test_what_is_found_is_in_flight_or_the_latest_end_first(browser: Browser, store: Store) -> None:
    now = store.records.now()
    for number in range(120):
        began = now - timedelta(minutes=number)
        tracked(store, operation_id(number), app="found", created_at=began, group="all" if number < 70 else None)
    for number in (*range(60, 120), *range(60)[::2]):  # those that began first end first
        seen(store, f"osc-fr1-{operation_id(number)}", DONE, {})
    flying = [*range(60)[1::2]]
    ended = [*reversed(range(60)[::2]), *reversed(range(60, 120))]
    for query, wanted in (
        ("q=found", [*flying, *ended]),
        ("q=found&state=tracking,succeeded", [*flying, *ended]),
        ("q=found&state=succeeded", ended),
        ("app=found&state=tracking", flying),
        ("group=all", [*flying, *(number for number in ended if number < 70)]),
    ):
        path, shown = f"/?{query}", list[str]()
        while path:
            text = is_page(browser.get(path), 200)
            shown += re.findall(r'<li class="card[^"]*" id="op-osc-fr1-([0-9a-f]+)"', text)
            (path,) = map(markup.unescape, re.findall(r'href="([^"]+)">Older', text) or [""])
        assert shown == [operation_id(number) for number in wanted], query


@pytest.mark.parametrize("count", [49, 50, 51, 100, 101])
def test_no_number_in_flight_hides_what_has_ended(browser: Browser, store: Store, count: int) -> None:
    for number in range(count + 2):
        tracked(store, operation_id(number))
    for number in range(2):
        seen(store, f"osc-fr1-{operation_id(number)}", DONE, {})
    path, shown = "/?app=shop", list[str]()
    while path:
        text = is_page(browser.get(path), 200)
        shown += re.findall(r'id="op-([^"]+)"', text)
        (path,) = map(markup.unescape, re.findall(r'href="([^"]+)">Older', text) or [""])
    assert len(shown) == len(set(shown)) == count + 2


def test_a_search_of_very_many_is_bounded_says_so_and_goes_on(
    browser: Browser, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LARGEST_SCAN", 500)
    then = store.records.now() - timedelta(days=8)
    ended = {"state": State.FAILED, "operation": BROKEN, "ended_at": then, "next_look_at": None}
    old = tracked(store, operation_id(0xABC), app="needle", created_at=then, **ended)
    page_data.fill(store, 1_200)
    path, looked = "/?q=needle", []
    while old not in (text := is_page(browser.get(path), 200)):
        looked += re.findall(r"Looked through ([\d,]+) of 1,213 operations", text)
        assert 'data-every="30"' in text
        assert "None among the newest" in text
        (path,) = map(markup.unescape, re.findall(r'href="([^"]+)">Older', text))
    assert looked == ["506", "500"], "six are in flight"
    assert old in is_page(browser.get(f"/?q={operation_id(0xABC)}"), 200), "a whole id is found at any size"
    assert old in is_page(browser.get("/?q=needle&state=failed,lost"), 200), "few went wrong: all are looked through"


# Groups, apps and targets


def test_a_group_is_one_card_and_has_a_page_with_its_verdict(browser: Browser, store: Store) -> None:
    name = "nightly <restart>/\u00e9 & more"
    ids = [tracked(store, operation_id(n), app=f"tenant-{n}", group=name, group_size=6) for n in range(1, 7)]
    alone = tracked(store, operation_id(9), app="alone", group="of one")
    for identity in ids[:2]:
        seen(store, identity, BROKEN, {})
    in_flight, ended = is_page(browser.get(), 200).partition('id="flying"')[2].split('id="ended"')
    assert "2 of 6 ended" in in_flight
    assert "2 failed, 4 under way" in in_flight
    assert in_flight.count("it broke") == 4, "twice in its card, twice among what went wrong"
    assert in_flight.count('id="group-') == 1
    assert re.findall(r'id="op-([^"]+)"', in_flight + ended) == [alone]
    for identity in ids[2:]:
        seen(store, identity, DONE, {})
    in_flight, ended = browser.get().text.partition('id="flying"')[2].split('id="ended"')
    assert 'id="group-' not in in_flight
    assert ended.count('id="group-') == 1
    assert "failed after" in ended
    link = f"/groups/{quote(name)}"
    assert f'href="{link}"' in ended
    answer = browser.get(link)
    assert "2 failed, 4 succeeded" in is_page(answer, 200)
    assert re.findall(r'id="op-osc-fr1-0+(\d)"', answer.text) == list("123456"), "the worst first"
    assert "<restart>" not in answer.text
    signed_out = browser.client.application.test_client()
    back = signed_out.get(link).headers["Location"].partition("next=")[2]
    assert Browser(signed_out).sign_in(next=unquote(back)).headers["Location"] == link
    is_page(browser.get("/groups/nothing"), 404)
    is_page(browser.get(f"/groups/{'x' * 201}"), 404)


def test_large_groups_are_shown_member_by_member(browser: Browser, store: Store) -> None:
    for number in range(301):
        tracked(store, operation_id(number), group="large")
    text = browser.get().text
    assert text.count('<li class="card under-way" id="op-') == 50
    assert 'href="/groups/large"' in text
    text = browser.get("/groups/large").text
    assert "group of 301" in text
    assert text.count('<li class="card under-way" id="op-') == 100
    assert '<a href="/?group=large">All 301</a>' in text


def test_the_page_of_apps_has_rates_usual_durations_and_charts(
    browser: Browser, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Nothing has ended yet." in is_page(browser.get("/apps"), 200)
    now = store.records.now()
    for number in range(20):
        identity = tracked(store, operation_id(number), app="shop", created_at=now - timedelta(seconds=30))
        seen(store, identity, BROKEN if number < 3 else DONE, {})
    tracked(store, operation_id(99), app="flying")
    assert browser.press("/targets/slack/test").status_code == 303
    text = is_page(browser.get("/apps"), 200)
    for words in ("20 ended", "3 went wrong", "(15 %)", "usually 3", "Everything that ended and is kept"):
        assert words in text
    assert text.count("<svg") == 1, "one of shop: none of what is in flight, and none of tests"
    assert f"{now.day} {now:%b}: 20 ended, 3 went wrong" in text
    (link,) = re.findall(r'class="trouble" href="([^"]+)"', browser.get("/apps").text)
    assert browser.get(markup.unescape(link)).text.count('<li class="card row bad') == 3
    monkeypatch.setattr(pages, "MOST_ENDS", 10)
    assert "The latest 10 of 21 operations" in is_page(browser.get("/apps"), 200)


def test_the_links_of_a_row_of_apps_list_what_the_row_counts(browser: Browser, store: Store) -> None:
    one_off, backup = replace(DONE, type="start-one-off"), replace(BROKEN, type='Backup.v2 "x"')
    elsewhere = "agency in osc-secnum-fr1"
    for number, (app, place, operation) in enumerate(
        [
            *[("shop", "", BROKEN)] * 3,
            ("shop", "", DONE),
            *[("shop", "", one_off)] * 2,
            ("shop", "", backup),
            *[("shop", elsewhere, BROKEN)] * 5,
            *[("shop-api", "", BROKEN)] * 7,
            *[("my-shop", "", DONE)] * 9,
        ]
    ):
        seen(store, tracked(store, operation_id(number), app=app, place=place), operation, {})
    rows = re.findall(r'(?s)<li class="card app.*?</li>', browser.get("/apps").text)
    assert len(rows) == 6
    for row in rows:
        words = markup.unescape(re.sub("<[^>]+>", "", row.partition("<svg")[0]))
        counts = [int(count) for count in re.findall(r"(\d+) (?:ended|went wrong)", words)]
        links = [markup.unescape(link) for link in re.findall(r'href="([^"]+)"', row)]
        assert len(links) == len(counts)
        is_shared = words.strip().startswith(
            "shop restart"
        )  # the app elsewhere has its own row, and is listed here, too
        listed = [is_page(browser.get(link), 200).count('<li class="card row') for link in links]
        assert listed == [count + 5 * is_shared for count in counts], words


@pytest.mark.usefixtures("runtime")
def test_a_target_is_tested_from_the_page_and_the_story_shows_the_result(
    browser: Browser, store: Store, receiver: Receiver
) -> None:
    text = is_page(browser.get("/targets"), 200)
    assert re.findall(r'id="target-([^"]+)"', text) == ["failures", "shops", "slack", "webhook"]
    assert text.count("not used yet") == 4
    receiver.script("/shops", Reply(404))
    for target, expected in (("webhook", "outcome delivered to webhook"), ("shops", "outcome not delivered to shops")):
        story = browser.press(f"/targets/{target}/test").headers["Location"]
        assert "A test message" in is_page(browser.get(story), 200)
        delivery_round()
        wait_until(partial(is_said, browser, story, expected), what=expected)
    (told,) = (json.loads(each.body) for each in receiver.requests if each.path == "/webhook")
    assert (told["data"]["app"], told["data"]["created_by"]) == ("opwatch-test", "ci")
    text = is_page(browser.get("/targets"), 200)
    assert "works" in text.partition('id="target-webhook"')[2]
    shops = text.partition('id="target-shops"')[2].partition('id="target-slack"')[0]
    assert "Retry all to shops" in shops
    assert "404" in shops
    assert browser.press("/targets/nobody/test").status_code == 404
    assert store.overview.counters().get("outcomes:succeeded", 0) == 0, "nobody's operation"


def is_said(browser: Browser, path: str, words: str) -> bool:
    """Tell whether a page has these words."""
    return words in browser.get(path).text


# Tokens that may only read


def test_who_may_only_read_sees_everything_and_changes_nothing(
    make_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch, store: Store, settings: Settings
) -> None:
    monkeypatch.setenv("OPWATCH_TOKENS", f"ci:{CALLER_TOKEN},look:{OTHER_TOKEN}:read")
    client = make_app().test_client()
    flying, dead = tracked(store, operation_id(1)), tracked(store, operation_id(2))
    seen(store, dead, BROKEN, settings.rules)
    attempted(store, dead, "slack", PermanentError("410 Gone"))
    bearer = {"Authorization": f"Bearer {OTHER_TOKEN}"}
    for path in ("/v1/operations", f"/v1/operations/{dead}", "/metrics"):
        assert client.get(path, headers=bearer).status_code == 200
    for method, path in (
        ("POST", "/v1/operations"),
        ("DELETE", f"/v1/operations/{flying}"),
        ("POST", f"/v1/operations/{dead}/deliveries/slack/retry"),
    ):
        refused = client.open(path, method=method, headers=bearer, data={"app": "x", "operation_id": operation_id(3)})
        assert "'look' may only read" in problem(refused, 403)["detail"]
    assert client.get("/v1/operations", headers={"Authorization": f"Bearer {OTHER_TOKEN}:read"}).status_code == 401
    reader = Browser(client)
    assert reader.sign_in(OTHER_TOKEN).status_code == 303
    for path in (
        "/",
        "/targets",
        "/apps",
        "/?delivery=dead&target=slack",
        f"/operations/{dead}",
        f"/operations/{flying}",
    ):
        text = is_page(reader.get(path), 200)
        assert re.findall(r'formaction="([^"]+)"', text) == ["/sign-out"], path
        assert "look (may only read)" in text
    for path in (f"/operations/{flying}/stop", f"/operations/{dead}/deliveries/slack/retry", "/targets/slack/retry",
                 "/targets/slack/test"):  # fmt: skip
        assert "may only read" in is_page(reader.press(path), 403)
    assert found(store, flying).tracking.state == "tracking"
    assert store.overview.size(RECENT) == 2
    assert reader.press("/sign-out").status_code == 303
