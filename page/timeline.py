"""A tracking's story, in order: tracked, looks, outcome, attempts to deliver. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from notifiers.wording import WORDS
from operations.model import Delivery, Looks, State, Tracking
from operations.text import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at a time, or `times` times until another; `detail` says why it failed."""

    at: datetime
    until: datetime | None = None
    text: str
    detail: str = ""
    times: int = 1
    mood: str = ""


def of(tracking: Tracking) -> list[Event]:
    """Tell everything that is known to have happened to a tracking, from its beginning."""
    events = [Event(at=tracking.created_at, text=f"tracked by {plain(tracking.created_by)}")]
    events += _looks(tracking)
    for delivery in tracking.outgoing:
        events += _attempts(delivery)
    if tracking.ended_at is not None:
        mood = {State.SUCCEEDED: "good", State.FAILED: "bad"}.get(tracking.state, "odd")
        ended = Event(at=tracking.ended_at, text=WORDS[tracking.state], detail=plain(tracking.reason or ""), mood=mood)
        events.append(ended)
    return sorted(events, key=lambda event: event.at)


def _looks(tracking: Tracking) -> Iterator[Event]:
    untold = tracking.polls - sum(each.times for each in tracking.looks)
    for number, each in enumerate(tracking.looks):
        if number == 1 and untold > 0:
            yield Event(at=each.first_at, text="looks in between, not kept", times=untold)
        yield _look(each)


def _look(each: Looks) -> Event:
    what = plain(each.what)
    if each.failed:
        return Event(
            at=each.first_at, until=each.last_at, text="look failed", detail=what, times=each.times, mood="odd"
        )
    return Event(at=each.first_at, until=each.last_at, text=f"looked: {what}", times=each.times)


def _attempts(delivery: Delivery) -> Iterator[Event]:
    told = "alerted" if delivery.alert is not None else "warned" if delivery.warns else "told"
    target = plain(delivery.target)
    for each in delivery.history:
        if each.error is None:
            yield Event(at=each.at, text=f"{told} {target}", mood="good")
        else:
            yield Event(at=each.at, text=f"{target} not {told}", detail=plain(each.error), mood="bad")
