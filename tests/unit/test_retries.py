"""What follows an attempt to deliver."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifiers.slack.notifier import Slack
from notifiers.webhook import Webhook
from operations.errors import OpwatchError, PermanentError, RateLimitedError, TransientError
from operations.model import DeliveryState
from operations.telling.attempts import Policy, Result, after_attempt
from operations.telling.retries import next_attempt_at, parse_retry_after
from tests.unit.strategies import NOW, a_delivery, a_tracking

DELAYS_S = (5.0, 300.0, 1800.0)


def wait_s(failures: int, error: TransientError, jitter: float = 0.0) -> float:
    """Return how long the next attempt waits; fails if there is none."""
    at = next_attempt_at(failures, error.retry_after_s, DELAYS_S, now=NOW, jitter=jitter)
    assert at is not None
    return (at - NOW).total_seconds()


@pytest.mark.parametrize(("failures", "delay_s"), [(1, 5), (2, 300), (3, 1800)])
def test_each_failed_attempt_waits_as_long_as_the_schedule_says(failures: int, delay_s: float) -> None:
    assert wait_s(failures, TransientError("reset")) == delay_s


@given(st.integers(1, 3), st.floats(-1, 1))
def test_jitter_moves_a_wait_by_a_tenth_at_most(failures: int, jitter: float) -> None:
    delay_s = DELAYS_S[failures - 1]
    assert 0.9 * delay_s - 1e-5 <= wait_s(failures, TransientError("reset"), jitter) <= 1.1 * delay_s + 1e-5


@pytest.mark.parametrize(
    ("asked_s", "waited_s"),
    [(None, 5), (0, 5), (-7, 5), (4, 5), (60, 60), (86_400, 86_400), (86_401, 86_400), (1e300, 86_400)],
)
def test_retry_after_is_the_least_wait_and_never_more_than_a_day(asked_s: float | None, waited_s: float) -> None:
    assert wait_s(1, RateLimitedError("429", retry_after_s=asked_s)) == waited_s
    assert wait_s(1, RateLimitedError("429", retry_after_s=asked_s), -1) >= min(asked_s or 0, 86_400)


@pytest.mark.parametrize("failures", [4, 5, 100])
def test_past_the_last_delay_it_is_given_up_and_says_why(failures: int) -> None:
    assert next_attempt_at(failures, 5, DELAYS_S, now=NOW, jitter=0) is None
    delivery = a_delivery(claim="ours", failures=failures - 1)
    error = TransientError("reset", retry_after_s=5)
    after = after_attempt(
        a_tracking(deliveries=(delivery,)), delivery, Result(error=error), NOW, Policy(delays_s=DELAYS_S)
    )
    assert after is not None
    assert after.deliveries[0].state is DeliveryState.DEAD
    assert after.deliveries[0].last_error == f"given up after {failures} failed attempts; the last error: reset"


@pytest.mark.parametrize("error", [PermanentError("channel_not_found"), OpwatchError("unreadable")])
def test_what_no_further_try_can_fix_is_given_up_at_once(error: OpwatchError) -> None:
    delivery = a_delivery(claim="ours")
    after = after_attempt(
        a_tracking(deliveries=(delivery,)), delivery, Result(error=error), NOW, Policy(delays_s=DELAYS_S)
    )
    assert after is not None
    assert (after.deliveries[0].state, after.deliveries[0].last_error) == (DeliveryState.DEAD, str(error))


@pytest.mark.parametrize("delays_s", [Slack.retry_delays_s, Webhook.retry_delays_s])
def test_the_schedules_begin_after_five_seconds_and_never_hurry(delays_s: tuple[float, ...]) -> None:
    assert delays_s[0] == 5
    assert list(delays_s) == sorted(delays_s)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("   ", None),
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("²", None),
        ("5, 5", None),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90),
        ("Sunday, 01-Mar-26 12:01:30 GMT", 90),
        ("Sun, 01 Mar 2026 14:01:30 +0200", 90),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:01:30 -0000", None),
        ("Sun, 01 Mar 2026 25:61:61 GMT", None),
        ("Sun, 01 Mar 2026 12:01:30 +99999999999999", None),
        ("Sun, 01 Mar 99999999 12:01:30 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


def test_a_huge_retry_after_is_finite() -> None:
    assert (parse_retry_after("9" * 5000, NOW) or 0) >= 86_400


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001 - made aware below
def test_any_http_date_is_the_time_until_then(at: datetime) -> None:
    at = at.replace(tzinfo=UTC, microsecond=0)
    expected = max(timedelta(0), at - NOW).total_seconds()
    assert parse_retry_after(format_datetime(at, usegmt=True), NOW) == expected


_pieces = st.sampled_from(
    ["Sun,", "01", "Mar", "-", ":", "26", "12:00:00", "GMT", "+0000", "-", ",", "(", ")", "\x00", "9" * 30]
)


@given(st.text() | st.lists(_pieces | st.text(max_size=3), max_size=9).map(" ".join) | st.lists(_pieces).map("".join))
def test_no_header_whatever_makes_the_reader_fail(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds < float("inf")
