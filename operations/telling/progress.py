"""The progress of an operation without an outcome, as live messages and one-line answers show it. Pure."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from operations.kind import NO_LINKS, Kind, Links
from operations.model import LiveMessage, State, Tracking, Usual

TROUBLE_AFTER = timedelta(seconds=30)  # if the API has not answered for this long, the message says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a live message shows of an operation in flight, perhaps not begun yet (`waiting`), or cancelled (`over`).

    `age_s` is its running time so far, `trouble` the error if looks fail.
    """

    app: str
    type: str | None
    status: str
    age_s: float
    usual: Usual | None = None
    trouble: str | None = None
    slow: bool = False
    over: bool = False
    context: dict[str, str] = field(default_factory=dict)
    kind: Kind = Kind.OPERATION
    waiting: bool = False
    links: Links = NO_LINKS
    group: str | None = None
    place: str = ""

    @property
    def digest(self) -> str:
        """A digest that changes with everything but the running time."""
        return hashlib.sha256(repr(replace(self, age_s=0.0)).encode()).hexdigest()[:16]


def progress_of(tracking: Tracking, message: LiveMessage | None, now: datetime) -> Progress:
    """Return what a message has to show now; without a message, the progress of the current run."""
    operation, unanswered = tracking.operation, tracking.unanswered_since
    silent = unanswered is not None and (tracking.last_polled_at or now) - unanswered >= TROUBLE_AFTER
    return Progress(
        app=tracking.app,
        type=operation.type if operation is not None else None,
        status=operation.status if operation is not None else "",
        age_s=tracking.age_s(tracking.ended_at or now),
        usual=tracking.usual,
        trouble=tracking.last_error if silent else None,
        slow=tracking.slow is not None,
        over=tracking.state is State.CANCELLED or (message is not None and tracking.run != message.run),
        context=tracking.context,
        kind=tracking.kind,
        waiting=operation is not None and operation.waiting,
        links=tracking.links,
        group=tracking.group,
        place=tracking.place,
    )
