"""The message of each chat and of mail: within the vendor's limits, and without mentions or links from outside."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from notifiers import Chat, Mentioning, Previewable, wording
from notifiers.chat import markdown
from notifiers.email import Email
from notifiers.targets import build
from operations.kind import NO_LINKS, Links
from operations.model import Usual, Verdict
from operations.telling.announcement import Announcement
from operations.text import first_line, plain
from tests.unit.test_slack_message import SHOP

URL = "https://chat.example/sEkrEt"
MENTIONS = {"discord": "@here", "mattermost": "@channel", "rocketchat": "@all", "teams": "jane@example.com"}
CHATS = sorted(MENTIONS)
MAIL = {"host": "mail.example", "from": "Opwatch <o@example.com>", "to": ["a@example.com", "b@example.com"]}
HOSTILE = (
    "@here", "@channel", "@everyone", "@all", "<@1>", "<!channel>", "<@&1>", "<at>x</at>", "```", "~~~", "`", "``",
    "[a](https://evil.example)", "![a](https://evil.example)", "https://evil.example", "www.evil.example", "*", "_",
    "|", "\\", "\n", "\n# ", "\n> ", "\r", "\x1b[31m", "\x00", "🐑", "é", "x" * 90,
)  # fmt: skip
hostile = st.tuples(st.lists(st.sampled_from(HOSTILE), max_size=8), st.sampled_from(["", " "])).map(
    lambda drawn: drawn[1].join(drawn[0])
)
monsters = st.tuples(hostile, st.sampled_from([1, 10, 2_000])).map(lambda drawn: (drawn[0] * drawn[1])[:12_000])
contexts = st.dictionaries(st.sampled_from(["environment", "actor", "commit", "url"]) | hostile, monsters, max_size=8)
urls = st.sampled_from([{}, {"url": "https://ci.example/?a=(b)[c]*_`\\"}, {"url": "https://ci.example/" + "@" * 900}])
own_urls = st.sampled_from(
    [None, "https://o.example/" + "a" * 230, "https://evil.example/<x>", "javascript:alert(1)", ""]
)
nasty = st.builds(
    replace,
    st.just(SHOP),
    verdict=st.sampled_from(Verdict),
    error=st.none() | monsters,
    type=st.none() | hostile,
    duration_s=st.none() | st.floats(0, 1e6),
    context=st.tuples(contexts, urls).map(lambda drawn: drawn[0] | drawn[1]),
    alert=st.none() | hostile.map(lambda text: first_line(plain(text), 250) or "nothing"),
    ended=st.booleans(),
    links=st.builds(Links, logs=own_urls, story=own_urls),
    group=st.none() | monsters,
    place=st.sampled_from(["", "agency_2 in osc-secnum-fr1"]),
)
PINGS = re.compile(r"(^|[\s>`(*])@[\w.-]|<[@!#&]|<at>")
"""Mentions in any of these chats; in Rocket.Chat they work even inside code."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def chat(kind: str, *, mention: bool = True) -> Chat:
    table = {"kind": kind, "webhook_url": URL} | ({"mention": MENTIONS[kind]} if mention else {})
    notifier = build("a-target", table, {}, plain_http=False).notifier
    assert isinstance(notifier, Chat)
    return notifier


UNMENTIONING = {kind: chat(kind, mention=False) for kind in CHATS}


def wire(document: dict[str, Any]) -> bytes:
    """Return the bytes that are sent."""
    return json.dumps(document, ensure_ascii=False).encode()


def strings(part: Any) -> Iterator[str]:
    """Walk through every text of a document."""
    if isinstance(part, dict | list):
        for value in part.values() if isinstance(part, dict) else part:
            yield from strings(value)
    elif isinstance(part, str):
        yield part


def shown(kind: str, document: dict[str, Any]) -> str:
    """Return everything that a chat shows, as one text."""
    if kind == "teams":
        (attachment,) = document["attachments"]
        blocks = attachment["content"]["body"]
        return "\n".join(block.get("text") or "".join(run["text"] for run in block["inlines"]) for block in blocks)
    (below,) = document["embeds" if kind == "discord" else "attachments"] or [{}]
    return "\n".join(
        [
            document["content" if kind == "discord" else "text"],
            *filter(None, [below.get("text"), below.get("description")]),
        ]
    )


@settings(max_examples=50)
@given(announcement=nasty)
def test_any_message_keeps_to_the_vendors_limits_and_calls_nobody(announcement: Announcement) -> None:
    documents = {kind: notifier.document(announcement) for kind, notifier in UNMENTIONING.items()}
    for kind, document in documents.items():
        assert not any(CONTROL.search(text) for text in strings(document))
        assert not PINGS.search(shown(kind, document)), kind
    check_discord(documents["discord"])
    check_teams(documents["teams"])
    for kind in ("mattermost", "rocketchat"):
        document = documents[kind]
        assert 0 < len(document["text"]) <= 2_000
        assert all(len(attachment["text"]) <= 5_000 for attachment in document["attachments"])
        assert len(wire(document)) <= 7_900


def check_discord(document: dict[str, Any]) -> None:
    lengths = [len(text.encode("utf-16-le")) // 2 for text in strings(document["embeds"])]
    assert document["content"] == ""
    assert all(length <= 4_096 for length in lengths)
    assert sum(lengths) <= 6_000
    assert document["allowed_mentions"] == {"parse": []}


def check_teams(document: dict[str, Any]) -> None:
    assert len(wire(document)) <= 12_000, "Teams' limit is about 28 kB, by some reports 21"
    assert document["attachments"][0]["content"]["msteams"]["entities"] == []


@settings(max_examples=50)
@given(announcement=nasty)
def test_no_text_from_outside_is_read_as_markup(announcement: Announcement) -> None:
    document = UNMENTIONING["mattermost"].document(announcement)
    for text in [document["text"], *(attachment["text"] for attachment in document["attachments"])]:
        tokens = MarkdownIt("commonmark").enable("strikethrough").parse(text)
        inline = [child for token in tokens for child in token.children or ()]
        assert {token.type for token in tokens} <= {"paragraph_open", "paragraph_close", "inline", "fence"}
        assert {child.type for child in inline} <= {
            "text", "softbreak", "code_inline", "strong_open", "strong_close", "link_open", "link_close",
        }  # fmt: skip
        assert len([token for token in tokens if token.type == "fence"]) <= 1
        links = [str(child.attrGet("href")) for child in inline if child.type == "link_open"]
        assert len(links) <= 4
        assert all(link.startswith("https://") for link in links)
        assert "evil" not in "".join(links)
        plain = " ".join(child.content for child in inline if child.type == "text")
        assert not re.search(r"https?:|www\.|evil", plain)


PEOPLE = {"discord": "<@7>", "mattermost": "@jane", "rocketchat": "@jane", "slack": "<@U7>", "teams": "j@example.com"}
JANES = replace(SHOP, context={"actor": " Jane "})


@pytest.mark.parametrize("kind", [*CHATS, "slack"])
@pytest.mark.parametrize("verdict", Verdict)
def test_failures_mention_somebody_and_whatever_else_is_asked_for(kind: str, verdict: Verdict) -> None:
    usual, other = MENTIONS.get(kind, "<!here>"), [each for each in Verdict if each is not verdict]
    table = {"kind": kind, "webhook_url": URL}
    jane, people = PEOPLE[kind], {"jane": {kind: PEOPLE[kind]}, "joe": {"pigeon": "coo"}}
    for rules, told, expected in (
        ({"mention": usual}, JANES, usual if verdict is Verdict.FAILED else None),
        ({"mention": usual, "mention_on": [verdict]}, JANES, usual),
        ({"mention": usual, "mention_on": other}, JANES, None),
        ({"mention": usual, "mention_on": []}, replace(JANES, alert="deliveries to `x` are failing"), usual),
        ({"mention": usual, "mention_on": [verdict]}, replace(JANES, ended=False), None),
        ({"mention": usual, "mention_on": [verdict]}, replace(JANES, overtaken=True), None),
        ({"mention": usual, "mention_on": [verdict]}, replace(JANES, quiet=True), None),
        ({"mention": "actor", "mention_on": [verdict]}, JANES, jane),
        ({"mention": "actor", "mention_on": [verdict]}, replace(JANES, context={"actor": "joe"}), None),
        ({"mention": "actor", "mention_on": [verdict]}, replace(JANES, context={}), None),
        ({"mention": "actor", "mention_on": [verdict]}, replace(JANES, alert="deliveries to `x` are failing"), None),
        ({"mention_on": [verdict]}, JANES, None),
    ):
        notifier = build("x", table | rules, {}, plain_http=False, people=people).notifier
        assert isinstance(notifier, Mentioning)
        announced = replace(told, verdict=verdict)
        assert notifier.mention_for(announced) == expected, rules
        if isinstance(notifier, Chat):
            text = shown(kind, notifier.document(announced)).split("\n")[0]
            assert [each for each in (usual, jane) if each in text] == [each for each in [expected] if each]
        else:
            assert isinstance(notifier, Previewable)
            assert (f'"text": "{expected} ' in notifier.preview(announced)) is bool(expected)


def test_only_our_own_mention_may_call_somebody_in_discord() -> None:
    for mention, allowed in (
        ("@everyone", {"parse": ["everyone"]}),
        ("@here", {"parse": ["everyone"]}),
        ("<@7>", {"parse": [], "users": ["7"]}),
        ("<@&7>", {"parse": [], "roles": ["7"]}),
    ):
        target = build("x", {"kind": "discord", "webhook_url": URL, "mention": mention}, {}, plain_http=False).notifier
        assert isinstance(target, Chat)
        assert target.document(SHOP)["allowed_mentions"] == allowed


LINKS = Links(
    logs="https://dashboard.scalingo.com/apps/osc-fr1/shop/logs",
    story="https://opwatch.example.com/operations/osc-fr1-5ed11f2c884fef000f5e502e",
)
TOLD = replace(
    SHOP,
    links=LINKS,
    group="deploy 42",
    usual=Usual(p50=15.2, p90=20.4, samples=9),
    context={
        "team": "web",
        "commit": "4f2c1aa",
        "environment": "production",
        "actor": "jane.doe",
        "url": "https://ci.example/7",
    },
)


@pytest.mark.parametrize("kind", CHATS)
def test_all_chats_say_the_same_at_a_glance(kind: str) -> None:
    document = chat(kind).document(TOLD)
    text = re.sub(r"[*`]", "", shown(kind, document))
    assert "❌ shop (production): restart failed after 42\u00a0s (usually 15–20\u00a0s)" in text
    assert "container web-1 failed to restart" in text
    assert "boot timeout" in text
    for said in ("by jane.doe · commit 4f2c1aa", " · group: deploy 42 · team: web"):
        assert said in text
    for url in ("https://ci.example/7", LINKS.logs, LINKS.story):
        assert url is not None
        assert url in json.dumps(document)
    without = json.dumps(chat(kind).document(replace(TOLD, context={}, links=NO_LINKS, group=None)))
    assert [word for word in ("CI run", "logs", "story", "group", "null,") if f'"{word}' in without] == []


def test_markdown_is_as_short_as_slacks_message() -> None:
    assert markdown.headline(TOLD, "@here") == (
        "@here ❌ **shop** (production): restart **failed after 42\u00a0s** (usually 15–20\u00a0s)"
    )
    assert markdown.details(TOLD) == (
        "```\n  container web-1 failed to restart  \nboot timeout\n```\n"
        "by `jane.doe` · commit `4f2c1aa` · [CI run](https://ci.example/7)"
        f" · [logs]({LINKS.logs}) · [story]({LINKS.story}) · group: deploy 42 · team: web"
    )


@pytest.mark.parametrize("kind", CHATS)
def test_a_warning_and_an_alert_are_told_too(kind: str) -> None:
    warned = re.sub(r"[*`]", "", shown(kind, chat(kind).document(replace(TOLD, error=None, ended=False))))
    assert "⏳ shop (production): restart still running after 42\u00a0s (usually 15–20\u00a0s)" in warned
    alert = replace(TOLD, alert="deliveries to `ci-hook` are failing: 410 Gone")
    told = re.sub(r"[*`']", "", shown(kind, chat(kind).document(alert)))
    assert "⚠️ deliveries to ci-hook are failing: 410 Gone" in told
    assert "❌ shop (production): restart failed after 42\u00a0s" in told
    assert "boot timeout" in told
    alone = re.sub(r"[*`']", "", shown(kind, chat(kind).document(replace(alert, ended=False, links=NO_LINKS))))
    assert "boot timeout" not in alone
    assert "shop" not in alone


WARNED = replace(TOLD, delivery_id="id_1_slow_slack", ended=False, error=None)
MAILER = Email.model_validate(MAIL)


def mail(announcement: Announcement) -> Any:
    """Write a mail, and read what a mail program would."""
    written = MAILER.message(announcement).as_bytes()
    assert written.isascii()
    return message_from_bytes(written, policy=policy.default)


def part(read: Any, kind: str = "plain") -> str:
    """Return a part of a mail: `plain` or `html`."""
    return str(read.get_body((kind,)).get_content()).replace("\r\n", "\n")


@settings(max_examples=50)
@given(announcement=nasty)
def test_any_mail_is_one_with_exactly_our_headers(announcement: Announcement) -> None:
    read = mail(announcement)
    assert read.defects == []
    outcome = announcement.ended and announcement.alert is None
    assert set(read.keys()) == {
        "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
        *(["In-Reply-To", "References"] if outcome else []),
    }  # fmt: skip
    assert not re.search(r"<(?!/?(?:!doctype|html|head|meta|title|body|div|p|pre|a)\b)", part(read, "html"))
    assert (read["From"], read["To"]) == (MAIL["from"], "a@example.com, b@example.com")
    assert 0 < len(read["Subject"]) <= 200
    assert 0 < len(part(read).encode()) <= 12_000
    assert not CONTROL.search(part(read) + part(read, "html"))


def test_a_mail_says_the_same_as_the_chats() -> None:
    read = mail(TOLD)
    assert read["Subject"] == "❌ shop (production): restart failed after 42 s (usually 15–20 s)"
    assert read["Message-ID"] == "<id_1_failed_slack@example.com>"
    assert read["In-Reply-To"] == read["References"] == mail(WARNED)["Message-ID"] == "<id_1_slow_slack@example.com>"
    assert mail(WARNED)["References"] is None
    assert part(read) == (
        "❌ shop (production): restart failed after 42\u00a0s (usually 15–20\u00a0s)\n\n"
        "  container web-1 failed to restart  \nboot timeout\n\n"
        "actor: jane.doe\ncommit: 4f2c1aa\ngroup: deploy 42\nteam: web\n"
        f"CI run: https://ci.example/7\nlogs: {LINKS.logs}\nstory: {LINKS.story}\n"
    )


def test_a_mail_has_the_same_as_html_with_nothing_to_load() -> None:
    written = part(mail(replace(TOLD, error="<b>it</b> broke & more")), "html")
    assert "❌ shop (production): restart failed after 42\u00a0s" in written
    assert "&lt;b&gt;it&lt;/b&gt; broke &amp; more</pre>" in written
    assert (
        f'by jane.doe · commit 4f2c1aa · <a href="https://ci.example/7">CI run</a> · <a href="{LINKS.logs}"' in written
    )
    assert not re.search(r"src=|url\(|<style|<script|http-equiv", written)


@settings(max_examples=50)
@given(announcement=nasty, limit=st.integers(100, 3_000))
def test_plain_text_keeps_to_any_limit(announcement: Announcement, limit: int) -> None:
    assert wording.size_bytes(wording.plain_text(announcement, limit)) <= limit


@pytest.mark.parametrize("kind", CHATS)
@pytest.mark.parametrize("mention", ["", "here", "@a b", "<@1> <@2>", "@here\n", "x" * 300])
def test_a_mention_of_another_chats_form_is_a_fault(kind: str, mention: str) -> None:
    if (kind, mention) == ("teams", "here"):
        return
    with pytest.raises(Exception, match="mention"):
        build("x", {"kind": kind, "webhook_url": URL, "mention": mention}, {}, plain_http=False)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"from": "nobody"}, "from: must be an address"),
        ({"from": "a@b.example\r\nBcc: x@example.com"}, "from: must be an address"),
        ({"to": []}, "to: "),
        ({"to": ["a@example.com", "b"]}, "to.1: must be an address"),
        ({"username": "me"}, "needs both username and password"),
        ({"encryption": "none"}, "OPWATCH_ALLOW_PRIVATE_TARGETS=true"),
        ({"host": "https://mail.example"}, "host: "),
        ({"port": 0}, "port: "),
    ],
)
def test_what_is_wrong_with_a_mail_target_is_said_at_start(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(Exception, match=re.escape(fault)):
        build("x", {"kind": "email", **MAIL, **changes}, {}, plain_http=False)


LONG = "\n".join(f"line {number} says something that should stay whole" for number in range(1_000))


def test_a_long_error_takes_thirteen_lines_in_a_chat_and_more_in_a_mail() -> None:
    announcement, lines = replace(SHOP, error=LONG), LONG.split("\n")
    for kind in CHATS:
        text = shown(kind, chat(kind).document(announcement))
        assert "\n".join([*lines[:3], "… 988 lines …", *lines[-9:]]) in text
    mailed = [line for line in part(mail(announcement)).split("\n") if line.startswith("line")]
    assert len(mailed) > 100
    assert set(mailed) <= set(lines)


def test_a_failure_without_an_error_text_says_so() -> None:
    silent = replace(SHOP, error=None)
    for text in [shown(kind, chat(kind).document(silent)) for kind in CHATS] + [part(mail(silent))]:
        assert "Scalingo gave no error text" in text
    for other in (replace(silent, ended=False), replace(silent, verdict=Verdict.SUCCEEDED)):
        assert "no error text" not in part(mail(other))
