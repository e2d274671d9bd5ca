"""One message for each operation, kept up to date from the first look to the outcome. Pure.

A target that wants this has, beside its delivery of the outcome, a message in the record. It is posted once, edited
when a look changes what it shows, and refreshed now and then. It has an index of its own (`index.LIVE`) and is not in
the outbox: rounds work on it last, and a failure here is no failed delivery. A version that does not know live messages
drops it from the record, and posts the outcome as a new message.

When the watch ends with a verdict, the outcome's delivery edits the message for the last time. It waits while somebody
else writes the message, so that the channel does not get a second one.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from operations.errors import OpwatchError, RateLimitedError, TransientError
from operations.model import Delivery, LiveMessage, MessageRef, State, Tracking, Usual
from operations.telling import audience
from operations.telling.audience import Rules

LEASE = timedelta(seconds=10)
"""How long a claim holds: an outcome may be waiting for it."""

SPACING = timedelta(seconds=4)
"""The least time between two edits of one message."""

REFRESH_EVERY_S = 20.0
REFRESH_SHARE_OF_AGE = 0.05
"""The time between two edits that only update the running time; it grows with the operation's age."""

EDIT_EVERY_S = 2
POST_EVERY_S = 1
"""Between two edits, or two posts, of one target's messages (edits: times the number of live targets). This leaves more
than half of Slack's limits to outcomes. https://docs.slack.dev/apis/web-api/rate-limits
"""

LONGEST_PAUSE_S = 600.0
MOST_POSTS, MOST_LAST_EDITS = 3, 5
"""How often a post is tried (each may have arrived all the same), and how often the last edit."""

TROUBLE_AFTER = timedelta(seconds=30)
"""When the API has not answered for so long, the message says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What to show of an operation that has not ended yet, or was cancelled (`stopped`).

    `age_s` is its running time so far, `trouble` why nothing new is known of it.
    """

    app: str
    type: str | None
    status: str
    age_s: float
    usual: Usual | None = None
    trouble: str | None = None
    slow: bool = False
    stopped: bool = False
    context: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Stand for all of it except the running time."""
        return hashlib.sha256(repr(replace(self, age_s=0.0)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Written:
    """A message that was posted or edited: where it is, and digests of what it shows of this member and its group."""

    posted: MessageRef
    shows: str
    group_digest: str | None = None


def live_id(tracking: Tracking, target: str, run: int) -> str:
    """Name a live message."""
    return f"{tracking.id}_{run}_live_{target}"


def progress(tracking: Tracking, message: LiveMessage | None, now: datetime) -> Progress:
    """Say what a message is to show now; without a message, what there is to show of the current run."""
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
        stopped=tracking.state is State.CANCELLED or (message is not None and tracking.run != message.run),
        context=tracking.context,
    )


def followed(tracking: Tracking, rules: Rules) -> Tracking:
    """Have the messages show what the look just made has changed; the first answered look begins them."""
    at = tracking.last_polled_at
    if tracking.state is not State.TRACKING or tracking.operation is None or at is None:
        return tracking
    if not (names := audience.live(tracking, rules)):
        return tracking
    known = tuple(_hurried(tracking, message, at) for message in tracking.live)
    there = {message.target for message in known if message.run == tracking.run}
    begun = tuple(
        LiveMessage(id=live_id(tracking, name, tracking.run), target=name, run=tracking.run, due_at=at)
        for name in names
        if name not in there
    )
    return replace(tracking, live=known + begun)


def _hurried(tracking: Tracking, message: LiveMessage, at: datetime) -> LiveMessage:
    if message.due_at is None or message.claim is not None or message.shown_at is None or message.run != tracking.run:
        return message
    if progress(tracking, message, at).digest == message.shows:
        return message
    return replace(message, due_at=min(message.due_at, max(at, message.shown_at + SPACING)))


def left_to_deliveries(tracking: Tracking) -> Tracking:
    """Leave this run's messages to the deliveries of its outcome; these wait while somebody writes a message."""
    if not tracking.live:
        return tracking
    mine = [m for m in tracking.live if m.run == tracking.run]
    held = {m.target: m.due_at for m in mine if m.claim is not None and m.due_at is not None}

    def waiting(delivery: Delivery) -> Delivery:
        until = held.get(delivery.target) if delivery.run == tracking.run and delivery.unfinished else None
        if until is None or delivery.next_attempt_at is None:
            return delivery
        return replace(delivery, next_attempt_at=max(delivery.next_attempt_at, until))

    return replace(
        tracking,
        deliveries=tuple(map(waiting, tracking.deliveries)),
        live=tuple(replace(m, due_at=None) if m in mine else m for m in tracking.live),
    )


def stopped(tracking: Tracking, now: datetime) -> Tracking:
    """Have the messages say that the tracking was cancelled; what was never posted is dropped."""

    def last(message: LiveMessage) -> LiveMessage:
        if message.due_at is None or message.claim is not None:
            return message
        return replace(message, due_at=now if message.posted is not None else None)

    return replace(tracking, live=tuple(map(last, tracking.live)))


def still_needed(tracking: Tracking) -> tuple[LiveMessage, ...]:
    """List the messages that still have to be edited when the operation is tracked anew."""
    told = {(d.target, d.run) for d in tracking.deliveries if d.unfinished}
    return tuple(m for m in tracking.live if m.due_at is not None or (m.target, m.run) in told)


def posted_for(tracking: Tracking, delivery: Delivery) -> MessageRef | None:
    """Find the message that shows this operation, and no other, to the delivery's target."""
    if not tracking.live or delivery.alert is not None:
        return None
    mine = (m for m in tracking.live if (m.target, m.run) == (delivery.target, delivery.run))
    message = next(mine, None)
    if message is None or (message.group_digest is not None and not delivery.warns):
        return None
    return message.posted


def claimed(tracking: Tracking, message: LiveMessage, claim: str, now: datetime) -> Tracking | None:
    """Take a message for one edit; None when it has changed meanwhile."""
    if message not in tracking.live:
        return None
    return _with(tracking, message, replace(message, claim=claim, due_at=now + LEASE))


def after_edit(
    tracking: Tracking,
    message_id: str,
    claim: str,
    result: Written | OpwatchError | None,
    *,
    now: datetime,
    messages: int,
) -> Tracking | None:
    """Take in how an edit ended (None: it was not tried); gives None when the claim is no longer ours.

    `messages` is how many live messages there are at the moment. A permanent error ends a message: the outcome's
    delivery will report it.
    """
    mine = next((m for m in tracking.live if m.id == message_id and m.claim == claim), None)
    if mine is None:
        return None
    wanted = progress(tracking, mine, now)
    after = mine
    if isinstance(result, Written):
        after = replace(
            mine, posted=result.posted, shows=result.shows, group_digest=result.group_digest, shown_at=now, failures=0
        )
    elif result is not None and not isinstance(result, RateLimitedError):
        after = replace(mine, failures=mine.failures + 1)
    due_in_s = None if mine.due_at is None else _due_in_s(after, wanted, result, messages)
    due_at = None if due_in_s is None else now + timedelta(seconds=due_in_s)
    return _without_wait(_with(tracking, mine, replace(after, claim=None, due_at=due_at)), mine, now)


def _due_in_s(
    message: LiveMessage, wanted: Progress, result: Written | OpwatchError | None, messages: int
) -> float | None:
    """Say in how many seconds a message is edited next; None for never."""
    if result is None:
        return 0.0
    refresh_s = max(REFRESH_EVERY_S, wanted.age_s * REFRESH_SHARE_OF_AGE, float(messages * EDIT_EVERY_S))
    if isinstance(result, Written):
        if wanted.digest != message.shows:
            return SPACING.total_seconds()
        return None if wanted.stopped else refresh_s
    if message.posted is None:
        over = wanted.stopped or message.failures >= MOST_POSTS
    else:
        over = wanted.stopped and message.failures >= MOST_LAST_EDITS
    if over or not isinstance(result, TransientError):
        return None
    return max(refresh_s, min(result.retry_after_s or 0.0, LONGEST_PAUSE_S))


def _without_wait(tracking: Tracking, message: LiveMessage, now: datetime) -> Tracking:
    """Make the delivery due that waited for this message to be written."""

    def hurried(delivery: Delivery) -> Delivery:
        waits = delivery.unfinished and delivery.claim is None and delivery.attempts == 0
        if not waits or (delivery.target, delivery.run) != (message.target, message.run):
            return delivery
        return replace(delivery, next_attempt_at=min(now, delivery.next_attempt_at or now))

    return replace(tracking, deliveries=tuple(map(hurried, tracking.deliveries)))


def dropped(tracking: Tracking, message: LiveMessage) -> Tracking | None:
    """End a message that nobody can write any more; None when it has changed meanwhile."""
    return _with(tracking, message, replace(message, due_at=None)) if message in tracking.live else None


def _with(tracking: Tracking, old: LiveMessage, new: LiveMessage) -> Tracking:
    return replace(tracking, live=tuple(new if m is old or m == old else m for m in tracking.live))
