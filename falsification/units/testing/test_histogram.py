"""Laws of the histogram: how far a percentile may be off, and that merging is only adding up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.testing.histogram import NANOSECONDS, RELATIVE_ERROR, Histogram, bounds_of, bucket_of

SECONDS = st.floats(0, 1e6, allow_nan=False).map(lambda each: round(each * NANOSECONDS) / NANOSECONDS)
SPREAD = st.builds(lambda exponent, share: 10**exponent * (1 + share), st.integers(-9, 4), st.floats(0, 9))
SAMPLES = st.lists(SECONDS | SPREAD, min_size=1, max_size=200)


@given(SAMPLES, st.floats(0, 100))
def test_a_percentile_is_within_its_error(samples: list[float], percent: float) -> None:
    """Every percentile is within 1 % of the exact nearest-rank sample, whatever the distribution."""
    assert RELATIVE_ERROR <= 0.01
    exact = sorted(round(each * NANOSECONDS) for each in samples)[
        max(1, math.ceil(percent / 100 * len(samples))) - 1
    ]
    found = Histogram(samples).percentile(percent) * NANOSECONDS
    assert abs(found - exact) <= exact * RELATIVE_ERROR + 0.5 + 1e-6 * exact


@given(SAMPLES, SAMPLES, SAMPLES)
def test_merging_is_associative_and_commutative(a: list[float], b: list[float], c: list[float]) -> None:
    """However histograms are merged, the result is that of all samples in one."""
    one, two, three = Histogram(a), Histogram(b), Histogram(c)
    assert one.merge(two).merge(three) == one.merge(two.merge(three)) == Histogram(a + b + c)
    assert one.merge(two) == two.merge(one)
    assert one.merge(Histogram()) == one


@given(st.integers(0, 10**18))
def test_buckets_tile_the_numbers(value: int) -> None:
    """Every value is inside the bounds of its bucket, and the next bucket begins where it ends."""
    bucket = bucket_of(value)
    low, high = bounds_of(bucket)
    assert low <= value < high
    assert bucket_of(high) == bucket + 1
    assert bounds_of(bucket + 1)[0] == high


@given(SAMPLES)
def test_extremes_and_mean_are_exact(samples: list[float]) -> None:
    """Smallest, largest and mean are those of the samples; percentiles rise."""
    exact = [round(each * NANOSECONDS) for each in samples]
    found = Histogram(samples)
    assert (found.count, found.min, found.max) == (
        len(samples),
        min(exact) / NANOSECONDS,
        max(exact) / NANOSECONDS,
    )
    assert found.mean == pytest.approx(sum(exact) / len(exact) / NANOSECONDS)
    summary = found.summary()
    assert summary.p50_ms <= summary.p95_ms <= summary.p99_ms <= summary.max_ms
    assert found.percentile(100) == found.max


def test_nonsense_is_refused() -> None:
    """No negative or endless durations, no percentile beyond 100; nothing recorded gives zeros."""
    empty = Histogram()
    for wrong in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="cannot record a duration"):
            empty.record(wrong)
    with pytest.raises(ValueError, match="0 times"):
        empty.record(1.0, 0)
    with pytest.raises(ValueError, match="no percentile 101"):
        empty.percentile(101)
    assert (empty.count, empty.max, empty.mean, empty.percentile(99)) == (0, 0.0, 0.0, 0.0)
    assert empty != 3


def test_a_count_is_many_samples() -> None:
    """Recording with a count is recording again and again."""
    once, often = Histogram(), Histogram([0.25] * 7)
    once.record(0.25, 7)
    assert once == often
