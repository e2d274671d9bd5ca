"""Deliveries as values and words that the page shows. Pure."""

from dataclasses import dataclass
from datetime import datetime

from notifiers.wording import DELIVERY_WORDS
from operations.model import Delivery, DeliveryState, Tracking
from operations.text import plain
from page.search import Search


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """The delivery to one target; `word` is its `state` for people, `retry` whether people may retry it."""

    key: str
    target: str
    about: str
    state: str
    word: str
    attempts: int
    error: str
    next_at: datetime | None
    ended_at: datetime | None
    retry: bool


def telling(tracking: Tracking, delivery: Delivery) -> Telling:
    """Describe a delivery, an alert or a warning."""
    about = "alert" if delivery.alert is not None else "warning" if delivery.warns else "outcome"
    own = about == "outcome" and delivery.run == tracking.run and delivery in tracking.deliveries
    waits = delivery.state is DeliveryState.RETRYING and delivery.claim is None
    return Telling(
        key=delivery.id,
        target=plain(delivery.target),
        about=about,
        state=delivery.state.value,
        word=DELIVERY_WORDS[delivery.state],
        attempts=delivery.attempts,
        error=plain(delivery.last_error or ""),
        next_at=delivery.next_attempt_at if delivery.unfinished else None,
        ended_at=delivery.ended_at,
        retry=own and (waits or delivery.state is DeliveryState.DEAD),
    )


def tellings(tracking: Tracking, wanted: Search) -> tuple[Telling, ...]:
    """Describe the deliveries that somebody searches for."""
    if not (wanted.delivery or wanted.target):
        return ()
    return tuple(telling(tracking, d) for d in tracking.outgoing if wanted.wants(d))


def counted(deliveries: int) -> str:
    """Write a number of deliveries."""
    return f"{deliveries:,} deliveries" if deliveries > 1 else "1 delivery" if deliveries else "No delivery"
