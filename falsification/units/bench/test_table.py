"""From samples to the table: medians, ratios and ranks, within a hundred columns."""

from __future__ import annotations

from bench.table import rank, ratio, render, rows, value

SAMPLES = {
    "C limit": {"start1000": [100.0, 120.0, 110.0], "idle": [0.0]},
    "duende": {"start1000": [200.0, 220.0, 240.0], "restart": [1.0, 9.0, 2.0], "idle": [0.1]},
    "s6": {"start1000": [3000.0], "restart": [1000.0]},
    "supervisord": {"start1000": [150.0]},
}
LINES = {row.title: row for row in rows(1000, 100)}


def test_medians_and_extremes() -> None:
    """Most rows are medians, the worst restart is a maximum, and what was not measured is nothing."""
    assert value(SAMPLES, "duende", LINES["start 1000, ms"]) == 220.0
    assert value(SAMPLES, "duende", LINES["restart p50, ms"]) == 2.0
    assert value(SAMPLES, "duende", LINES["restart max, ms"]) == 9.0
    assert value(SAMPLES, "s6", LINES["idle CPU, ms per s"]) is None


def test_ratio_and_rank() -> None:
    """The ratio is to the limit, which has no rank; a limit of nothing has no ratio."""
    assert ratio(SAMPLES, LINES["start 1000, ms"]) == 2.0
    assert rank(SAMPLES, LINES["start 1000, ms"]) == (2, 3)
    assert ratio(SAMPLES, LINES["idle CPU, ms per s"]) is None
    assert rank({"s6": SAMPLES["s6"]}, LINES["start 1000, ms"]) is None


def test_the_table_fits() -> None:
    """A hundred columns are enough for all peers, names do not run into each other, and gaps are dashes."""
    peers = ["C limit", "duende", "s6", "runit", "supervisord", "circus"]
    text = render(SAMPLES, peers, tuple(LINES.values()))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split()[-9:] == ["C", "limit", *peers[1:], "ratio", "rank"]
    (start,) = (line for line in lines if line.startswith("start 1000"))
    assert start.split()[-3:] == ["-", "2.0x", "2/3"]
