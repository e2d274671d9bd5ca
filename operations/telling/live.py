"""Live messages: one per operation or group, edited from the first look to the outcome. Pure.

For a target with `live`, the record has a message beside the delivery of the outcome. It is posted once, edited when a
look changes its content, and refreshed now and then. It has its own index (`index.LIVE`), not the outbox: rounds work
on it last, and its failure is not a failed delivery.

When the run ends with a verdict, the outcome's delivery makes the last edit. It waits while another worker writes the
message, so that the channel does not get a second one.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from operations.errors import OpwatchError, RateLimitedError, TransientError
from operations.model import Delivery, LiveMessage, MessageRef, State, Tracking
from operations.telling import audience
from operations.telling.audience import Rules
from operations.telling.progress import GroupMessage, Progress, progress_of

LEASE = timedelta(seconds=10)
"""How long a claim is valid. Short, because an outcome may wait for it."""

SPACING = timedelta(seconds=4)
"""The minimum time between two edits of one message."""

REFRESH_EVERY_S = 20.0
REFRESH_SHARE_OF_AGE = 0.05
"""The time between two edits that only update the running time, as a share of the operation's age."""

EDIT_EVERY_S = 2
POST_EVERY_S = 1
"""The time between two posts, or two edits, to one target (edits: times the number of live targets).

It leaves more than half of Slack's limits to outcomes. https://docs.slack.dev/apis/web-api/rate-limits
"""

LONGEST_PAUSE_S = 600.0
MOST_POSTS, MOST_LAST_EDITS = 3, 5  # how often a post is tried (a failed one may have arrived), and the last edit


@dataclass(frozen=True, slots=True)
class Written:
    """A message that was posted or edited: where it is, and the digest of its content."""

    posted: MessageRef
    shows: str


def live_id(tracking: Tracking, target: str, run: int) -> str:
    """Make the id of a live message."""
    return f"{tracking.id}_{run}_live_{target}"


def followed(tracking: Tracking, rules: Rules) -> Tracking:
    """Plan the edits after a look. The first look with an answer starts the messages."""
    at = tracking.last_polled_at
    if tracking.state is not State.TRACKING or tracking.operation is None or at is None:
        return tracking
    if not (names := audience.live(tracking, rules)):
        return tracking
    there = {message.target for message in tracking.live if message.run == tracking.run}
    known = [
        hurried(message, progress_of(tracking, message, at), at) if message.run == tracking.run else message
        for message in tracking.live
    ]
    return replace(tracking, live=(*known, *(begun(tracking, name, at) for name in names if name not in there)))


def begun(record: Tracking, target: str, now: datetime, posted: MessageRef | None = None) -> LiveMessage:
    """Begin the message of this run, due now, or continue the one that was `posted`."""
    identity = live_id(record, target, record.run)
    return LiveMessage(id=identity, target=target, run=record.run, due_at=now, posted=posted)


def hurried(message: LiveMessage, wanted: Progress | GroupMessage, now: datetime) -> LiveMessage:
    """Plan an edit soon if the message has to show something else."""
    if message.due_at is None or message.claim is not None or message.shown_at is None:
        return message
    if wanted.digest == message.shows:
        return message
    return replace(message, due_at=min(message.due_at, max(now, message.shown_at + SPACING)))


def left_to_deliveries(tracking: Tracking) -> Tracking:
    """Leave this run's messages to the outcome's deliveries, which wait while another worker writes a message."""
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


def cancelled(tracking: Tracking, now: datetime) -> Tracking:
    """Plan edits that show the tracking as cancelled; drop messages that were never posted."""
    return replace(tracking, live=tuple(last_edit(m, now) if m.due_at is not None else m for m in tracking.live))


def last_edit(message: LiveMessage, now: datetime) -> LiveMessage:
    """Plan the last edit; none if the message was never posted. Who writes it now will see what it has to show."""
    if message.claim is not None:
        return message
    return replace(message, due_at=now if message.posted is not None else None)


def still_needed(tracking: Tracking) -> tuple[LiveMessage, ...]:
    """List the messages that still have to be edited when the next run starts."""
    told = {(d.target, d.run) for d in tracking.deliveries if d.unfinished}
    return tuple(m for m in tracking.live if m.due_at is not None or (m.target, m.run) in told)


def posted_for(tracking: Tracking, delivery: Delivery) -> MessageRef | None:
    """Find the message that shows this operation, or group, to the delivery's target."""
    if delivery.alert is not None:
        return None
    mine = (m.posted for m in tracking.live if (m.target, m.run) == (delivery.target, delivery.run))
    return next(mine, None)


def claimed(tracking: Tracking, message: LiveMessage, claim: str, now: datetime) -> Tracking | None:
    """Claim a message for one edit; None if it has changed since."""
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
    wanted: Progress | GroupMessage,
) -> Tracking | None:
    """Record the result of an edit (None: it was not tried). Returns None if the claim is no longer ours.

    `wanted` is what the message has to show now. `messages` is the current number of live messages. A permanent error
    ends the message: the outcome's delivery will report the fault.
    """
    mine = next((m for m in tracking.live if m.id == message_id and m.claim == claim), None)
    if mine is None:
        return None
    after = mine
    if isinstance(result, Written):
        after = replace(mine, posted=result.posted, shows=result.shows, shown_at=now, failures=0)
    elif result is not None and not isinstance(result, RateLimitedError):
        after = replace(mine, failures=mine.failures + 1)
    due_in_s = None if mine.due_at is None else _due_in_s(after, wanted, result, messages)
    due_at = None if due_in_s is None else now + timedelta(seconds=due_in_s)
    return _without_wait(_with(tracking, mine, replace(after, claim=None, due_at=due_at)), mine, now)


def _due_in_s(
    message: LiveMessage, wanted: Progress | GroupMessage, result: Written | OpwatchError | None, messages: int
) -> float | None:
    """Return in how many seconds the message is next edited; None for never."""
    if result is None:
        return 0.0
    refresh_s = max(REFRESH_EVERY_S, wanted.age_s * REFRESH_SHARE_OF_AGE, float(messages * EDIT_EVERY_S))
    if isinstance(result, Written):
        if wanted.digest != message.shows:
            return SPACING.total_seconds()
        return None if wanted.over else refresh_s
    if message.posted is None:
        over = wanted.over or message.failures >= MOST_POSTS
    else:
        over = wanted.over and message.failures >= MOST_LAST_EDITS
    if over or not isinstance(result, TransientError):
        return None
    return max(refresh_s, min(result.retry_after_s or 0.0, LONGEST_PAUSE_S))


def _without_wait(tracking: Tracking, message: LiveMessage, now: datetime) -> Tracking:
    """Make the delivery that waited for this message due."""

    def due_now(delivery: Delivery) -> Delivery:
        waits = delivery.unfinished and delivery.claim is None and delivery.attempts == 0
        if not waits or (delivery.target, delivery.run) != (message.target, message.run):
            return delivery
        return replace(delivery, next_attempt_at=min(now, delivery.next_attempt_at or now))

    return replace(tracking, deliveries=tuple(map(due_now, tracking.deliveries)))


def dropped(tracking: Tracking, message: LiveMessage) -> Tracking | None:
    """End a message that can no longer be written; None if it has changed since."""
    return _with(tracking, message, replace(message, due_at=None)) if message in tracking.live else None


def _with(tracking: Tracking, old: LiveMessage, new: LiveMessage) -> Tracking:
    return replace(tracking, live=tuple(new if m is old or m == old else m for m in tracking.live))
