"""One message for each operation, kept up to date from the first look to the outcome. Pure.

A target that wants this has, beside its delivery of the outcome, a message in the record that is posted, edited when a
look changes what it shows, and refreshed now and then. It stands in a set of its own (`index.LIVE`) and not in the
outbox: it is worked on after everything in there, what it meets is no failed delivery, and an older version that drops
it from the record announces the outcome as ever, in a new message.

When the watch ends with a verdict, the message is left to the outcome's delivery, which edits it for the last time.
That delivery waits while somebody is at the message, so that the channel does not get a second one.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from operations.errors import OpwatchError, RateLimitedError, TransientError
from operations.model import Delivery, LiveMessage, MessageRef, State, Tracking, Usual
from operations.telling import audience
from operations.telling.audience import Rules
from operations.watching import pace

LEASE = timedelta(seconds=10)
"""How long a claim holds: an outcome may be waiting for it."""

SPACING = timedelta(seconds=4)
"""Between two edits of one message, however soon what it shows has changed."""

CALM_S = 20.0
CALM_SHARE_OF_AGE = 0.05
"""Between two edits that only count the time on; of what is old already it is counted less exactly."""

EDIT_EVERY_S = 2
POST_EVERY_S = 1
"""Between two edits, or two posts, of one target's messages (of edits: times the live targets): more than half of what
Slack takes is left to outcomes. https://docs.slack.dev/apis/web-api/rate-limits
"""

LONGEST_PAUSE_S = 600.0
MOST_POSTS, MOST_LAST_EDITS = 3, 5
"""How often a message is tried to be posted (each may have arrived all the same), and to say that it is the end."""

TROUBLE_AFTER = timedelta(seconds=30)
"""For how long the API has not answered when a message says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What there is to show of an operation that has not ended yet, or is `stopped` being watched.

    `age_s` is for how long it has been under way, `trouble` why nothing new is known of it.
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
        """Stand for all of it but the time that passes."""
        return hashlib.sha256(repr(replace(self, age_s=0.0)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Written:
    """That a message was posted or edited: where it stands, and the digests of what it shows, also `together`."""

    posted: MessageRef
    shows: str
    together: str | None = None


def progress(tracking: Tracking, message: LiveMessage | None, now: datetime) -> Progress:
    """Say what a message is to show now; without one, what there is to show of the current run."""
    operation, unanswered = tracking.operation, tracking.unanswered_since
    silent = unanswered is not None and (tracking.last_polled_at or now) - unanswered >= TROUBLE_AFTER
    return Progress(
        app=tracking.app,
        type=operation.type if operation is not None else None,
        status=operation.status if operation is not None else "",
        age_s=pace.age_s(tracking, tracking.ended_at or now),
        usual=tracking.usual,
        trouble=tracking.last_error if silent else None,
        slow=tracking.slow is not None,
        stopped=tracking.state is State.CANCELLED or (message is not None and tracking.run != message.run),
        context=tracking.context,
    )


def followed(tracking: Tracking, rules: Rules) -> Tracking:
    """Have the messages show what the look just made has changed; the first that shows the operation begins them."""
    at = tracking.last_polled_at
    if tracking.state is not State.TRACKING or tracking.operation is None or at is None:
        return tracking
    if not (names := audience.live(tracking, rules)):
        return tracking
    known = tuple(_hurried(tracking, message, at) for message in tracking.live)
    there = {message.target for message in known if message.run == tracking.run}
    begun = tuple(LiveMessage(target=name, run=tracking.run, due_at=at) for name in names if name not in there)
    return replace(tracking, live=known + begun)


def _hurried(tracking: Tracking, message: LiveMessage, at: datetime) -> LiveMessage:
    if message.due_at is None or message.claim is not None or message.shown_at is None or message.run != tracking.run:
        return message
    if progress(tracking, message, at).digest == message.shows:
        return message
    return replace(message, due_at=min(message.due_at, max(at, message.shown_at + SPACING)))


def news(before: Tracking, after: Tracking) -> bool:
    """Tell whether a look has made a message due at once."""
    at, known = after.last_polled_at, {(m.target, m.run): m.due_at for m in before.live}
    changed = (m for m in after.live if m.due_at is not None and known.get((m.target, m.run)) != m.due_at)
    return at is not None and any(m.due_at is not None and m.due_at <= at for m in changed)


def handed_over(tracking: Tracking) -> Tracking:
    """Leave the messages of this run to the deliveries of its outcome; these wait where somebody is at a message."""
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
    """Have the messages say that nobody watches any more; what was never posted is dropped."""

    def last(message: LiveMessage) -> LiveMessage:
        if message.due_at is None or message.claim is not None:
            return message
        return replace(message, due_at=now if message.posted is not None else None)

    return replace(tracking, live=tuple(map(last, tracking.live)))


def still_needed(tracking: Tracking) -> tuple[LiveMessage, ...]:
    """List the messages that somebody has yet to edit, as the operation is tracked anew."""
    told = {(d.target, d.run) for d in tracking.deliveries if d.unfinished}
    return tuple(m for m in tracking.live if m.due_at is not None or (m.target, m.run) in told)


def posted_for(tracking: Tracking, delivery: Delivery) -> MessageRef | None:
    """Find the message that shows the operation to this delivery's target, if one is known."""
    if delivery.alert is not None:
        return None
    mine = (m for m in tracking.live if (m.target, m.run) == (delivery.target, delivery.run))
    message = next(mine, None)
    if message is None or (message.together is not None and not delivery.warns):  # it is not only this operation's
        return None
    return message.posted


def claimed(tracking: Tracking, message: LiveMessage, claim: str, now: datetime) -> Tracking | None:
    """Take a message for one attempt; None when it has changed meanwhile."""
    if message not in tracking.live:
        return None
    return _with(tracking, message, replace(message, claim=claim, due_at=now + LEASE))


def attempted(
    tracking: Tracking,
    live_id: str,
    claim: str,
    result: Written | OpwatchError | None,
    *,
    now: datetime,
    messages: int,
) -> Tracking | None:
    """Take in how an attempt ended, None when it was not made; gives None when the claim is no longer ours.

    `messages` is how many are kept up to date at the moment. What cannot succeed ends a message: it is left to the
    outcome's delivery to report it.
    """
    mine = next((m for m in tracking.live if tracking.live_id(m) == live_id and m.claim == claim), None)
    if mine is None:
        return None
    wanted = progress(tracking, mine, now)
    after = mine
    if isinstance(result, Written):
        after = replace(
            mine, posted=result.posted, shows=result.shows, together=result.together, shown_at=now, failures=0
        )
    elif result is not None and not isinstance(result, RateLimitedError):
        after = replace(mine, failures=mine.failures + 1)
    due_in_s = None if mine.due_at is None else _due_in_s(after, wanted, result, messages)
    due_at = None if due_in_s is None else now + timedelta(seconds=due_in_s)
    return _freed(_with(tracking, mine, replace(after, claim=None, due_at=due_at)), mine, now)


def _due_in_s(
    message: LiveMessage, wanted: Progress, result: Written | OpwatchError | None, messages: int
) -> float | None:
    """Say in how many seconds a message is written next; None for never."""
    if result is None:
        return 0.0
    calm_s = max(CALM_S, wanted.age_s * CALM_SHARE_OF_AGE, float(messages * EDIT_EVERY_S))
    if isinstance(result, Written):
        if wanted.digest != message.shows:
            return SPACING.total_seconds()
        return None if wanted.stopped else calm_s
    if message.posted is None:
        over = wanted.stopped or message.failures >= MOST_POSTS
    else:
        over = wanted.stopped and message.failures >= MOST_LAST_EDITS
    if over or not isinstance(result, TransientError):
        return None
    return max(calm_s, min(result.retry_after_s or 0.0, LONGEST_PAUSE_S))


def _freed(tracking: Tracking, message: LiveMessage, now: datetime) -> Tracking:
    """Let the delivery go that has waited for somebody to be done with this message."""

    def hurried(delivery: Delivery) -> Delivery:
        waits = delivery.unfinished and delivery.claim is None and delivery.attempts == 0
        if not waits or (delivery.target, delivery.run) != (message.target, message.run):
            return delivery
        return replace(delivery, next_attempt_at=min(now, delivery.next_attempt_at or now))

    return replace(tracking, deliveries=tuple(map(hurried, tracking.deliveries)))


def given_up(tracking: Tracking, message: LiveMessage) -> Tracking | None:
    """End a message that nobody can write any more; None when it has changed meanwhile."""
    return _with(tracking, message, replace(message, due_at=None)) if message in tracking.live else None


def _with(tracking: Tracking, old: LiveMessage, new: LiveMessage) -> Tracking:
    return replace(tracking, live=tuple(new if m is old or m == old else m for m in tracking.live))
