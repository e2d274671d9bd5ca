"""The page's view of a tracking, and its timeline."""

import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from api.groups import AnyText
from operations.history import Attempt, Looks
from operations.model import DeliveryState, Operation, State, Usual, Verdict
from operations.storage.failing import FailingTarget
from operations.storage.listing import End
from operations.storage.records import Stored, encode
from operations.telling.groups import summarize
from page import charts, groups, pages, search, throttle, timeline, view
from page.html import html
from page.search import Search
from tests.unit.strategies import NOW, a_delivery, a_tracking, trackings

USUAL = Usual(p50=15.0, p90=20.0, samples=9)
RUNNING = Operation(status="running", type="restart")


def after(seconds: float) -> Any:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def app() -> Flask:
    """Serve the templates."""
    made = Flask("page")
    made.url_map.converters["any_text"] = AnyText
    made.register_blueprint(pages.routes)
    return made


@settings(max_examples=60)
@given(trackings())
def test_any_record_can_be_shown(app: Flask, tracking: Any) -> None:
    odd = re.compile("[\u202e\u200b\x1b\x00\x7f\x9b]")
    listed = {"cards": [(view.Card(tracking, NOW), [*map(partial(view.Telling, tracking), tracking.outgoing)])]}
    story = {"card": view.Card(tracking, NOW), "tracking": tracking, "events": timeline.events(tracking)}
    with app.test_request_context("/"):
        pages_of_it = (
            html("list.html", title="", query=Search(), states={}, targets={}, apps=[], **listed),
            html("operation.html", title="", **story),
        )
    assert not any(odd.search(page.get_data(as_text=True)) for page in pages_of_it)
    targets = {delivery.target for delivery in tracking.outgoing}
    found = [FailingTarget(target, retrying=1, dead=1, first=(Stored(tracking, b""),)) for target in targets]
    assert all(each.about for each in view.failing(found, NOW))


@pytest.mark.parametrize(
    ("age_s", "usual", "line", "value_s", "note"),
    [
        (12, None, "for 12\u00a0s", None, ""),
        (12, USUAL, "for 12\u00a0s of usually 15–20\u00a0s", 12.0, ""),
        (25, USUAL, "for 25\u00a0s, usually 15–20\u00a0s", 20.0, "longer than usual"),
        (51, USUAL, "for 51\u00a0s, usually 15–20\u00a0s", 20.0, "far longer than usual"),
        (12, Usual(p50=0.0, p90=0.0, samples=3), "for 12\u00a0s, usually 0.0\u00a0s", 0.0, "longer than usual"),
    ],
)
def test_progress_is_measured_by_what_is_usual(
    age_s: float, usual: Usual | None, line: str, value_s: float | None, note: str
) -> None:
    shown = view.Card(a_tracking(operation=RUNNING, usual=usual), after(age_s))
    assert shown.running is not None
    assert (shown.line, shown.running.value_s, shown.running.note) == (line, value_s, note)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ("succeeded", "succeeded after 42\u00a0s (usually 15–20\u00a0s)"),
        ("failed", "failed after 42\u00a0s (usually 15–20\u00a0s)"),
        ("timed_out", "not finished after 42\u00a0s (usually 15–20\u00a0s)"),
        ("lost", "end unknown after 42\u00a0s"),
        ("cancelled", "cancelled after 42\u00a0s"),
    ],
)
def test_an_outcome_is_said_in_a_line(state: str, line: str) -> None:
    ended = a_tracking(state=State(state), ended_at=after(42), duration_s=42.0, usual=USUAL, next_look_at=None)
    assert view.Card(ended, after(99)).line == line
    assert view.Card(ended, after(99)).running is None


@pytest.mark.parametrize(
    ("url", "linked"),
    [
        ("https://ci.example.com/build/17?a=b", True),
        ("http://ci.example.com", True),
        ("javascript:alert(1)", False),
        ("JavaScript://x.example/%0aalert(1)", False),
        ("data:text/html,x", False),
        ("//ci.example.com", False),
        ("https:", False),
        ("https://[", False),
        ("https://ci.example.com/\u202e", False),
        ("", False),
    ],
)
def test_only_addresses_of_the_web_are_linked(url: str, linked: bool) -> None:  # noqa: FBT001 - a column of the table
    shown = view.Card(a_tracking(context={"url": url}), NOW)
    assert shown.url == (url if linked else None)
    assert [*shown.facts] == ([] if linked else ["url"])


def test_a_one_off_that_is_done_has_started_everywhere() -> None:
    one_off = Operation(status="done", outcome=Verdict.SUCCEEDED, type="start-one-off")
    done = a_tracking(state=State.SUCCEEDED, ended_at=after(3), duration_s=3.0, operation=one_off, next_look_at=None)
    shown = view.Card(done, after(99))
    assert (shown.what, shown.status, shown.line) == ("one-off", "started", "started after 3\u00a0s")
    assert "started" in [event.text for event in timeline.events(done)]


def test_what_is_not_told_is_shown_by_target_with_links_to_what_is_not_shown() -> None:
    dead = a_delivery(target="slack", state=DeliveryState.DEAD, last_error="410 Gone", ended_at=NOW)
    retrying = a_delivery(target="hook", state=DeliveryState.RETRYING, last_error="500", next_attempt_at=after(5))
    told = a_delivery(target="fine", state=DeliveryState.DELIVERED)
    first = a_tracking(state=State.FAILED, ended_at=NOW, next_look_at=None, deliveries=(dead, told))
    second = a_tracking(state=State.FAILED, ended_at=NOW, next_look_at=None, deliveries=(dead, retrying))
    stored = [Stored(tracking, b"") for tracking in (first, second)]
    found = [FailingTarget("slack", 0, 40, tuple(stored)), FailingTarget("hook", 1, 0, (stored[1],))]
    found.append(FailingTarget("fine", 1, 0, (stored[0],)))
    assert [(each.target, each.dead, each.retrying, each.error, each.more) for each in view.failing(found, NOW)] == [
        ("slack", 40, 0, "410 Gone", ("dead",)),
        ("hook", 0, 1, "500", ()),
    ]
    assert [len(each.about) for each in view.failing(found, NOW)] == [2, 1]


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({"state": DeliveryState.DEAD}, True),
        ({"state": DeliveryState.RETRYING}, True),
        ({"state": DeliveryState.RETRYING, "claim": "a-worker"}, False),
        ({"state": DeliveryState.DELIVERED}, False),
        ({"state": DeliveryState.SKIPPED}, False),
        ({"state": DeliveryState.DEAD, "run": 2}, False),
    ],
)
def test_only_what_the_api_would_retry_has_a_button(changes: dict[str, Any], may: bool) -> None:  # noqa: FBT001
    (shown,) = view.Card(a_tracking(deliveries=(a_delivery(**changes),)), NOW).tellings
    assert shown.retry is may


def test_the_title_says_what_needs_somebody_first() -> None:
    assert view.title(0, 0) == "Opwatch"
    assert view.title(0, 3) == "3 in flight · Opwatch"
    assert view.title(2, 3) == "2 not delivered · 3 in flight · Opwatch"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("it broke\nand then", "it broke"),
        ("hook exited with 1:\n\n  column vat does not exist\nLINE 1", "hook exited with 1: column vat does not exist"),
        ("nothing follows:", "nothing follows:"),
        ("a:\n" + "x" * 200, "a: " + "x" * 116 + "…"),
        (None, "Scalingo gave no error text"),
    ],
)
def test_a_cause_that_announces_the_next_line_has_it_too(error: str | None, cause: str) -> None:
    broken = Operation(status="error", outcome=Verdict.FAILED, type="deployment", error=error)
    assert (
        view.Card(a_tracking(state=State.FAILED, operation=broken, ended_at=NOW, next_look_at=None), NOW).cause == cause
    )


def test_a_story_tells_the_end_before_what_was_told_of_it() -> None:
    told = a_delivery(state=DeliveryState.DELIVERED, history=(Attempt(at=after(9)),))
    tracking = a_tracking(state=State.FAILED, ended_at=after(9), next_look_at=None, deliveries=(told,))
    assert [event.text for event in timeline.events(tracking)][-2:] == ["failed", "outcome delivered to slack"]


def test_a_story_is_told_in_order_and_says_what_is_not_kept() -> None:
    looks = (
        Looks(what="pending", first_at=after(1)),
        Looks(what="no answer in time", first_at=after(2), last_at=after(4), times=2, failed=True),
        Looks(what="error", first_at=after(9)),
    )
    history = (Attempt(at=after(10), error="500 Internal Server Error"), Attempt(at=after(15)))
    tracking = a_tracking(
        state=State.FAILED,
        ended_at=after(9),
        next_look_at=None,
        polls=10,
        looks=looks,
        deliveries=(a_delivery(state=DeliveryState.DELIVERED, history=history),),
    )
    assert [(event.text, event.detail, event.times) for event in timeline.events(tracking)] == [
        ("tracked by ci", "", 1),
        ("looked: pending", "", 1),
        ("further looks, details not kept", "", 6),
        ("look failed", "no answer in time", 2),
        ("looked: error", "", 1),
        ("failed", "", 1),
        ("outcome not delivered to slack", "500 Internal Server Error", 1),
        ("outcome delivered to slack", "", 1),
    ]


@pytest.mark.parametrize(
    ("forwarded_for", "peer", "address"),
    [
        ("", "192.0.2.7", "192.0.2.7"),
        ("198.51.100.9", "10.0.0.1", "198.51.100.9"),
        ("forged, 198.51.100.9", "10.0.0.1", "198.51.100.9"),
        ("2001:db8:1:2:3:4:5:6", "10.0.0.1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "10.0.0.1", "192.0.2.7"),
        ("1.2.3.4:5, 7.7.7.7:1001", "10.0.0.1", "7.7.7.7"),
        ("[2001:db8:1:2:3::9]:443", "10.0.0.1", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:3::9]", "10.0.0.1", "2001:db8:1:2::/64"),
        ("[::ffff:192.0.2.7]:1", "10.0.0.1", "192.0.2.7"),
        ("2002:c000:207:9::1", "10.0.0.1", "192.0.2.7"),
        ("7.7.7.7:x", "10.0.0.1", "unknown"),
        ("nonsense\n", "10.0.0.1", "unknown"),
        ("", "", "unknown"),
    ],
)
def test_a_try_counts_for_the_address_that_the_nearest_proxy_saw(forwarded_for: str, peer: str, address: str) -> None:
    assert throttle.address_of(forwarded_for, peer) == address


# Searching


@settings(max_examples=200)
@given(trackings(), st.data())
def test_the_cheap_test_of_a_record_rejects_none_that_matches(tracking: Any, data: st.DataObject) -> None:
    texts = [text for text in search.texts(tracking) if text and text.strip()]
    text = data.draw(st.sampled_from(texts))
    start = data.draw(st.integers(0, len(text) - 1))
    part = text[start : data.draw(st.integers(start + 1, len(text)))]
    states = data.draw(st.sampled_from(["", *search.STATES]))
    told = data.draw(st.sampled_from(["", *(delivery.state for delivery in tracking.outgoing)]))
    app = data.draw(st.sampled_from([tracking.app[:3], f'"{tracking.app}"', f'"{tracking.app[:3]}"']))
    kind = data.draw(st.sampled_from(["", search.type_of(tracking).lower(), "other"]))
    wanted = Search(q=part, app=app, type=kind, state=states, delivery=told, group=tracking.group or "")
    if wanted.matches(tracking):
        assert wanted.prefilter()(encode(tracking))
    assert states or not part.strip() or part.lower().split() == [] or Search(q=part).matches(tracking)


@pytest.mark.parametrize("word", ["tracking", "tr", "Operation"])
def test_the_cheap_test_knows_what_a_record_leaves_out(word: str) -> None:
    flying = a_tracking()
    assert Search(q=word).matches(flying)
    assert Search(q=word).prefilter()(encode(flying))


@pytest.mark.parametrize(
    ("app", "found"),
    [
        ("shop", ["shop", "shop-api"]),
        ("*-api", ["shop-api"]),
        ('"shop"', ["shop"]),
        ('"shop-api"', ["shop-api"]),
        ('"api"', []),
    ],
)
def test_a_name_in_quotation_marks_is_the_whole_name(app: str, found: list[str]) -> None:
    wanted = search.parse([("app", app), ("type", "Restart")])
    assert not wanted.faults
    known = [a_tracking(app=name, operation=RUNNING) for name in ("shop", "shop-api", "my-shop")]
    assert [each.app for each in known if wanted.matches(each)] == found
    assert not any(wanted.matches(replace(each, operation=None)) for each in known)


@pytest.mark.parametrize(
    ("ended", "wrong", "rate"),
    [(1, 0, "0 %"), (3, 3, "100 %"), (3, 1, "33 %"), (1_000, 1, "1 %"), (1_000, 999, "99 %")],
)
def test_a_rate_never_hides_a_failure_or_a_success(ended: int, wrong: int, rate: str) -> None:
    ends = [
        End(app="shop", state=State.LOST if n < wrong else State.SUCCEEDED, ended_at=NOW, duration_s=30.0)
        for n in range(ended)
    ]
    (row,) = charts.app_rows([*ends, End(app="shop", state=State.CANCELLED, ended_at=NOW)], [NOW.date()])
    assert (row.ended, row.wrong, row.rate) == (ended, wrong, rate)
    assert row.usual == ("30\N{NO-BREAK SPACE}s" if wrong < ended else "")
    (column,) = row.columns
    assert (column.height, column.y) == (charts.HEIGHT, 0)
    assert column.wrong_height == pytest.approx(charts.HEIGHT * wrong / ended, abs=0.05)


@pytest.mark.parametrize(("retention", "days"), [(0.1, 2), (7, 8), (365, 31)])
def test_a_chart_has_a_column_for_each_day_that_is_kept(retention: float, days: int) -> None:
    listed = charts.days_until(NOW, retention)
    assert (len(listed), listed[-1]) == (days, NOW.date())
    old = [End(app="shop", state=State.FAILED, ended_at=NOW - timedelta(days=99))]
    (row,) = charts.app_rows(old, listed)
    assert (row.ended, [column.height for column in row.columns]) == (1, [0] * days)


@pytest.mark.parametrize(("took_s", "mood"), [(10.0, ""), (20.0, ""), (90.0, "long"), (0.0, "")])
def test_a_bar_stays_within_its_width(took_s: float, mood: str) -> None:
    drawn = charts.bar(took_s, USUAL)
    assert drawn is not None
    assert drawn.mood == mood
    assert all(0 <= part <= 100 for part in (drawn.took, drawn.usual_from, drawn.usual_to))
    assert charts.bar(took_s, None) is charts.bar(None, USUAL) is None


def test_a_group_says_how_far_it_is_and_how_it_ended() -> None:
    def member(number: int, state: State, size: int | None) -> Any:
        ended = None if state is State.TRACKING else after(9)
        return a_tracking(id=f"osc-fr1-{number}", group="all", group_size=size, state=state, ended_at=ended)

    def shown(size: int | None, *states: State) -> Any:
        members = [member(number, state, size) for number, state in enumerate(states)]
        return groups.GroupCard(summarize("all", members, after(10)), after(10))

    failed, done, running = State.FAILED, State.SUCCEEDED, State.TRACKING
    assert shown(4, done, failed, running).line == "2 of 4 ended after 10\u00a0s"
    assert shown(4, done, failed, running).mood == "odd"
    assert shown(None, done, done).line == "2 of 2 ended after 10\u00a0s, waits for more"
    final = shown(6, *(failed,) * 5, done)
    assert (final.line, final.tally, final.mood) == ("failed after 9\u00a0s", "5 failed, 1 succeeded", "bad")
    assert (len(final.wrong), final.more_wrong, final.running) == (3, 2, False)
    assert shown(2, done, done).tally == "2 succeeded"
