"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.config.units import LARGEST_BYTES, format_duration, format_size, parse_duration, parse_size
from duende.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("1m 30s", 90.0),
        ("250ms", 0.25),
        ("2h", 7200.0),
        ("1.5 h", 5400.0),
        ("1d2h", 93600.0),
        (" 10 ", 10.0),
        ("0", 0.0),
        (3, 3.0),
        (0.5, 0.5),
        ("7 µs", 7e-6),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    """Every documented form of a duration is read."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "5 parsecs",
        "1m30",
        "-5s",
        -1,
        float("nan"),
        float("inf"),
        "1e999",
        10**400,
        True,
        None,
        [1],
        "s",
        "9" * 99 + "x",
    ],
)
def test_no_durations(text: object) -> None:
    """Anything else is refused, in a short sentence."""
    with pytest.raises(ConfigError) as caught:
        parse_duration(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (512, 512),
        ("512", 512),
        ("512MiB", 512 * 1024**2),
        ("1 GB", 10**9),
        ("4k", 4096),
        ("4kB", 4000),
        ("1.5GiB", 1536 * 1024**2),
        ("0", 0),
        ("2 T", 2 * 1024**4),
        ("9223372036854775807", LARGEST_BYTES),
    ],
)
def test_sizes(text: object, size: int) -> None:
    """Every documented form of a size is read, decimal and binary units apart."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "many", "5 stones", -1, "-1", 1.5, "0.3", True, None, 2**63, 10**400, "8388608TiB", "1 M B"]
)
def test_no_sizes(text: object) -> None:
    """Anything else is refused: negative, fractions of a byte, beyond what the system counts."""
    with pytest.raises(ConfigError):
        parse_size(text)


@given(st.floats(0, 1e300) | st.integers(0, 10**9).map(float))
def test_durations_round_trip(seconds: float) -> None:
    """A written duration is read back as exactly the same number."""
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, LARGEST_BYTES) | st.integers(0, 2**20).map(lambda n: n * 1024**2))
def test_sizes_round_trip(size: int) -> None:
    """A written size is read back as exactly the same number."""
    assert parse_size(format_size(size)) == size


@given(st.text())
def test_no_text_crashes_the_parsers(text: str) -> None:
    """Whatever is written, the answer is a number or a ConfigError."""
    for parse in (parse_duration, parse_size):
        try:
            found = parse(text)
        except ConfigError:
            continue
        assert found >= 0
