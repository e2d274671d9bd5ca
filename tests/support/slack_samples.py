"""One sample of every message that goes to Slack, to be checked and to be looked at."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from notifiers import slack_group, slack_live, slack_message
from operations import groups
from operations.announcement import Announcement
from operations.live import Progress
from operations.model import Operation, State, Tracking, Usual, Verdict
from operations.together import Together

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
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
    reason="still running after 3600 s; it may yet end well",
)
LOST = replace(
    FAILED, verdict=Verdict.LOST, error=None, duration_s=64, reason="the API knows no such operation (3 times)"
)
SLOW = replace(FAILED, verdict=Verdict.LOST, error=None, duration_s=65, ended=False)
ALERT = replace(FAILED, alert="deliveries to `ci-hook` are failing: 410 Gone", error="it broke")
RUNNING = Progress(app="shop", type="restart", status="running", age_s=42.4, usual=USUAL, context=CONTEXT)
MENTION = "<!here>"


def member(number: int, app: str, state: State = State.TRACKING, error: str | None = None) -> Tracking:
    """Give a member of a group that joined after so many seconds."""
    began = BEGAN + timedelta(seconds=number)
    ended = state is not State.TRACKING
    return Tracking(
        id=f"osc-fr1-{number:024x}",
        app=app,
        operation_id=f"{number:024x}",
        region="osc-fr1",
        account="default",
        created_at=began,
        created_by="ci",
        timeout_s=3600,
        group="build 1742",
        context=CONTEXT,
        state=state,
        operation=Operation(status="running", type="restart", error=error),
        last_polled_at=began,
        ended_at=began + timedelta(seconds=17) if ended else None,
        duration_s=17.2 if ended else None,
        usual=USUAL,
    )


def together(*members: Tracking, size: int | None = None) -> dict[str, Any]:
    """Build the message that shows a group a minute after it began."""
    sized = [replace(each, group_size=size) for each in members]
    now = BEGAN + timedelta(seconds=60)
    return slack_group.message(Together(group=groups.of("build 1742", sized, now), now=now))


def groups_shown() -> Mapping[str, dict[str, Any]]:
    """Give a message for each way a group may stand."""
    shop, blog = member(0, "shop", State.SUCCEEDED), member(1, "blog")
    broken = member(2, "api", State.FAILED, LONG_ERROR)
    many = [member(n, f"app-{n}", (State.FAILED, State.SUCCEEDED, State.TRACKING)[n % 3], "boot") for n in range(60)]
    return {
        "group: under way": together(shop, blog),
        "group: one failed, one not begun": together(shop, blog, broken, size=4),
        "group: succeeded": together(shop, replace(shop, id="another", app="blog")),
        "group: failed": together(shop, broken),
        "group: cancelled": together(shop, member(3, "blog", State.CANCELLED)),
        "group: reopened": together(shop, member(40, "blog")),
        "group: many": together(*many),
    }


def samples() -> Mapping[str, dict[str, Any]]:
    """Give every kind of message, by what it is."""
    progress = slack_live.progress_message
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
        "live: cancelled": progress(replace(RUNNING, stopped=True)),
        **groups_shown(),
        **{f"live: {name}": slack_live.outcome_message(each) for name, each in outcomes.items()},
        "reply: failed": slack_live.reply(FAILED, MENTION),
        "reply: slow": slack_live.reply(SLOW, MENTION),
        **{name: slack_message.message(each, MENTION) for name, each in outcomes.items()},
        "slow": slack_message.message(SLOW, MENTION),
        "alert: a target fails": slack_message.message(ALERT, MENTION),
        "alert: a token is rejected": slack_message.message(
            replace(ALERT, alert="the API token of the account default was rejected (401)", ended=False, context={}),
            MENTION,
        ),
    }
