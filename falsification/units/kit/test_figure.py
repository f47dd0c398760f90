"""Figures are judged as they say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falsification.kit.figure import RELATIONS, STATISTICS, Figure, FigureError, percentile, quantity

FINITE = st.floats(min_value=-1e9, max_value=1e9)
SAMPLES = st.lists(FINITE, min_size=1, max_size=60)


@given(SAMPLES, st.floats(min_value=0, max_value=100))
def test_a_percentile_was_measured(samples: list[float], rank: float) -> None:
    """A percentile is one of the samples, and enough of them are no larger."""
    value = percentile(samples, rank)
    assert value in samples
    assert sum(each <= value for each in samples) >= rank / 100 * len(samples) - 1e-6


def test_p99_of_a_thousand_allows_ten_misses() -> None:
    """With 1000 samples the 99th percentile is the 990th, so eleven slow ones show and ten do not."""
    assert percentile([1.0] * 990 + [9.0] * 10, 99) == 1.0
    assert percentile([1.0] * 989 + [9.0] * 11, 99) == 9.0


@given(SAMPLES, FINITE)
def test_max_below_a_bound_means_all_below(samples: list[float], bound: float) -> None:
    """A figure of the maximum holds exactly when every sample does."""
    figure = Figure.of("time", samples, unit="ms", relation="<", threshold=bound, statistic="max")
    assert figure.holds == all(each < bound for each in samples)


@given(SAMPLES, st.sampled_from(sorted(set(STATISTICS) - {"only", "count", "sum"})))
def test_every_statistic_lies_among_the_samples(samples: list[float], statistic: str) -> None:
    """No statistic of a place leaves the range of its samples."""
    value = Figure.of("x", samples, unit="", statistic=statistic).value
    slack = 1e-6 * max(1.0, abs(min(samples)), abs(max(samples)))
    assert min(samples) - slack <= value <= max(samples) + slack


@pytest.mark.parametrize("sample", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_makes_no_figure(sample: float) -> None:
    """NaN and infinity are refused: NaN would slip through any comparison."""
    with pytest.raises(FigureError, match="finite"):
        Figure.of("time", [1.0, sample], unit="ms", statistic="max")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": []}, "no samples"),
        ({"samples": [1, 2]}, "need a statistic"),
        ({"samples": 1, "relation": "<"}, "together"),
        ({"samples": 1, "threshold": 3.0}, "together"),
        ({"samples": 1, "relation": "=~", "threshold": 3.0}, "unknown relation"),
        ({"samples": 1, "statistic": "vibe"}, "unknown statistic"),
    ],
)
def test_a_mistaken_figure_is_refused(options: dict[str, object], message: str) -> None:
    """Every mistake has its own message."""
    samples = options.pop("samples")
    with pytest.raises(FigureError, match=message):
        Figure.of("time", samples, unit="ms", **options)  # type: ignore[arg-type]


def test_a_figure_tells_itself() -> None:
    """The text names figure, statistic, value, unit and bound."""
    text = str(Figure.of("stop", [1.0, 12.5], unit="ms", relation="<", threshold=10, statistic="max"))
    assert text == "stop (max) = 12.5 ms, not < 10 ms"


def test_the_json_has_the_keys_of_the_schema() -> None:
    """What goes into verdicts.json is name, value, unit, relation, threshold, samples."""
    assert list(Figure.of("x", 1, unit="s").to_json()) == [
        "name",
        "value",
        "unit",
        "relation",
        "threshold",
        "samples",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, "3 ms"), (0.00123, "0.00123 ms"), (123456.7, "123457 ms"), (9.4149, "9.415 ms")]
)
def test_quantities_are_readable(value: float, text: str) -> None:
    """Four digits are enough for a person."""
    assert quantity(value, "ms") == text


def test_every_relation_has_a_meaning() -> None:
    """The five relations and no more."""
    assert list(RELATIONS) == ["<", "<=", ">", ">=", "=="]
