"""Decides when to look, at which operation first, and when to glance at all of them. Pure.

Scalingo allows 60 requests a minute, so requests are scarce. One quantity decides: for how long operations have
probably been finished, unseen by us. A request is worth the sum of these times over all that it would show: a look
shows one operation, a glance (see glances.py) all of an account. The price of a request, in the same unit, depends on
the bucket of tokens: almost nothing while it is full, since the next token would be wasted, and about twice as much
for each token that is missing. With a hazard h and a price c, looks come about every `sqrt(2 * c / h)` seconds: the
optimal spacing in J. B. Keller, "Optimum checking schedules for systems subject to random failure", Management
Science 21 (1974). docs/performance.md measures it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from operations.kind import Kind
from operations.model import Tracking
from operations.watching.durations import Durations
from operations.watching.glances import NO_HINT, Hint, View, Word, view_of

WORTH_A_LOOK_S = 0.09
"""The price of a request while the bucket is full, in seconds of probable delay."""

DEARER = 2.2
"""By how much each missing token multiplies the price."""

WORTH_A_LOOK_AT_LONG_S = 0.33
"""The least price for deployments, databases and backups, which take minutes.

A deployment of 5 min costs about 11 looks, or 21 if nothing is known of such durations.
"""

SHORTEST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
LONGEST_WAIT_AT_LONG_S = 75.0
SHORTEST_WAIT_UNANSWERED_S = 2.0
LONGEST_WAIT_UNANSWERED_S = 30.0
SHARE_OF_TIME_UNANSWERED = 0.5

HEAD_START_S = 60.0
"""What has been revealed counts as unseen for so much longer: it is looked at first, unless it is one of very many."""

LONGEST_PUT_OFF_S = 15.0
"""For how much unseen time a glance at a busy app puts off a look: the status of an app may stick."""

SMALLEST_FOR_A_GLANCE = 3
"""With a smaller bucket, below 30 requests a minute, a glance takes the token of a look that would show more."""

SET_BACK = timedelta(seconds=5)
"""A time so far ahead was stored before Redis's clock was set back: it says nothing, so a look needs no price."""

FIRST_LOOK_TOKENS = 4
"""A first look rarely shows an end. With fewer tokens, it waits until it is worth one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tracking that is due, how long such operations take, and what glances say of it."""

    tracking: Tracking
    durations: Durations
    hint: Hint = NO_HINT


@dataclass(frozen=True, slots=True)
class Plan:
    """What an account's tokens are spent on: the looks in order, and the glances."""

    looks: list[Tracking]
    glances: list[View]


@dataclass(frozen=True, slots=True)
class _Rated:
    """The worth of a look, and what a glance would show of it, in fair seconds.

    `needed`: it is looked at, whatever the price; `put_off`: a glance has seen it unfinished.
    """

    tracking: Tracking
    look_s: float
    glance_s: float
    revealed: bool
    needed: bool
    put_off: bool


def next_look_at(tracking: Tracking, durations: Durations, now: datetime) -> datetime:
    """Return from when on a look may be worth it, at the latest at the deadline if that is ahead.

    A look without an answer is repeated soon, and then less and less often.
    """
    if tracking.unanswered_since is not None:
        lasted_s = (now - tracking.unanswered_since).total_seconds()
        wait_s = _between(SHORTEST_WAIT_UNANSWERED_S, SHARE_OF_TIME_UNANSWERED * lasted_s, LONGEST_WAIT_UNANSWERED_S)
    else:
        so_far_s = tracking.age_s(now)
        price_s, longest_s = _least_price_and_longest_wait_s(tracking)
        wait_s = _between(SHORTEST_WAIT_S, durations.age_s(so_far_s, price_s) - so_far_s, longest_s)
    due = now + timedelta(seconds=wait_s)
    deadline = tracking.created_at + timedelta(seconds=tracking.timeout_s)
    return min(due, deadline) if now < deadline else due


def unseen_s(tracking: Tracking, durations: Durations, now: datetime) -> float:
    """Return for how many seconds an operation has probably been finished, unseen by looks."""
    seen = tracking.unanswered_since or tracking.last_polled_at
    return durations.unseen_s(0.0 if seen is None else tracking.age_s(seen), tracking.age_s(now))


def worth_s(tracking: Tracking, durations: Durations, now: datetime) -> float:
    """Return what a look is worth without hints: the probable unseen time. After the longest wait, one is always due.

    From then on the worth grows as if an end were equally probable at any time: a long operation may fail early.
    """
    seen = tracking.unanswered_since or tracking.last_polled_at or tracking.created_at
    price_s, longest_s = _least_price_and_longest_wait_s(tracking)
    waits = (now - seen).total_seconds() / longest_s
    return max(unseen_s(tracking, durations, now), price_s * waits * waits if waits > 0 else 0.0)


def price_s(tokens: int, capacity: int) -> float:
    """Return the price of a request while so many tokens of a bucket are left."""
    return WORTH_A_LOOK_S * DEARER ** (capacity - tokens)


def plan(
    candidates: Iterable[Candidate], tokens: int, now: datetime, *, capacity: int, glances: Mapping[View, float]
) -> Plan:
    """Plan what to spend an account's tokens on.

    `glances` has those that are possible, and how many times the price of a look each costs.
    """
    rated = _rated(candidates, now) if tokens > 0 else []
    by_view = defaultdict[View, list[_Rated]](list)
    for each in rated:
        by_view[view_of(each.tracking)].append(each)
    looks, chosen, price = list[_Rated](), list[View](), price_s(tokens, capacity)
    for view, mine in by_view.items():
        cost = glances.get(view) if capacity >= SMALLEST_FOR_A_GLANCE else None
        is_shown = cost is not None and _is_worth_a_glance(mine, cost * price)
        if is_shown and len(chosen) < tokens:
            chosen.append(view)
        for each in mine:
            left_s = each.look_s - each.glance_s if is_shown else each.look_s
            least_s = max(price, _least_price_and_longest_wait_s(each.tracking)[0])
            first = each.tracking.last_polled_at is None and tokens >= min(FIRST_LOOK_TOKENS, capacity)
            free = tokens >= capacity and not (
                is_shown or each.put_off
            )  # it is due, and the next token would be wasted
            if each.needed or first or free or left_s >= least_s:
                looks.append(each)
    looks.sort(key=_order)
    return Plan([each.tracking for each in looks[: tokens - len(chosen)]], chosen)


def _is_worth_a_glance(rated: Sequence[_Rated], price: float) -> bool:
    """Tell whether a glance is worth its price, and more than the best look.

    While something that was revealed still waits for its look, another glance would only take its token.
    """
    shown_s = sum(each.glance_s for each in rated)
    return shown_s >= price and not any(each.revealed for each in rated) and shown_s > max(e.look_s for e in rated)


def _rated(candidates: Iterable[Candidate], now: datetime) -> list[_Rated]:
    """Rate each candidate, in fair seconds.

    Looks are shared fairly between callers and apps: a mass restart does not delay someone else's deploy. So the worth
    counts less, the more operations its app, and the more apps its caller has in flight; in full where these are most.
    """
    due = list(candidates)
    of_app = Counter(_app(each.tracking) for each in due)
    apps = Counter(caller for caller, *_ in of_app)
    shares = [of_app[_app(each.tracking)] * apps[each.tracking.created_by] for each in due]
    most = max(shares, default=1)
    return [_rate(each, now, most / share) for each, share in zip(due, shares, strict=True)]


def _rate(candidate: Candidate, now: datetime, weight: float) -> _Rated:
    tracking, durations, hint = candidate.tracking, candidate.durations, candidate.hint
    deadline = tracking.created_at + timedelta(seconds=tracking.timeout_s)
    is_set_back = now < max(tracking.created_at, tracking.last_polled_at or tracking.created_at) - SET_BACK
    needed = tracking.hurried or tracking.unanswered_since is not None or now >= deadline or is_set_back
    look_s = worth_s(tracking, durations, now)
    shown_s = 0.0 if needed else hint.shows * look_s  # what is needed is looked at anyway
    if hint.at is not None and hint.word is Word.BUSY and not needed:
        since_s = durations.unseen_s(tracking.age_s(hint.at), tracking.age_s(now))
        put_off_s = hint.trust * min(look_s, since_s) + (1 - hint.trust) * look_s
        look_s = max(put_off_s, look_s - LONGEST_PUT_OFF_S)
        shown_s = hint.shows * since_s
    elif hint.at is not None and hint.reveals:
        look_s = hint.trust * (max(0.0, (now - hint.at).total_seconds()) + HEAD_START_S) + (1 - hint.trust) * look_s
        shown_s = 0.0
    return _Rated(tracking, look_s * weight, shown_s * weight, hint.reveals, needed, hint.word is Word.BUSY)


def _order(rated: _Rated) -> tuple[bool, float, datetime, str]:
    """Sort by worth. What only events tell of comes last."""
    tracking = rated.tracking
    return tracking.by_event, -rated.look_s, tracking.last_polled_at or tracking.created_at, tracking.id


def _least_price_and_longest_wait_s(tracking: Tracking) -> tuple[float, float]:
    if tracking.kind is Kind.OPERATION:
        return WORTH_A_LOOK_S, LONGEST_WAIT_S
    return WORTH_A_LOOK_AT_LONG_S, LONGEST_WAIT_AT_LONG_S


def _app(tracking: Tracking) -> tuple[str, str, str]:
    return tracking.created_by, tracking.region, tracking.app


def _between(least: float, value: float, most: float) -> float:
    return min(most, max(least, value))
