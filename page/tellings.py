"""Deliveries as values and words that the page shows. Pure."""

from notifiers.wording import DELIVERY_WORDS
from operations.model import Delivery, DeliveryState, Tracking
from operations.text import plain
from page.search import Search


class Telling:
    """A delivery, an alert or a warning. `word` is its `state` for people, `retry` whether people may retry it."""

    def __init__(self, tracking: Tracking, delivery: Delivery) -> None:
        self.key = delivery.id
        self.target = plain(delivery.target)
        self.about = what_it_tells(delivery)
        self.state = delivery.state.value
        self.word = DELIVERY_WORDS[delivery.state]
        self.attempts = delivery.attempts
        self.error = plain(delivery.last_error or "")
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


def counted(deliveries: int) -> str:
    """Write a number of deliveries."""
    return f"{deliveries:,} deliveries" if deliveries > 1 else "1 delivery" if deliveries else "No delivery"
