"""Chooses what a round asks the API: what is most worth a request, as far as each account's budget allows."""

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from config.settings import Settings
from operations.kind import Kind
from operations.model import Tracking
from operations.storage.budget import Balance
from operations.storage.glances import Known, Place, place_of
from operations.storage.records import WINDOW, Stored
from operations.watching import pace
from operations.watching.glances import NO_HINT, Hint, View
from operations.watching.pace import Candidate
from scalingo.sign_in import SignIn
from scalingo.transport import NEVER_S
from workers.glance import LOCK_S, Glance, lock_of
from workers.runtime import LOOK_DEADLINE_S, Runtime

LARGEST_WINDOW = 60_000
ACCOUNTS_AT_ONCE = 50
LOOKS_WITHOUT_REQUEST = 10
FEWEST_FOR_A_GLANCE, LEAST_SHARE_FOR_A_GLANCE = 2, 0.5

Due = Mapping[str, list[Stored]]
"""The due trackings by account."""


@dataclass(frozen=True, slots=True)
class Look:
    """A look to make, what glances said before it, and when its token was granted (monotonic clock)."""

    stored: Stored
    hint: Hint
    granted_at_s: float


@dataclass(slots=True)
class Choice:
    """What a round does for some accounts. `is_short`: with more tokens, it would do more."""

    looks: list[Look] = field(default_factory=list)
    glances: list[Glance] = field(default_factory=list)
    tokens: int = 0
    is_short: bool = False


def some_accounts_at_a_time(due: Due) -> Iterator[Due]:
    """Divide what is due by accounts: with very many in flight, the first looks need not wait for the last plan.

    The order is random, so that workers seldom plan for the same accounts at the same time.
    """
    accounts = random.sample(list(due), len(due))
    for start in range(0, len(accounts), ACCOUNTS_AT_ONCE):
        yield {account: due[account] for account in accounts[start : start + ACCOUNTS_AT_ONCE]}


def choose(runtime: Runtime, due: Due) -> Choice:
    """Choose from the due trackings of each account, and spend a token for each request."""
    sign_in, choice = runtime.client.sign_in, Choice()
    signed_in = {account: stored for account, stored in due.items() if sign_in.is_signed_in(account)}
    asked_at_s, balances = time.monotonic(), runtime.budget.balances(due)
    tokens = {account: int(balances[account].tokens) for account in signed_in}
    planned = _plans(runtime, {account: stored for account, stored in signed_in.items() if tokens[account]}, balances)
    wanted = {account: len(each.looks) + len(each.glances) for account, each in planned.items()}
    granted = runtime.budget.spend_each(dict.fromkeys(due, 0) | wanted)
    for account, (count, wait_s) in granted.items():
        choice.tokens += count
        if account not in signed_in:
            looks_now = _looks_to_sign_in(sign_in, account, wait_s)
            choice.looks += (Look(stored, NO_HINT, NEVER_S) for stored in due[account][:looks_now])
        elif account in planned:
            mine = planned[account]
            for glance in mine.glances[count:]:
                runtime.locks.release(lock_of(glance.place), glance.lock)
            choice.glances += (replace(glance, granted_at_s=asked_at_s) for glance in mine.glances[:count])
            looks = mine.looks[: max(0, count - len(mine.glances))]
            choice.looks += (replace(look, granted_at_s=asked_at_s) for look in looks)
        choice.is_short |= account in signed_in and wanted.get(account, 0) >= tokens[account]
    return choice


def window(settings: Settings) -> int:
    """Say how many due trackings to choose from: all, so that one caller's cannot hide another's."""
    return min(LARGEST_WINDOW, max(WINDOW, 2 * settings.max_in_flight * len(settings.accounts)))


def _looks_to_sign_in(sign_in: SignIn, account: str, token_in_s: float) -> int:
    """Say how many looks to make now for an account that is not signed in.

    Without a bearer, tokens would expire unused: one look signs in for all, and spends tokens as needed. After a failed
    sign-in, looks make no request: they fail at once, with the error.
    """
    if sign_in.is_refused_for_now(account):
        return LOOKS_WITHOUT_REQUEST
    return 0 if sign_in.is_signing_in(account) or token_in_s > LOOK_DEADLINE_S / 2 else 1


def _plans(runtime: Runtime, due: Due, balances: Mapping[str, Balance]) -> dict[str, Choice]:
    """Plan the requests of each account by what they are worth. After a 429 there are no glances for a while."""
    now = runtime.records.now()
    may = {account for account, stored in due.items() if len(stored) >= FEWEST_FOR_A_GLANCE}
    many = {account: due[account] for account in may if balances[account].share >= LEAST_SHARE_FOR_A_GLANCE}
    places = (place_of(each.tracking) for stored in many.values() for each in stored)
    known = runtime.glances.read(places, now)
    return {account: _plan(runtime, account, stored, balances[account], known) for account, stored in due.items()}


def _plan(runtime: Runtime, account: str, due: list[Stored], balance: Balance, known: Mapping[Place, Known]) -> Choice:
    now, trackings, regions = runtime.records.now(), [stored.tracking for stored in due], runtime.settings.regions
    hints = _hints(trackings, known)
    durations = runtime.learned.durations(trackings)
    candidates = map(Candidate, trackings, durations, hints.values())
    mine = {View(*place[1:]): each for place, each in known.items() if place.account == account}
    may = {view: each.glanced.cost for view, each in mine.items() if view.region in regions and each.may_glance(now)}
    plan = pace.plan(candidates, int(balance.tokens), now, capacity=runtime.budget.allowance.capacity, glances=may)
    stored_of = {stored.tracking.id: stored for stored in due}
    looks = [Look(stored_of[each.id], hints[each.id], NEVER_S) for each in _admitted(runtime, account, plan.looks)]
    places = [Place(account, *view) for view in plan.glances]
    locks = {place: runtime.locks.acquire(lock_of(place), runtime.name, LOCK_S) for place in places}
    free = [Glance(place, known[place].glanced, lock) for place, lock in locks.items() if lock is not None]
    return Choice(looks, free)


def _hints(trackings: list[Tracking], known: Mapping[Place, Known]) -> dict[str, Hint]:
    """Say what glances mean for each tracking; only the newest one of an app can still be running."""
    newest = {}
    for each in sorted(trackings, key=lambda each: each.created_at):
        newest[each.region, each.app] = each.id
    found = {}
    for each in trackings:
        is_newest = each.kind is Kind.DEPLOYMENT or newest[each.region, each.app] == each.id
        place = known.get(place_of(each))
        found[each.id] = NO_HINT if place is None else place.hint(each, is_newest=is_newest)
    return found


def _admitted(runtime: Runtime, account: str, looks: list[Tracking]) -> list[Tracking]:
    """Leave out what only events tell of, as far as it would take more than half of the budget."""
    by_event = sum(tracking.by_event for tracking in looks)  # these are the last
    if not by_event:
        return looks
    refused = by_event - runtime.events_budget.spend(account, by_event).tokens
    return looks[: len(looks) - refused]
