"""An invented outcome, for test messages."""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from operations.model import Operation, State, Tracking, Usual, Verdict
from operations.telling import announcement, audience
from operations.telling.announcement import Announcement
from operations.telling.progress import Progress

APP = "opwatch-test"
SLOW = "slow"
KINDS = (*(str(verdict) for verdict in Verdict), SLOW)
"""The kinds of test messages."""

NOTE = "sent with python -m admin; no operation was run"
_FROM_PAGE = "sent from the page; no operation was run"
_TOOK = timedelta(seconds=42)


def outcome(kind: str, target: str, region: str, now: datetime) -> Announcement:
    """Make an announcement of one of `KINDS`, for the app `opwatch-test`, with a new id each time."""
    tracking = _tracking(kind, region, now, "admin", NOTE)
    slow = kind == SLOW
    body = announcement.slow_body_of(tracking, _TOOK.total_seconds(), now) if slow else announcement.body_of(tracking)
    return announcement.read(f"{tracking.id}_1_{kind}_{target}", body)


def to_deliver(target: str, region: str, now: datetime, by: str) -> Tracking:
    """Make a tracking that has succeeded, with one delivery, due now; its story shows what becomes of that."""
    made = _tracking(Verdict.SUCCEEDED, region, now, by, _FROM_PAGE)
    return replace(made, deliveries=(audience.plan(made, Verdict.SUCCEEDED, target, {}, now),))


def running(ending: Announcement) -> Progress:
    """Make the progress of the same operation, for targets with live messages."""
    return Progress(
        app=ending.app, type=ending.type, status="under way", age_s=12.0, usual=ending.usual, context=ending.context
    )


def _tracking(kind: str, region: str, now: datetime, by: str, note: str) -> Tracking:
    operation_id = secrets.token_hex(12)
    slow, failed = kind == SLOW, kind == Verdict.FAILED
    return Tracking(
        id=f"{region}-{operation_id}",
        app=APP,
        operation_id=operation_id,
        region=region,
        account="default",
        created_at=now - _TOOK,
        created_by=by,
        timeout_s=3600,
        context={"test": note},
        state=State.TRACKING if slow else State(kind),
        operation=Operation(
            status="test",
            outcome=None if slow or kind not in (Verdict.SUCCEEDED, Verdict.FAILED) else Verdict(kind),
            type="test",
            created_at=now - _TOOK,
            error=f"This is a test: {note}." if failed else None,
        ),
        polls=3,
        last_polled_at=now,
        ended_at=None if slow else now,
        duration_s=None if slow else _TOOK.total_seconds(),
        usual=Usual(p50=15.0, p90=20.0, samples=20),
        reason=f"This is a test: {note}." if kind in (Verdict.TIMED_OUT, Verdict.LOST) else None,
    )
