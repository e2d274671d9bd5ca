"""Chooses what a round looks at: what is most worth a look, as far as each account's budget allows."""

import time
from collections.abc import Mapping

from config.settings import Settings
from operations.storage.records import WINDOW, Stored
from operations.watching import pace
from scalingo.sign_in import SignIn
from scalingo.transport import NEVER_S
from workers.runtime import Runtime

LARGEST_WINDOW = 20_000
LOOKS_WITHOUT_REQUEST = 10
LOOK_DEADLINE_S = 10.0


def choose(runtime: Runtime, due: Mapping[str, list[Stored]]) -> tuple[list[tuple[Stored, float]], int]:
    """Choose from the due trackings of each account, and spend a token for each look.

    Returns them with the time at which the token was granted (monotonic clock), and the number of tokens.
    """
    signed_in = {account for account in due if runtime.client.sign_in.is_signed_in(account)}
    asked_at_s = time.monotonic()
    wanted = {account: _admitted(runtime, account, due[account]) if account in signed_in else [] for account in due}
    granted = runtime.budget.spend_each({account: len(stored) for account, stored in wanted.items()})
    chosen: list[tuple[Stored, float]] = []
    for account, (tokens, wait_s) in granted.items():
        if account in signed_in:
            chosen += ((stored, asked_at_s) for stored in _most_worth(runtime, wanted[account], tokens))
        else:
            looks_now = _looks_to_sign_in(runtime.client.sign_in, account, wait_s)
            chosen += ((stored, NEVER_S) for stored in _most_worth(runtime, due[account], looks_now))
    return chosen, sum(tokens for tokens, _ in granted.values())


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


def _admitted(runtime: Runtime, account: str, due: list[Stored]) -> list[Stored]:
    """Leave out what only events tell of, as far as it would take more than half of the budget."""
    by_event = [stored for stored in due if stored.tracking.by_event]
    if not by_event:
        return due
    tokens = runtime.events_budget.spend(account, len(by_event)).tokens
    return [stored for stored in due if not stored.tracking.by_event] + _most_worth(runtime, by_event, tokens)


def _most_worth(runtime: Runtime, due: list[Stored], wanted: int) -> list[Stored]:
    """Choose `wanted` of one account's due trackings; in no order if all are chosen."""
    if wanted >= len(due):
        return due
    if wanted == 0:
        return []
    known = {stored.tracking.id: stored for stored in due}
    trackings = [stored.tracking for stored in due]
    ordered = pace.by_worth(zip(trackings, runtime.learned.durations(trackings), strict=True), runtime.records.now())
    return [known[tracking.id] for tracking in ordered[:wanted]]
