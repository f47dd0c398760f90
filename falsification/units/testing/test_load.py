"""The load tester: its schedule, and that a stall cannot hide."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.errors import ConfigError
from duende.testing import LoadReport, LoadTestConfig, LoadTester
from duende.testing.load import PROFILES, schedule
from falsification.units.support import run


async def nothing() -> None:
    """An operation that works at once."""


def test_the_profiles_are_those_promised() -> None:
    """light, moderate, heavy and quick have the users, ramps and durations of the Rust project; all can run."""
    found = {name: LoadTestConfig.profile(name) for name in PROFILES}
    assert {name: (each.users, each.ramp, each.duration) for name, each in found.items()} == {
        "light": (5, 5.0, 30.0),
        "moderate": (50, 30.0, 120.0),
        "heavy": (200, 60.0, 300.0),
        "quick": (4, 0.1, 0.5),
    }
    assert found["quick"].requests_per_user == 10
    assert (LoadTestConfig().users, LoadTestConfig().ramp, LoadTestConfig().duration) == (10, 10.0, 60.0)
    for each in found.values():
        each.check()
    with pytest.raises(ConfigError, match="no load profile is called 'huge'"):
        LoadTestConfig.profile("huge")


def test_quick_passes_on_a_system_that_works() -> None:
    """The quick profile sends its 40 operations, on time, and passes its own rule."""
    report = run(LoadTester(LoadTestConfig.quick(), nothing).run())
    assert (report.operations, report.errors) == (40, 0)
    assert report.passed
    assert report.open_loop
    assert report.success_rate == 1.0
    assert report.throughput > 40
    assert LoadReport.from_json(report.to_json()) == report
    assert "40 operations by 4 users" in report.table()


@given(
    st.integers(1, 50),
    st.floats(0, 5),
    st.floats(0.1, 20),
    st.floats(0.5, 500),
)
def test_the_schedule_keeps_its_rate(users: int, ramp: float, duration: float, rps: float) -> None:
    """Users begin within the ramp in order, every operation is due before the end, and all together make the rate."""
    config = LoadTestConfig(users=users, ramp=ramp, duration=duration, target_rps=rps)
    plans = [schedule(config, user) for user in range(users)]
    begins = [begin for begin, _, _ in plans]
    assert begins == sorted(begins)
    assert begins[0] == 0.0
    end = ramp + duration
    for begin, pause, due in plans:
        assert users / pause == pytest.approx(rps)
        if due:
            assert begin + (due - 1) * pause <= end + 1e-6
        assert begin + due * pause >= end - 1e-6
    if ramp == 0:
        assert sum(due for _, _, due in plans) == pytest.approx(rps * duration, abs=users)


def test_a_stall_is_seen_by_all_that_were_due() -> None:
    """One operation that takes 300 ms makes those queued behind it late, and their latency says so; the sending does not."""
    calls = 0

    async def stalls_once() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            await asyncio.sleep(0.3)

    config = LoadTestConfig(users=1, ramp=0.0, duration=0.6, target_rps=100.0)
    report = run(LoadTester(config, stalls_once).run())
    assert report.operations == 60
    # Due every 10 ms: about 30 operations were due while the fifth was under way, and their waits fall evenly from 300 ms to 0.
    assert report.late_sends >= 20
    assert report.latency.p95_ms > 150
    assert report.service.p95_ms < 100
    assert report.latency.p50_ms < report.latency.p95_ms


def test_a_closed_loop_says_so() -> None:
    """Without a rate each user sends when the last answer is there, until the time or its number is up."""
    report = run(
        LoadTester(LoadTestConfig(users=3, ramp=0.0, duration=5.0, requests_per_user=4), nothing).run()
    )
    assert (report.operations, report.open_loop) == (12, False)
    assert "closed loop" in report.table()

    async def slow() -> None:
        await asyncio.sleep(0.02)

    timed = run(LoadTester(LoadTestConfig(users=2, ramp=0.0, duration=0.2), slow).run())
    assert 2 <= timed.operations <= 22
    assert timed.duration_s < 1.0


def test_errors_are_counted_by_kind() -> None:
    """Exceptions, False and lateness are errors, each with its text; the rate decides whether the report passes."""

    async def fails(user: int, number: int) -> bool:
        if number == 0:
            raise ConnectionResetError("peer")
        if number == 1:
            await asyncio.sleep(5)
        return number != 2

    config = LoadTestConfig(
        users=2, ramp=0.0, duration=0.5, target_rps=40.0, requests_per_user=10, timeout=0.05
    )
    report = run(LoadTester(config, fails).run())
    assert report.error_kinds == {
        "ConnectionResetError: peer": 2,
        "no answer within 0.05 s": 2,
        "the operation gave False": 2,
    }
    assert (report.operations, report.errors, report.error_rate) == (20, 6, 0.3)
    assert not report.passed
    assert report.failed.count == 6
    lenient = LoadTestConfig(
        users=2, ramp=0.0, duration=0.5, target_rps=40.0, timeout=0.05, max_error_rate=0.5
    )
    assert run(LoadTester(lenient, fails).run()).passed


def test_what_was_due_and_never_sent_is_an_error() -> None:
    """A system so slow that the schedule cannot be kept loses nothing silently."""

    async def hangs() -> None:
        await asyncio.sleep(60)

    config = LoadTestConfig(users=1, ramp=0.0, duration=0.2, target_rps=100.0, timeout=0.15)
    report = run(LoadTester(config, hangs).run())
    assert report.operations == 20
    assert report.errors == 20
    assert report.error_kinds["due, and not sent before the end"] >= 15


def test_bad_loads_are_refused() -> None:
    """Every number that makes no sense is named."""
    with pytest.raises(ConfigError) as caught:
        LoadTester(LoadTestConfig(users=0, duration=-1.0, target_rps=0.0), nothing)
    assert len(caught.value.problems) == 3
    assert "users is 0" in str(caught.value)
