"""What calls come to: bins, figures, habits and pictures."""

from __future__ import annotations

import errno
import xml.etree.ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.errors import ConfigError
from duende.kernel.syscalls import X86_64
from duende.observe.trace import patterns
from duende.observe.trace.call import Call
from duende.observe.trace.patterns import Pattern, PatternFinder
from duende.observe.trace.pictures import duration, flame_graph, heat_map
from duende.observe.trace.source import Location, Site
from duende.observe.trace.summary import Histogram, Summary, bin_of, edge_of
from duende.observe.trace.tracer import Report

SECOND = 1_000_000_000


def call(name: str, at: int = 0, *, took: int = 1000, result: int = 1, tid: int = 7, second: int = 0) -> Call:
    """A call by name."""
    return Call(at, tid, X86_64[name], took, result, 0, second)


@given(nanoseconds=st.integers(0, 1 << 50))
def test_bins(nanoseconds: int) -> None:
    """Every duration is in its bin, and no bin is wider than a quarter of where it begins."""
    number = bin_of(nanoseconds)
    low, high = edge_of(number), edge_of(number + 1)
    assert low <= nanoseconds < high
    assert high - low <= max(1, low / 4)


@given(took=st.lists(st.integers(1, 1 << 40), min_size=1, max_size=200), percent=st.floats(0, 100))
def test_percentiles(took: list[int], percent: float) -> None:
    """At most an eighth off that of the sorted list."""
    histogram = Histogram()
    for each in took:
        histogram.add(call("read", took=each))
    found = histogram.percentile(percent)
    wanted = percent / 100 * len(took)
    real = next((each for rank, each in enumerate(sorted(took), 1) if rank >= wanted), max(took))
    assert abs(found - real) <= max(1, real / 8 + 1)
    assert min(took) <= found <= max(took)


def test_a_percentage_that_is_none() -> None:
    """Is told."""
    with pytest.raises(ConfigError, match="no percentage"):
        Histogram().percentile(101)


def test_a_summary() -> None:
    """Counts, errors by name, the slowest kind first."""
    summary = Summary()
    for number in range(10):
        summary.add(call("read", number * SECOND, took=5, result=-errno.EAGAIN if number % 2 else 1))
    summary.add(call("write", 10 * SECOND, took=SECOND))
    found = summary.latencies()
    assert [each.name for each in found] == ["write", "read"]
    assert found[1].errors == {"EAGAIN": 5}
    assert (summary.calls, found[0].total, found[0].most) == (11, 1.0, 1.0)
    assert sum(summary.heat.values()) == 11


def found(calls: list[Call]) -> list[tuple[str, int]]:
    """(kind, count) of the habits in them."""
    told: list[Pattern] = []
    finder = PatternFinder(told.append)
    for each in calls:
        finder.add(each)
    assert told == finder.found
    return [(each.kind, each.count) for each in finder.found]


@given(runs=st.lists(st.tuples(st.sampled_from(["getppid", "getuid"]), st.integers(1, 2100)), max_size=6))
def test_tight_loops(runs: list[tuple[str, int]]) -> None:
    """One for each run of at least a thousand, however many come at once."""
    joined: list[tuple[str, int]] = []
    for name, count in runs:
        if joined and joined[-1][0] == name:
            joined[-1] = (name, joined[-1][1] + count)
        else:
            joined.append((name, count))
    calls = [call(name) for name, count in runs for _ in range(count)]
    assert len(found(calls)) == sum(count >= patterns.TIGHT for _, count in joined)


def test_threads_have_loops_of_their_own() -> None:
    """And calls that were lost end a run."""
    assert found([call("getppid", tid=number % 2 + 5) for number in range(1998)]) == []
    finder = PatternFinder()
    for number in range(1500):
        if number == 900:
            finder.interrupt()
        finder.add(call("getppid"))
    assert finder.found == []


@pytest.mark.parametrize(
    ("kind", "calls"),
    [
        ("busy-polling", [call("epoll_wait", n * 4_000_000, result=0) for n in range(200)]),
        ("busy-polling", [call("recvfrom", n * 4_000_000, result=-errno.EAGAIN) for n in range(200)]),
        ("memory-churn", [call("mmap" if n % 2 else "munmap", n * 1_000_000) for n in range(500)]),
        ("lock-contention", [call("futex", n * 4_000_000, took=3_000_000, second=128) for n in range(100)]),
        ("", [call("epoll_wait", n * 6_000_000, result=0) for n in range(600)]),
        ("", [call("recvfrom", n * 1_000_000, result=0) for n in range(300)]),
        ("", [call("futex", n * 4_000_000, took=1_000, second=128) for n in range(300)]),
        ("", [call("futex", n * 4_000_000, took=3_000_000, second=129) for n in range(300)]),
    ],
)
def test_habits(kind: str, calls: list[Call]) -> None:
    """By their rates within a second, told once for each."""
    assert [each for each, _ in found(calls)] == ([kind] if kind else [])


def test_findings_are_bounded() -> None:
    """Those beyond are counted."""
    finder = PatternFinder()
    for number in range(patterns.KEPT + 5):
        for _ in range(1000):
            finder.add(call("getppid" if number % 2 else "getuid"))
    assert (len(finder.found), finder.more) == (patterns.KEPT, 5)


def report(summary: Summary) -> Report:
    """A report of it."""
    return Report(
        method="tracefs",
        instead="",
        seconds=1.0,
        calls=summary.calls,
        lost=0,
        latencies=summary.latencies(),
        anomalies=[],
        more_anomalies=0,
        patterns=[],
        heat=[(slot, each, count) for (slot, each), count in summary.heat.items()],
    )


def test_pictures_are_pictures() -> None:
    """Well-formed, with every call in them, and with what a name may hold escaped; of nothing too."""
    summary = Summary()
    for number in range(50):
        summary.add(call("write", number * SECOND // 20, took=1000 + number * 999))
    deep = tuple(Location(function=f"<lambda> & {n}", file="/x/y.py", line=n + 1) for n in range(5))
    sites = [
        Site(call="write", stack=deep, count=3),
        Site(call="write", stack=(), count=1),
        Site(call="poll", stack=deep, count=9),
    ]
    svg = flame_graph(sites, report(summary))
    texts = "".join(ET.fromstring(svg).itertext())  # noqa: S314 - our own
    assert "[write]" in texts
    assert "without waiting (poll)" in texts
    assert "<lambda> & 0" in texts
    assert "[poll]" in "".join(ET.fromstring(flame_graph(sites)).itertext())  # noqa: S314 - our own
    cells = ET.fromstring(heat_map(report(summary))).iter("{http://www.w3.org/2000/svg}rect")  # noqa: S314 - our own
    assert len(list(cells)) > 10
    for empty in (flame_graph([]), heat_map(report(Summary()))):
        ET.fromstring(empty)  # noqa: S314 - our own
    assert msgspec.json.decode(msgspec.json.encode(report(summary)), type=Report) == report(summary)


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12 ns"), (1500, "1.5 us"), (2.5e6, "2.5 ms"), (3e9, "3 s")]
)
def test_durations(value: float, text: str) -> None:
    """In the unit that fits."""
    assert duration(value) == text


def test_places() -> None:
    """The innermost frame with a source that is not the C library's; else what is known."""
    libc = Location(function="write", file="../sysdeps/write.c", line=26, module="/lib/libc.so.6")
    own = Location(function="inner", file="/src/a.c", line=4, module="/bin/a")
    assert str(Site(call="write", stack=(libc, own), count=1)) == "/src/a.c:4 in inner"
    assert str(Site(call="write", stack=(libc,), count=1)) == "write in libc.so.6"
    assert str(Site(call="write", stack=(), count=1)) == "source unknown"
