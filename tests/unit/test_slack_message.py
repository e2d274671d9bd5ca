"""Slack messages stay within Slack's limits and mention nobody, for any text."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifiers import context_wording
from notifiers.slack import message as slack_message
from notifiers.slack.blocks import slack_length
from notifiers.slack.message import message, plain_message
from operations.kind import NO_LINKS, Links
from operations.model import Usual, Verdict
from operations.telling.announcement import Announcement, cut_error
from operations.text import first_line, plain
from tests.unit.strategies import OPERATION_ID, a_text, apps, regions, usuals

SHOP = Announcement(
    delivery_id="id_1_failed_slack",
    body=b"",
    verdict=Verdict.FAILED,
    app="shop",
    region="osc-fr1",
    operation_id=OPERATION_ID,
    type="restart",
    error="\n  container web-1 failed to restart  \nboot timeout",
    reason=None,
    duration_s=42.3,
    context={},
)
LINKS = Links(logs="https://dashboard.example/shop/logs", story="https://opwatch.example/operations/osc-fr1-1")
_NASTY = [
    "<!channel>",
    "<@U1>",
    "&",
    "<",
    ">",
    "`",
    "|",
    "\x1b[31m",
    "\x1b]0;t\x07",
    "🎉",
    "\u202e",
    "\r\n",
    "\x00",
    "*",
    "x" * 80,
]
nasty = st.lists(st.sampled_from(_NASTY) | a_text(max_size=4), max_size=12).map("".join)
huge = st.builds(lambda text, times: text * times, nasty, st.integers(1, 3_000)).map(lambda text: text[:100_000])
urls = st.sampled_from(["https://ci.example/1?a=1&b=2", "javascript:alert(1)", "https://", "https://a.example/<x>|y"])
values = st.builds(lambda text, times: (text * times)[:500], nasty, st.integers(1, 300))
contexts = st.dictionaries(
    st.sampled_from(["environment", "actor", "commit", "url", "step"]) | nasty, values | urls, max_size=20
)
announcements = st.builds(
    Announcement,
    delivery_id=st.just("id"),
    body=st.just(b""),
    verdict=st.sampled_from(Verdict),
    app=apps,
    region=regions,
    operation_id=st.just(OPERATION_ID),
    type=st.none() | nasty,
    error=st.none() | huge | huge.map(cut_error),
    reason=st.none() | nasty,
    duration_s=st.none() | st.floats(0, 1e6),
    context=contexts,
    usual=st.none() | usuals,
    alert=st.none() | nasty.map(lambda text: first_line(plain(text), 250)),
    ended=st.booleans(),
    links=st.builds(Links, logs=st.none() | urls, story=st.none() | urls),
    group=st.none() | values,
    place=st.sampled_from(["", "agency_2 in osc-secnum-fr1"]),
).filter(lambda announcement: announcement.ended or announcement.alert is not None)


def texts(part: Any, kind: str | None = None) -> Iterator[tuple[str, str]]:
    """Walk through every text of a message's blocks, with the type of the object that holds it."""
    if isinstance(part, dict):
        holder = str(part.get("type", kind))
        for key, value in part.items():
            if isinstance(value, str) and key == "text":
                yield holder, value
            yield from texts(value, holder) if isinstance(value, dict | list) else ()
    elif isinstance(part, list):
        for item in part:
            yield from texts(item, kind)


def mrkdwn(built: dict[str, Any]) -> list[str]:
    """List what Slack reads as markup."""
    return [built["text"], *(text for kind, text in texts(built["blocks"]) if kind == "mrkdwn")]


def check(built: dict[str, Any]) -> None:
    """Assert all of Slack's limits."""
    blocks = built["blocks"]
    assert 1 <= len(blocks) <= 50
    assert len(built["text"]) <= 4_000
    for block in blocks:
        if block["type"] == "section":
            assert slack_length(block["text"]["text"]) <= 3_000
        if block["type"] == "context":
            assert 1 <= len(block["elements"]) <= 10
    found = list(texts(blocks))
    assert all(0 < slack_length(text) <= 3_000 for kind, text in found if kind == "mrkdwn")
    assert all(0 < slack_length(text) <= 2_500 for kind, text in found if kind == "text")
    assert sum(slack_length(text) for _, text in found) < 6_000
    for _, text in [*found, ("", built["text"])]:
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert json.dumps(built, ensure_ascii=False).encode()


def check_escaped(built: dict[str, Any]) -> None:
    """Assert that our own link is the only markup, and that ampersands are only in entities."""
    for text in mrkdwn(built):
        bare = re.sub(r"<https?://[^<>|\s]+\|(commit [0-9a-f]+|CI run|logs|story)>", "", text)
        assert "<" not in bare
        assert ">" not in bare
        assert not re.search(r"&(?!amp;|lt;|gt;)", text)


@given(announcements)
def test_any_message_keeps_to_slacks_limits(announcement: Announcement) -> None:
    check(message(announcement, "<!here>"))


@given(announcements)
def test_no_text_from_outside_pings_or_links(announcement: Announcement) -> None:
    check_escaped(message(announcement))


@pytest.mark.parametrize("char", ["&", "<", "🎉", "`", "日"])
@pytest.mark.parametrize("alert", [None, "&" * 270])
def test_the_longest_texts_together_keep_to_slacks_limits(char: str, alert: str | None) -> None:
    value = char * (340 // len(char.encode()))
    context = dict.fromkeys(("environment", "actor", "commit", "a", "b", "c", "d", "e", "f"), value)
    context["url"] = "https://ci/?" + "&" * 488
    links = Links(logs="https://d.example/" + "a" * 232, story="https://o.example/" + "a" * 232)
    told = replace(SHOP, error=char * 100_000, type=char * 80, context=context, links=links, group=value)
    assert len(json.dumps(context, ensure_ascii=False).encode()) <= 4_000, "as much as the API allows"
    built = message(replace(told, alert=alert))
    check(built)
    check_escaped(built)


@pytest.mark.parametrize("commit", ["a" + "&" * 100, "ab" + "<" * 100, "`" * 9 + "abc" + ">" * 400])
def test_a_long_commit_is_never_cut_inside_an_entity(commit: str) -> None:
    check_escaped(message(replace(SHOP, context={"commit": commit})))


def test_a_huge_error_keeps_its_head_and_tail() -> None:
    error = "the cause\n" + "\x1b[31m🎉 <!channel> & \x1b[0m" * 5_000 + "\nthe end"
    for text in (error, cut_error(error)):
        built = message(replace(SHOP, error=text))
        check(built)
        (shown,) = (text for kind, text in texts(built["blocks"]) if kind == "text")
        assert shown.startswith("the cause\n")
        assert shown.endswith("\nthe end")
        assert "\x1b" not in shown
        assert "<!channel> & " in shown, "a preformatted block is not escaped"


@pytest.mark.parametrize("mention", [None, "<!here>"])
def test_the_mention_stands_in_front_of_text_and_blocks(mention: str | None) -> None:
    built = message(SHOP, mention)
    assert built["text"].startswith("<!here> ❌") is bool(mention)
    assert built["blocks"][0]["text"]["text"].startswith("<!here> ❌") is bool(mention)


@pytest.mark.parametrize(
    ("announcement", "said"),
    [
        (SHOP, "❌ shop: restart failed after 42\u00a0s: container web-1 failed to restart"),
        (
            replace(SHOP, verdict=Verdict.SUCCEEDED, error=None, duration_s=0.43),
            "✅ shop: restart succeeded after 0.4\u00a0s",
        ),
        (replace(SHOP, type=None, error="", duration_s=None), "❌ shop: operation failed"),
        (
            replace(SHOP, verdict=Verdict.TIMED_OUT, error=None, reason="still running", duration_s=3600.4),
            "shop: restart still running after 1\u00a0h; Opwatch stopped watching: still running",
        ),
        (
            replace(SHOP, verdict=Verdict.LOST, error=None, reason="a & b", duration_s=185),
            "❓ shop: restart: end unknown (Scalingo no longer knows this operation): a &amp; b",
        ),
        (replace(SHOP, error="<!channel> & <@U1>"), "&lt;!channel&gt; &amp; &lt;@U1&gt;"),
    ],
)
def test_the_text_holds_app_type_verdict_duration_and_first_error_line(announcement: Announcement, said: str) -> None:
    assert said in message(announcement)["text"]


@pytest.mark.parametrize(("seconds", "said"), [(59.6, "after 1\u00a0min"), (3599.7, "after 1\u00a0h")])
def test_a_duration_just_below_a_unit_is_written_in_the_next(seconds: float, said: str) -> None:
    assert said in message(replace(SHOP, duration_s=seconds))["text"]


@given(announcements)
def test_the_plain_message_is_the_same_without_blocks_and_with_links_in_its_last_line(
    announcement: Announcement,
) -> None:
    told = replace(announcement, context={"environment": announcement.context.get("environment", "")})
    built = message(told, "<!here>")
    alone = replace(told, links=NO_LINKS, group=None)
    assert plain_message(alone, "<!here>") == {key: value for key, value in built.items() if key != "blocks"}
    linked = plain_message(replace(told, links=LINKS, group="deploy 42"), "<!here>")["text"]
    assert linked == f"{built['text']}\n<{LINKS.logs}|logs> · <{LINKS.story}|story> · group: deploy 42"


@pytest.mark.parametrize(
    ("url", "linked"),
    [
        ("https://ci.example/runs/7", "<https://ci.example/runs/7|CI run>"),
        ("https://ci.example/?a=1&b=2", "<https://ci.example/?a=1&amp;b=2|CI run>"),
        ("http://ci.example", "<http://ci.example|CI run>"),
        *((url, None) for url in (
            "", "javascript:alert(1)", "JavaScript://a.example/%0aalert(1)", "data:text/html,x", "ftp://a.example",
            "//a.example",
            "ci.example/7", "https://", "https:///path", "http://?x", "https:a.example", "https://a b.example",
            "https://a.example/<!channel>", "https://a.example|x", "https://a.example/\nx",
            "https://a.example/\u202ex",
            "https://[::1", "https://a.example:port/", "https://a.example/" + "x" * 3_000, " https://a.example",
        )),
    ],
)  # fmt: skip
def test_only_a_well_formed_web_address_is_linked(url: str, linked: str | None) -> None:
    found = [text for text in mrkdwn(message(replace(SHOP, context={"url": url}))) if "|CI run>" in text]
    assert found == ([] if linked is None else [linked])


def test_links_and_the_groups_name_follow_what_is_known() -> None:
    context = {"team": "web", "commit": "4f2c1aa", "url": "https://ci.example/7"}
    told = replace(SHOP, context=context, links=LINKS, group="deploy 42" + "!" * 200)
    shown = [element["text"] for element in message(told)["blocks"][-1]["elements"]]
    links = f"<https://ci.example/7|CI run> · <{LINKS.logs}|logs> · <{LINKS.story}|story>"
    group = "group: deploy 42" + "!" * (context_wording.GROUP_LIMIT - 10) + "…"
    assert shown == ["commit `4f2c1aa`", links, group, "team: web"]
    assert [element["text"] for element in slack_message.final_message(told)["blocks"][-1]["elements"]] == shown
    assert [element["text"] for element in slack_message.reply(told)["blocks"][-1]["elements"]] == [links, group]
    crowded = replace(told, context={**context, **{f"note{n}": "x" for n in range(20)}})
    assert [element["text"] for element in message(crowded)["blocks"][-1]["elements"]][:4] == shown


def test_two_messages_of_one_name_in_two_regions_differ() -> None:
    for place, said in (
        ("", "*shop*: restart"),
        ("agency in osc-secnum-fr1", "*shop* (agency in osc-secnum-fr1): restart"),
    ):
        built = message(replace(SHOP, place=place))
        assert said in built["blocks"][0]["text"]["text"]
        assert said.replace("*", "") in built["text"]


def test_the_context_is_shown_with_what_is_known_first() -> None:
    context = {"step": "migrate", "commit": "`abc`", "actor": "jane <x>", "environment": "prod", "empty": " "}
    line, *_, block = message(replace(SHOP, context=context))["blocks"]
    assert line["text"]["text"] == "❌ *shop* (prod): restart *failed after 42\u00a0s*"
    shown = [(element["type"], element["text"]) for element in block["elements"]]
    assert shown == [
        ("plain_text", "by jane <x>"),
        ("mrkdwn", "commit `abc`"),
        ("plain_text", "step: migrate"),
    ]


ACTIVE = (
    "*jane*", "_it_", "__ci__", "~s~", "`c`", "```c```", "http://actor.evil/login", "https://evil.example",
    "www.evil.example",
    "evil.example/phish", "jane@evil.example", "#general", "@here", "@channel", ":tada:", ":+1:", "<!here>", "<@U1>",
    "<#C1>", "<https://evil.example|x>",
)  # fmt: skip
"""Each is markup, a mention, an emoji or a link in Slack, unless it is broken."""

HOSTILE = " ".join(ACTIVE)


def check_inert(built: dict[str, Any]) -> None:
    """Assert that Slack reads none of ACTIVE in the texts with markup, and looks for nothing in them."""
    for part in objects(built["blocks"]):
        assert part.get("type") != "mrkdwn" or part["verbatim"] is True
    for text in mrkdwn(built):
        ours = re.sub(r"^commit `(\w+)`$|`(ci-hook)`", r"\1\2", text)
        assert [each for each in ACTIVE if each in ours] == []
        bare = re.sub(r"\*([^*]*)\*|<https://ci[^>]*>( · )?", r"\1", ours)
        assert not re.search(r"[*~`]|(?<!\w)_|_(?!\w)|://|:[\w+-]+:|[#@]\w", re.sub(r"&lt;[@#]", "", bare)), text


def objects(part: Any) -> Iterator[dict[str, Any]]:
    """Walk through every object of a message's blocks."""
    if isinstance(part, dict):
        yield part
    for item in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from objects(item)


def test_no_text_from_outside_is_markup_in_any_part_of_a_message() -> None:
    context = dict.fromkeys(("environment", "actor", "commit", "note"), HOSTILE)
    for error in (HOSTILE, *ACTIVE):
        told = replace(SHOP, type=error, error=error, context=dict.fromkeys(context, error))
        alert = f"deliveries to `ci-hook` are failing: {error}"
        for announcement in (told, replace(told, ended=False), replace(told, alert=alert), replace(told, alert=error)):
            check_inert(message(announcement))
    (*_, block) = message(replace(SHOP, context=context))["blocks"]
    assert {element["type"] for element in block["elements"]} == {"plain_text"}
    assert (
        "deliveries to `ci-hook` are failing: 410"
        in message(replace(SHOP, alert="deliveries to `ci-hook` are failing: 410"))["text"]
    )


def test_ordinary_texts_are_shown_as_they_are() -> None:
    said = "scale_up web-1 to 2:M, 50 % (a/b) 10:30 v1.2.3 port :5000 snake_case_name"
    assert said in message(replace(SHOP, error=said))["text"]


def test_without_error_and_context_one_block_says_it_all() -> None:
    built = message(replace(SHOP, verdict=Verdict.SUCCEEDED, error=None))
    assert [block["type"] for block in built["blocks"]] == ["section"]


def test_what_is_usual_stands_in_the_line_that_says_how_long_it_took() -> None:
    built = message(replace(SHOP, verdict=Verdict.SUCCEEDED, error=None, usual=Usual(p50=15.2, p90=20.4, samples=9)))
    assert built["text"] == "✅ shop: restart succeeded after 42\u00a0s (usually 15–20\u00a0s)"
    assert built["blocks"][0]["text"]["text"] == "✅ *shop*: restart *succeeded after 42\u00a0s* (usually 15–20\u00a0s)"
