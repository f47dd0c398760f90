"""RED metrics: they only count up, they add up, and a parser nobody here wrote reads their text."""

from __future__ import annotations

import math
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from duende.metrics import BUCKETS, OWN_NAMES, DaemonMetrics, MetricsSnapshot
from duende.testing import ManualClock


@given(st.lists(st.tuples(st.floats(0, 200) | st.none(), st.booleans()), max_size=40), st.floats(0.001, 1e6))
def test_counters_add_up(requests: list[tuple[float | None, bool]], seconds: float) -> None:
    """After any requests every figure of the snapshot is the one arithmetic gives, and it round-trips through
    JSON.
    """
    clock = ManualClock()
    metrics = DaemonMetrics(clock)
    for duration, error in requests:
        before = metrics.snapshot()
        metrics.record_request(duration, error=error)
        assert metrics.requests_total == before.requests_total + 1
        assert metrics.errors_total == before.errors_total + error
    clock.advance(seconds)
    timed = [duration for duration, _ in requests if duration is not None]
    found = metrics.snapshot()
    assert found.duration_count == len(timed)
    assert found.duration_max_us == int(max(timed, default=0.0) * 1e6)
    assert found.duration_avg_us == (int(sum(timed) / len(timed) * 1e6) if timed else 0)
    assert found.requests_per_second == pytest.approx(len(requests) / seconds)
    assert found.error_rate == (sum(error for _, error in requests) / len(requests) if requests else 0)
    assert found.duration_p50_us <= found.duration_p99_us <= found.duration_max_us
    assert msgspec.json.decode(msgspec.json.encode(found), type=MetricsSnapshot) == found


@given(st.lists(st.floats(1e-5, 80), min_size=1, max_size=60))
def test_percentiles_are_right_within_their_bucket(durations: list[float]) -> None:
    """A percentile is never below the true one and at most twice it, the buckets being what they are."""
    metrics = DaemonMetrics()
    for duration in durations:
        metrics.record_duration(duration)
    true = sorted(durations)[math.ceil(0.5 * len(durations)) - 1]
    assert true * 1e6 - 1 <= metrics.snapshot().duration_p50_us <= 2 * true * 1e6 + 1


@given(st.lists(st.floats(0, 200), max_size=30), st.text(max_size=20))
def test_prometheus_text_is_read_by_its_own_parser(durations: list[float], name: str) -> None:
    """The text parses, histograms are cumulative and end in the count, labels survive any name."""
    metrics = DaemonMetrics()
    for duration in durations:
        metrics.record_request(duration)
    metrics.add("jobs_total", 3, help_text="Jobs\nof \\ this")
    metrics.set("depth", -1.5)
    families = {family.name: family for family in text_string_to_metric_families(metrics.prometheus(name))}
    assert families["daemon_requests"].samples[0].value == len(durations)
    assert families["daemon_requests"].samples[0].labels["daemon"] == name
    assert families["daemon_jobs"].samples[0].value == 3
    assert families["daemon_jobs"].documentation == "Jobs\nof \\ this"
    assert families["daemon_depth"].samples[0].value == -1.5
    histogram = families["daemon_request_duration_seconds"]
    assert histogram.type == "histogram"
    buckets = [sample for sample in histogram.samples if sample.name.endswith("_bucket")]
    values = [sample.value for sample in buckets]
    assert values == sorted(values)
    assert buckets[-1].labels["le"] == "+Inf"
    rest = {
        sample.name.rpartition("_")[2]: sample.value for sample in histogram.samples if sample not in buckets
    }
    assert values[-1] == rest["count"] == len(durations)
    assert rest["sum"] == pytest.approx(sum(durations))
    for sample in buckets[:-1]:
        assert sample.value == sum(duration <= float(sample.labels["le"]) for duration in durations)
    assert len(buckets) == len(BUCKETS) + 1
    own = {
        sample.name
        for key, family in families.items()
        if key not in ("daemon_jobs", "daemon_depth")
        for sample in family.samples
    }
    assert own <= OWN_NAMES


def test_gauges_and_the_other_counters() -> None:
    """What is set is shown, what is counted goes up by one."""
    metrics = DaemonMetrics()
    metrics.set_cpu_usage(12.5)
    metrics.set_memory_bytes(4096)
    metrics.set_open_fds(7)
    metrics.set_thread_count(2)
    metrics.record_circuit_breaker_trip()
    metrics.record_recovery()
    metrics.record_error()
    found = metrics.snapshot()
    assert (found.cpu_usage_percent, found.memory_bytes, found.open_fds, found.thread_count) == (
        12.5,
        4096,
        7,
        2,
    )
    assert (found.circuit_breaker_trips, found.successful_recoveries, found.errors_total) == (1, 1, 1)


def test_time_spent_stopped_is_no_uptime() -> None:
    """F107: a pause counts neither as uptime nor in the rates, and is shown by itself."""
    clock = ManualClock()
    metrics = DaemonMetrics(clock)
    metrics.record_request()
    clock.advance(10)
    metrics.record_pause(8)
    metrics.record_pause(-3)
    found = metrics.snapshot()
    assert (found.uptime_secs, found.paused_secs, found.requests_per_second) == (2.0, 8.0, 0.5)


def test_timing_a_block() -> None:
    """A timed block is one request; one that raises is an error too, and its exception goes on."""
    metrics = DaemonMetrics()
    with metrics.time():
        pass
    with pytest.raises(KeyError), metrics.time():
        raise KeyError("x")
    assert (metrics.requests_total, metrics.errors_total, metrics.snapshot().duration_count) == (2, 1, 2)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_figures_that_would_poison_the_rest_are_refused(bad: float) -> None:
    """Negative and non-finite numbers raise and change nothing."""
    metrics = DaemonMetrics()
    for attempt in (
        metrics.record_request,
        metrics.record_duration,
        lambda value: metrics.add("jobs", value),
    ):
        with pytest.raises(ValueError, match="cannot"):
            attempt(bad)
    if not bad < 0:
        with pytest.raises(ValueError, match="finite"):
            metrics.set("depth", bad)
    assert metrics.snapshot().custom == {}
    assert metrics.requests_total == metrics.snapshot().duration_count == 0


def test_metric_names_are_checked() -> None:
    """A custom metric needs a valid name of its own and keeps its kind."""
    metrics = DaemonMetrics()
    metrics.add("jobs")
    metrics.add("jobs", 2)
    assert metrics.snapshot().custom == {"jobs": 3.0}
    for name in ("", "a b", "1st", "größe", "requests_total"):
        with pytest.raises(ValueError, match="metric"):
            metrics.add(name)
    with pytest.raises(ValueError, match="it is a counter"):
        metrics.set("jobs", 1)


def test_threads_lose_no_count() -> None:
    """Eight threads counting at once come to the exact total."""
    metrics = DaemonMetrics()

    def count() -> None:
        for _ in range(500):
            metrics.record_request(0.001)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.requests_total == metrics.snapshot().duration_count == 4000
