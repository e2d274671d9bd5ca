"""One sample of every Slack message, for tests and for a page."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from notifiers.slack import message as slack_message
from notifiers.slack.notifier import Slack
from operations.model import Operation, State, Tracking, Usual, Verdict
from operations.telling import progress
from operations.telling.announcement import Announcement
from operations.telling.progress import GroupMessage, Progress

NOW = datetime(2026, 3, 2, 8, 18, tzinfo=UTC)

USUAL = Usual(p50=15.2, p90=20.4, samples=23)
CONTEXT = {
    "environment": "production",
    "actor": "jane",
    "commit": "4f2c1aa",
    "url": "https://ci.example/runs/7",
    "team": "web",
}
LONG_ERROR = "\n".join(
    [
        "container web-1 failed to start: listen tcp :5000: bind: address already in use",
        "🎉 <!channel> & *bold* `code` \x1b[31mred\x1b[0m https://a.example",
        *(f"  at step {number}: waited for web-{number} to answer on /health, got nothing" for number in range(80)),
        "Error: boot timeout (60 s)",
    ]
)
FAILED = Announcement(
    delivery_id="id",
    body=b"",
    verdict=Verdict.FAILED,
    app="shop",
    region="osc-fr1",
    operation_id="5ed11f2c884fef000f5e502e",
    type="restart",
    error=LONG_ERROR,
    reason=None,
    duration_s=58.3,
    context=CONTEXT,
    usual=USUAL,
)
SUCCEEDED = replace(FAILED, verdict=Verdict.SUCCEEDED, error=None, duration_s=17.2)
TIMED_OUT = replace(
    FAILED,
    verdict=Verdict.TIMED_OUT,
    error=None,
    duration_s=3604,
    reason="still running after 3600 s; it may still succeed",
)
LOST = replace(
    FAILED, verdict=Verdict.LOST, error=None, duration_s=64, reason="the API has no such operation (3 times)"
)
SLOW = replace(FAILED, verdict=Verdict.LOST, error=None, duration_s=65, ended=False)
ALERT = replace(
    FAILED,
    alert="deliveries to `ci-hook` are failing: 410 Gone. Fix it, then: python -m admin retry-dead ci-hook",
    error="it broke",
)
RUNNING = Progress(app="shop", type="restart", status="running", age_s=42.4, usual=USUAL, context=CONTEXT)
CALLING = Slack.model_validate({"webhook_url": "https://hooks.slack.example/services/x", "mention": "<!here>"})
"""A target that mentions everybody who is there."""


def a_member(number: int, app: str, state: State, **changes: Any) -> Tracking:
    """Return an operation of a deploy, begun so many seconds after the first."""
    began, over = NOW + timedelta(seconds=number), state is not State.TRACKING
    status = {State.SUCCEEDED: "done", State.FAILED: "error"}.get(state, "running")
    member = Tracking(
        id=f"osc-fr1-{number:024x}",
        app=app,
        operation_id=f"{number:024x}",
        region="osc-fr1",
        account="default",
        created_at=began,
        created_by="ci",
        timeout_s=3600,
        context=CONTEXT,
        group="build 7 of main",
        state=state,
        operation=Operation(status=status, type="restart", error=LONG_ERROR if state is State.FAILED else None),
        usual=USUAL,
        ended_at=began + timedelta(seconds=17) if over else None,
        duration_s=17.0 if over else None,
        last_polled_at=began,
    )
    return replace(member, **changes)


def groups() -> Mapping[str, GroupMessage]:
    """Return the operations of a deploy together: under way, and ended."""
    apps = ("shop", "shop-worker", "blog", "api")
    states = {
        "under way": (State.SUCCEEDED, State.TRACKING, State.TRACKING, State.CANCELLED),
        "succeeded": (State.SUCCEEDED,) * 4,
        "failed": (State.SUCCEEDED, State.FAILED, State.SUCCEEDED, State.LOST),
    }
    made = {}
    for name, each in states.items():
        members = [a_member(n, app, state) for n, (app, state) in enumerate(zip(apps, each, strict=True))]
        shown = progress.compose("build 7 of main", members, {m.id for m in members}, NOW + timedelta(seconds=60))
        assert shown is not None
        made[name] = shown
    return made


def samples() -> Mapping[str, dict[str, Any]]:
    """Return every sample, by name."""
    progress = slack_message.live_message
    trouble = "Scalingo's API does not answer: 503 Service Unavailable <html>"
    outcomes = {"succeeded": SUCCEEDED, "failed": FAILED, "timed out": TIMED_OUT, "lost": LOST}
    return {
        "live: pending": progress(replace(RUNNING, status="pending", age_s=1.2)),
        "live: running": progress(RUNNING),
        "live: nothing usual, no context, a type nobody knows": progress(
            replace(RUNNING, usual=None, context={}, type=None, status="rolling-back")
        ),
        "live: slow": progress(replace(RUNNING, slow=True, age_s=65)),
        "live: the API does not answer": progress(replace(RUNNING, trouble=trouble, age_s=190)),
        "live: cancelled": progress(replace(RUNNING, over=True)),
        **{f"live: {name}": slack_message.final_message(each) for name, each in outcomes.items()},
        "reply: failed": slack_message.reply(FAILED, CALLING.mention_for(FAILED)),
        "reply: slow": slack_message.reply(SLOW),
        **{name: slack_message.message(each, CALLING.mention_for(each)) for name, each in outcomes.items()},
        "slow": slack_message.message(SLOW),
        **{f"group: {name}": slack_message.live_message(each) for name, each in groups().items()},
        "alert: a target fails": slack_message.message(ALERT, CALLING.mention),
        "alert: a token is rejected": slack_message.message(
            replace(ALERT, alert="the API token of the account default was rejected (401)", ended=False, context={}),
            CALLING.mention,
        ),
    }
