"""Scores against the textbook, and critical paths against a search by hand."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.errors import ConfigError
from duende.observe.anomaly import LEAST, AnomalyDetector, Severity
from duende.observe.critical import Span, critical_path

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=250)


@given(NUMBERS, st.integers(LEAST, 40))
def test_a_score_is_that_of_the_window_before(numbers: list[float], window: int) -> None:
    """By mean and deviation of the population of the last numbers, whatever went before them."""
    detector = AnomalyDetector(window=window)
    for place, number in enumerate(numbers):
        before = numbers[max(0, place - window) : place]
        score = detector.score(number)
        if len(before) < LEAST:
            assert score == 0.0
        elif (deviation := statistics.pstdev(before)) > 1e-3 * (1 + max(map(abs, before))):
            assert score == pytest.approx((number - statistics.fmean(before)) / deviation, rel=1e-3, abs=1e-3)
        detector.observe(number)


def test_how_far_it_stands_out() -> None:
    """Low from the threshold on, medium from 4, high from 5 sigma; numbers below stand out as those above; of equal ones any other does."""
    found = []
    for value in (3.5, 4.5, -5.5):
        detector = AnomalyDetector()
        for number in range(100):
            detector.observe(float(1 if number % 2 else -1))
        found.append(detector.observe(value, at=7.0))
    assert [each.severity for each in found if each] == [Severity.LOW, Severity.MEDIUM, Severity.HIGH]
    assert found[2] is not None
    assert found[2].score == pytest.approx(-5.5)
    assert (found[2].at, found[2].mean) == (7.0, 0.0)
    flat = AnomalyDetector()
    for _ in range(50):
        assert flat.observe(2.5) is None
    other = flat.observe(2.6)
    assert other is not None
    assert other.score == math.inf
    assert flat.anomalies == 1


def test_what_cannot_be_scored() -> None:
    """A window too small to know anything, a threshold that is none, a number that is none."""
    for window, threshold in ((LEAST - 1, 3.0), (100, 0.0), (100, math.inf), (100, math.nan)):
        with pytest.raises(ConfigError):
            AnomalyDetector(window, threshold)
    with pytest.raises(ValueError, match="nan is no number"):
        AnomalyDetector().observe(math.nan)


def span(name: str, start: float, end: float, parent: str = "root") -> Span:
    """A span whose id is its name."""
    return Span(span_id=name, name=name, start=start, end=end, parent_id=parent)


@st.composite
def traces(draw: st.DrawFn) -> list[Span]:
    """A tree of spans, each anywhere, also outside its parent."""
    spans = [span("root", 0.0, 100.0, "")]
    for number in range(draw(st.integers(0, 12))):
        start = draw(st.integers(-10, 110))
        spans.append(
            span(
                f"s{number}",
                float(start),
                float(start + draw(st.integers(0, 60))),
                draw(st.sampled_from(spans)).span_id,
            )
        )
    return draw(st.permutations(spans))


@given(traces())
def test_every_instant_of_the_root_is_somebodys(spans: list[Span]) -> None:
    """The segments follow each other without a gap, each lies within its span, and is no time in which a child of it was waited for."""
    path = critical_path(spans)
    assert path.total == pytest.approx(100.0)
    assert path.segments[0].start == 0.0
    assert path.segments[-1].end == 100.0
    by_id = {each.span_id: each for each in spans}
    for one, two in zip(path.segments, path.segments[1:], strict=False):
        assert one.end == two.start
    for each in path.segments:
        assert by_id[each.span_id].start <= each.start < each.end <= by_id[each.span_id].end
    assert sum(path.shares.values()) == pytest.approx(100.0)


def test_what_ran_beside_held_up_nobody() -> None:
    """Of two children side by side the one that ended last counts, and what went before it only where it ended before it began."""
    path = critical_path(
        [span("root", 0, 10, ""), span("a", 1, 4), span("b", 3, 6), span("c", 5, 9), span("late", 8, 20)]
    )
    assert [(each.name, each.start, each.end) for each in path.segments] == [
        ("root", 0, 3),
        ("b", 3, 6),
        ("root", 6, 8),
        ("late", 8, 10),
    ]
    assert path.bottleneck == "root"


def test_a_deep_trace() -> None:
    """Deeper than an interpreter goes."""
    spans = [span("root", 0, 1, "")]
    spans += [span(f"s{number}", 0, 1, f"s{number - 1}" if number else "root") for number in range(5000)]
    assert critical_path(spans).bottleneck == "s4999"


@pytest.mark.parametrize(
    ("spans", "why"),
    [
        ([], "one root, and here are 0"),
        ([span("a", 0, 1, ""), span("b", 0, 1, "")], "here are 2"),
        ([span("root", 0, 1, ""), span("root", 0, 1)], "there twice"),
        ([span("root", 0, 1, ""), span("a", 2, 1)], "ends at 1, before it begins at 2"),
        ([span("root", 0, 1, ""), span("a", 0, 1, "gone")], "parent 'gone' of span 'a' is not in the trace"),
        ([span("root", 0, 1, ""), span("a", 0, 1, "b"), span("b", 0, 1, "a")], "each other's parents"),
    ],
)
def test_what_is_no_trace(spans: list[Span], why: str) -> None:
    """One error says what is wrong with it."""
    with pytest.raises(ConfigError, match=why):
        critical_path(spans)
