"""Trackings as values and words that the page shows. Pure. Templates make texts from outside safe (`html.shown`)."""

from collections.abc import Iterable
from datetime import UTC, datetime

from notifiers import context_wording, wording
from notifiers.time_wording import duration, span
from notifiers.wording import DELIVERY_WORDS
from operations.model import Delivery, DeliveryState, State, Tracking, Usual
from operations.storage.failing import FAILING, SHOWN, FailingTarget
from operations.text import cut_middle, first_line, plain, url_fault, whole_lines
from operations.watching.slow import slow_from_s
from page.charts import bar
from page.search import Search, type_of

_LINE = 120
_ERROR_IN_LIST = 600


class Running:
    """The progress of an operation in flight: its age and the usual duration, in seconds; None if unknown."""

    def __init__(self, usual: Usual | None, age_s: float) -> None:
        whole_s = None if usual is None else max(usual.p90, 0.001)
        self.value_s = None if whole_s is None else round(min(age_s, whole_s), 1)
        self.usual_s = None if whole_s is None else round(whole_s, 1)
        self.note = ""
        if usual is not None and age_s > usual.p90:
            self.note = "far longer than usual" if age_s > slow_from_s(usual) else "longer than usual"


class Telling:
    """A delivery, an alert or a warning. `word` is its `state` for people, `retry` whether people may retry it."""

    def __init__(self, tracking: Tracking, delivery: Delivery) -> None:
        self.key = delivery.id
        self.target = delivery.target
        self.about = what_it_tells(delivery)
        self.state = delivery.state.value
        self.word = DELIVERY_WORDS[delivery.state]
        self.attempts = delivery.attempts
        self.error = delivery.last_error or ""
        self.next_at = delivery.next_attempt_at if delivery.unfinished else None
        self.ended_at = delivery.ended_at
        own = self.about == "outcome" and delivery.run == tracking.run and delivery in tracking.deliveries
        waits = delivery.state is DeliveryState.RETRYING and delivery.claim is None
        self.retry = own and (waits or delivery.state is DeliveryState.DEAD)


def what_it_tells(delivery: Delivery) -> str:
    """Return the word for what a delivery tells."""
    return "alert" if delivery.alert is not None else "warning" if delivery.warns else "outcome"


def tellings(tracking: Tracking, wanted: Search) -> tuple[Telling, ...]:
    """Describe the deliveries that somebody searches for."""
    if not (wanted.delivery or wanted.target):
        return ()
    return tuple(Telling(tracking, d) for d in tracking.outgoing if wanted.wants(d))


class Card:
    """A tracking as values and words. `status` is the word on its badge, `mood` its colour, `line` a sentence."""

    def __init__(self, tracking: Tracking, now: datetime) -> None:
        operation = tracking.operation
        in_flight = tracking.state is State.TRACKING
        self.id = tracking.id
        self.app = tracking.app
        self.what = type_of(tracking)
        self.status = _status(tracking)
        self.mood = _mood(tracking, now)
        self.line = _so_far(tracking, now) if in_flight else _outcome(tracking)
        self.began_at = tracking.created_at
        self.ended_at = tracking.ended_at
        self.running = Running(tracking.usual, tracking.age_s(now)) if in_flight else None
        self.bar = None if in_flight else bar(tracking.duration_s, tracking.usual)
        self.took = "" if in_flight else duration(tracking.duration_s)
        self.usual = span(tracking.usual) if tracking.usual is not None and tracking.state is not State.LOST else ""
        self.who = _word(tracking.context.get("actor")) or tracking.created_by
        self.environment = _word(tracking.context.get("environment"))
        self.group = tracking.group or ""
        link = tracking.context.get("url", "")
        self.url = link if url_fault(link) is None else None  # other schemes, above all `javascript:`, stay text
        self.facts = {name: value for name, value in tracking.context.items() if name != "url" or self.url is None}
        self.place = tracking.place
        self.links = context_wording.links({}, tracking.links)
        self.error = plain(operation.error or "") if operation else ""
        self.reason = tracking.reason or ""
        self.trouble = tracking.last_error or "" if in_flight else ""
        self.tellings = [Telling(tracking, delivery) for delivery in tracking.outgoing]

    @property
    def headline(self) -> str:
        """Write its state in one line, for screen readers."""
        return f"{self.app}{f' ({self.place})' if self.place else ''}: {self.what} {self.line}"

    @property
    def cause(self) -> str:
        """The first line of why it went wrong; if that only announces what follows, also the next one."""
        known = _cause(self.error.lstrip(" !→\n\t") or self.reason)
        return known or (wording.NO_ERROR_TEXT if self.mood == "bad" else "")

    @property
    def short_error(self) -> str:
        """The error text for lists; a long one is cut in the middle, since its own page shows all."""
        return whole_lines(cut_middle(self.error, _ERROR_IN_LIST))


class Failing:
    """A target with failing deliveries, and the first of them. The `dead` ones wait for a person to retry them."""

    def __init__(self, found: FailingTarget, now: datetime) -> None:
        self.target = found.target
        self.dead = found.dead
        self.retrying = found.retrying
        cards = [Card(each.tracking, now) for each in found.first]
        pairs = ((card, telling) for card in cards for telling in card.tellings)
        self.about = [pair for pair in pairs if pair[1].target == found.target and pair[1].state in FAILING]

    @property
    def error(self) -> str:
        """The first error."""
        return first_line(plain(self.about[0][1].error), _LINE)

    @property
    def more(self) -> tuple[str, ...]:
        """The states with more deliveries than are shown."""
        counts = {DeliveryState.DEAD: self.dead, DeliveryState.RETRYING: self.retrying}
        return tuple(state for state, count in counts.items() if count > SHOWN)


class TargetRow:
    """One target: its kind (empty if it is no longer configured), its health in words, and the last error."""

    def __init__(self, name: str, kind: str, delivered: int, failing: Failing | None) -> None:
        dead, retrying = (failing.dead, failing.retrying) if failing else (0, 0)
        words = [f"{dead:,} given up"] * bool(dead) + [f"{retrying:,} retrying"] * bool(retrying)
        good = ("works", "good") if delivered else ("not used yet", "quiet")
        self.name, self.kind, self.delivered = name, kind, delivered
        self.health, self.mood = (", ".join(words), "bad" if dead else "odd") if words else good
        self.failing = dead + retrying
        self.error = failing.error if failing else ""


def failing(found: Iterable[FailingTarget], now: datetime) -> list[Failing]:
    """Describe each target's failing deliveries, unless all were delivered in the meantime."""
    return [each for each in (Failing(target, now) for target in found) if each.about]


def title(failing_count: int, in_flight: int) -> str:
    """Write the window's title: failing deliveries first, because they need a person."""
    counts = [f"{failing_count} not delivered"] * bool(failing_count) + [f"{in_flight} in flight"] * bool(in_flight)
    return " · ".join([*counts, "Opwatch"])


def counted(deliveries: int) -> str:
    """Write a number of deliveries."""
    return f"{deliveries:,} deliveries" if deliveries > 1 else "1 delivery" if deliveries else "No delivery"


def _status(tracking: Tracking) -> str:
    if tracking.state is not State.TRACKING:
        return _state_word(tracking)
    return _word(tracking.operation.status) if tracking.operation else "not seen yet"


def _mood(tracking: Tracking, now: datetime) -> str:
    if tracking.state is not State.TRACKING:
        return mood_of(tracking.state)
    age_s = tracking.age_s(now)
    late = tracking.unanswered_since is not None or age_s > slow_from_s(tracking.usual)
    return "odd" if late else "under-way"


def _so_far(tracking: Tracking, now: datetime) -> str:
    so_far_s = tracking.age_s(now)
    usual = tracking.usual
    if usual is None:
        return f"for {duration(so_far_s)}"
    if so_far_s <= usual.p90:
        return f"for {duration(so_far_s)} of usually {span(usual)}"
    return f"for {duration(so_far_s)}, usually {span(usual)}"


def _outcome(tracking: Tracking) -> str:
    took = duration(tracking.duration_s)
    said = _state_word(tracking) + (f" after {took}" if took else "")
    compares = tracking.usual is not None and tracking.state in (State.SUCCEEDED, State.FAILED, State.TIMED_OUT)
    return said + (f" (usually {span(tracking.usual)})" if compares and tracking.usual else "")


def _state_word(tracking: Tracking) -> str:
    return wording.state_word(tracking.state, tracking.operation.type if tracking.operation else None)


def _cause(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return first_line(" ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]), _LINE)


def _word(text: str | None) -> str:
    return first_line(plain(text or ""), 40)


def mood_of(state: State) -> str:
    """Return the colour of a state."""
    moods = {State.SUCCEEDED: "good", State.FAILED: "bad", State.CANCELLED: "quiet", State.TRACKING: "under-way"}
    return moods.get(state, "odd")


def clock(at: datetime) -> str:
    """Write a time in UTC, without the year: `23 Nov 23:16:14`."""
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%b %H:%M:%S}"


def stamp(at: datetime) -> str:
    """Write a whole time: `2026-11-23 23:16:14 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
