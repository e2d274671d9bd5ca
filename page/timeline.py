"""The timeline of a tracking: tracked, looks, outcome, attempts to deliver. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from notifiers.wording import state_word
from operations.history import Looks
from operations.kind import Kind
from operations.model import Delivery, State, Tracking
from page.view import what_it_tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event at a time, or `times` events from `at` to `until`; `detail` says why it failed."""

    at: datetime
    until: datetime | None = None
    text: str
    detail: str = ""
    times: int = 1
    mood: str = ""


def events(tracking: Tracking) -> list[Event]:
    """List the known events of a tracking, in order."""
    found = [Event(at=tracking.created_at, text=f"tracked by {tracking.created_by}")]
    found += _looks(tracking)
    if tracking.ended_at is not None:
        mood = {State.SUCCEEDED: "good", State.FAILED: "bad"}.get(tracking.state, "odd")
        said = state_word(tracking.state, tracking.operation.type if tracking.operation else None)
        text = said + (f" by {tracking.cancelled_by}" if tracking.cancelled_by else "")
        found.append(Event(at=tracking.ended_at, text=text, detail=tracking.reason or "", mood=mood))
    for delivery in tracking.outgoing:
        found += _attempts(delivery)
    return sorted(found, key=lambda event: event.at)


def _looks(tracking: Tracking) -> Iterator[Event]:
    not_kept = tracking.polls - sum(each.times for each in tracking.looks if not each.glanced)
    for number, each in enumerate(tracking.looks):
        if number == 1 and not_kept > 0:
            yield Event(at=each.first_at, text="further looks, details not kept", times=not_kept)
        yield _look(each, "deployment" if tracking.kind is Kind.DEPLOYMENT else "app")


def _look(each: Looks, glanced_at: str) -> Event:
    what = each.what
    if each.failed:
        return Event(
            at=each.first_at, until=each.last_at, text="look failed", detail=what, times=each.times, mood="odd"
        )
    if each.glanced:
        return Event(at=each.first_at, text=f"seen by a glance: the {glanced_at} is {what}")
    return Event(at=each.first_at, until=each.last_at, text=f"looked: {what}", times=each.times)


def _attempts(delivery: Delivery) -> Iterator[Event]:
    what, target = what_it_tells(delivery), delivery.target
    for each in delivery.history:
        if each.by is not None:
            yield Event(at=each.at, text=f"retry to {target} by {each.by}")
        elif each.error is None:
            yield Event(at=each.at, text=f"{what} delivered to {target}", mood="good")
        else:
            yield Event(at=each.at, text=f"{what} not delivered to {target}", detail=each.error, mood="bad")
