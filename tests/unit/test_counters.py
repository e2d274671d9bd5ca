"""Histograms as counters: the additions of each duration, and the histogram read back."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from operations.storage.tallies import DETECTION, DWELL, Histogram

durations = st.lists(st.floats(min_value=0, max_value=1e6))


def counted(histogram: Histogram, *durations_s: float) -> Counter[str]:
    """Add durations up as Redis does."""
    counters: Counter[str] = Counter()
    for duration_s in durations_s:
        counters.update(dict(histogram.additions("a-label", duration_s)))
    return counters


@given(durations)
def test_a_bucket_counts_all_that_took_at_most_so_long(durations_s: list[float]) -> None:
    buckets, sum_s = DWELL.read(counted(DWELL, *durations_s), "a-label")
    assert buckets == [(bound, sum(duration <= float(bound) for duration in durations_s)) for bound, _ in buckets]
    assert abs(sum_s - sum(durations_s)) <= 0.001 * (1 + len(durations_s))


def test_a_duration_costs_two_fields_however_many_buckets_there_are() -> None:
    assert dict(DETECTION.additions("default", 2.5)) == {"detection:default:3": 1, "detection:default:ms": 2500}
    assert dict(DETECTION.additions("default", 1e9)) == {"detection:default:+Inf": 1, "detection:default:ms": 10**12}


def test_what_was_never_counted_is_zero() -> None:
    buckets, sum_s = DETECTION.read({}, "default")
    assert [count for _, count in buckets] == [0] * (len(DETECTION.bounds_s) + 1)
    assert (buckets[-1][0], sum_s) == ("+Inf", 0)


def test_labels_are_counted_apart() -> None:
    buckets, _ = DWELL.read(counted(DWELL, 1.0), "another")
    assert buckets[-1] == ("+Inf", 0)
