"""RED metrics of a daemon: rate, errors, duration; with a latency histogram and the Prometheus text format
(exposition format 0.0.4).
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from duende.clock import SYSTEM_CLOCK, Clock

BUCKETS = tuple(1e-5 * 2.0**n for n in range(24))
"""Upper bounds in seconds: 10 us to 84 s, doubling; a percentile read from it is right within a factor of
two.
"""

_DURATION = "daemon_request_duration_seconds"
OWN_NAMES = frozenset(
    (
        "daemon_requests_total",
        "daemon_errors_total",
        "daemon_circuit_breaker_trips_total",
        "daemon_recoveries_total",
        "daemon_uptime_seconds",
        "daemon_paused_seconds",
        "daemon_cpu_percent",
        "daemon_memory_bytes",
        "daemon_open_fds",
        "daemon_threads",
        _DURATION,
        f"{_DURATION}_bucket",
        f"{_DURATION}_sum",
        f"{_DURATION}_count",
    )
)
"""Names a daemon's own metrics cannot have."""


class MetricsSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All metrics at one moment; round-trips through JSON."""

    requests_total: int
    requests_per_second: float
    errors_total: int
    error_rate: float
    """Errors per request, 0 without requests."""
    duration_count: int
    duration_avg_us: int
    duration_max_us: int
    duration_p50_us: int
    duration_p99_us: int
    cpu_usage_percent: float
    memory_bytes: int
    open_fds: int
    thread_count: int
    circuit_breaker_trips: int
    successful_recoveries: int
    uptime_secs: float
    paused_secs: float
    """Time the process was stopped (SIGSTOP), which does not count as uptime."""
    custom: dict[str, float] = {}


class DaemonMetrics:
    """Counters, gauges and a histogram; safe to use from any thread."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started = clock.monotonic()
        self._paused = 0.0
        self._requests = 0
        self._errors = 0
        self._trips = 0
        self._recoveries = 0
        self._sum = 0.0
        self._max = 0.0
        self._counts = [0] * (len(BUCKETS) + 1)
        self._cpu = 0.0
        self._memory = 0
        self._fds = 0
        self._threads = 0
        self._custom: dict[str, tuple[str, str, float]] = {}

    def record_request(self, duration: float | None = None, *, error: bool = False) -> None:
        """Count one request, with its *duration* in seconds if it was timed.

        Raises:
            ValueError: *duration* is negative or not finite.
        """
        if duration is not None:
            _check_seconds(duration)
        with self._lock:
            self._requests += 1
            self._errors += error
            if duration is not None:
                self._observe(duration)

    def record_error(self) -> None:
        """Count one error."""
        with self._lock:
            self._errors += 1

    def record_duration(self, seconds: float) -> None:
        """Add one duration to the histogram.

        Raises:
            ValueError: *seconds* is negative or not finite.
        """
        _check_seconds(seconds)
        with self._lock:
            self._observe(seconds)

    @contextmanager
    def time(self) -> Iterator[None]:
        """Count a request and its duration around a block; an exception counts as an error and goes on."""
        began = time.perf_counter()
        failed = True
        try:
            yield
            failed = False
        finally:
            self.record_request(time.perf_counter() - began, error=failed)

    def record_circuit_breaker_trip(self) -> None:
        """Count one opening of a circuit breaker."""
        with self._lock:
            self._trips += 1

    def record_recovery(self) -> None:
        """Count one recovery."""
        with self._lock:
            self._recoveries += 1

    def record_pause(self, seconds: float) -> None:
        """Take *seconds* in which the process was stopped out of the uptime and so out of the rates."""
        with self._lock:
            self._paused += max(0.0, seconds)

    def set_cpu_usage(self, percent: float) -> None:
        """CPU use, 100 is one core."""
        self._cpu = percent

    def set_memory_bytes(self, size: int) -> None:
        """Resident memory in bytes."""
        self._memory = size

    def set_open_fds(self, count: int) -> None:
        """Open descriptors."""
        self._fds = count

    def set_thread_count(self, count: int) -> None:
        """Threads."""
        self._threads = count

    def add(self, name: str, amount: float = 1.0, *, help_text: str = "") -> None:
        """Add to a counter of the daemon's own, called `daemon_<name>`.

        Raises:
            ValueError: *amount* is negative or not finite, or *name* is no metric name, taken, or a gauge.
        """
        if not 0 <= amount < math.inf:
            raise ValueError(f"cannot add {amount} to counter {name!r}: counters only grow, by finite steps")
        self._change(name, "counter", help_text, amount, add=True)

    def set(self, name: str, value: float, *, help_text: str = "") -> None:
        """Set a gauge of the daemon's own, called `daemon_<name>`.

        Raises:
            ValueError: *value* is not finite, or *name* is no metric name, taken, or a counter.
        """
        if not math.isfinite(value):
            raise ValueError(f"cannot set gauge {name!r} to {value}: it must be finite")
        self._change(name, "gauge", help_text, value, add=False)

    @property
    def requests_total(self) -> int:
        """Requests so far."""
        return self._requests

    @property
    def errors_total(self) -> int:
        """Errors so far."""
        return self._errors

    @property
    def uptime(self) -> float:
        """Seconds since the start that the process was allowed to run."""
        return max(0.0, self._clock.monotonic() - self._started - self._paused)

    def snapshot(self) -> MetricsSnapshot:
        """All metrics at this moment, consistent with each other."""
        with self._lock:
            count = sum(self._counts)
            uptime = self.uptime
            return MetricsSnapshot(
                requests_total=self._requests,
                requests_per_second=self._requests / uptime if uptime > 0 else 0.0,
                errors_total=self._errors,
                error_rate=self._errors / self._requests if self._requests else 0.0,
                duration_count=count,
                duration_avg_us=int(self._sum / count * 1e6) if count else 0,
                duration_max_us=int(self._max * 1e6),
                duration_p50_us=self._percentile(0.50),
                duration_p99_us=self._percentile(0.99),
                cpu_usage_percent=self._cpu,
                memory_bytes=self._memory,
                open_fds=self._fds,
                thread_count=self._threads,
                circuit_breaker_trips=self._trips,
                successful_recoveries=self._recoveries,
                uptime_secs=uptime,
                paused_secs=self._paused,
                custom={name: value for name, (_, _, value) in self._custom.items()},
            )

    def prometheus(self, daemon: str) -> str:
        """The Prometheus text of all metrics, labelled with the name of the *daemon*."""
        found = self.snapshot()
        label = f'{{daemon="{escaped(daemon)}"}}'
        lines: list[str] = []
        for name, kind, text, value in rows(found):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name}{label} {value}"]
        with self._lock:
            counts, total, custom = list(self._counts), self._sum, dict(self._custom)
        for short, (kind, text, number) in custom.items():
            name = f"daemon_{short}"
            lines += [
                f"# HELP {name} {escaped_help(text) or 'Set by the daemon.'}",
                f"# TYPE {name} {kind}",
                f"{name}{label} {number}",
            ]
        lines += [
            "# HELP daemon_request_duration_seconds Duration of requests.",
            "# TYPE daemon_request_duration_seconds histogram",
        ]
        running = 0
        for bound, count in zip((*BUCKETS, None), counts, strict=True):
            running += count
            le = "+Inf" if bound is None else repr(bound)
            lines.append(
                f'daemon_request_duration_seconds_bucket{{daemon="{escaped(daemon)}",le="{le}"}} {running}'
            )
        lines += [
            f"daemon_request_duration_seconds_sum{label} {total}",
            f"daemon_request_duration_seconds_count{label} {running}",
        ]
        return "\n".join(lines) + "\n"

    def _observe(self, seconds: float) -> None:
        self._sum += seconds
        self._max = max(self._max, seconds)
        self._counts[bisect_left(BUCKETS, seconds)] += 1

    def _percentile(self, share: float) -> int:
        total = sum(self._counts)
        if not total:
            return 0
        wanted, running = share * total, 0
        for bound, count in zip(BUCKETS, self._counts, strict=False):
            running += count
            if running >= wanted:
                return int(min(bound, self._max) * 1e6)
        return int(self._max * 1e6)

    def _change(self, name: str, kind: str, text: str, amount: float, *, add: bool) -> None:
        if not name.isascii() or not name.isidentifier():
            raise ValueError(f"{name!r} cannot be part of a metric's name: use letters, digits and _")
        if f"daemon_{name}" in OWN_NAMES:
            raise ValueError(f"cannot use {name!r} as a metric: daemon_{name} is one of duende's own")
        with self._lock:
            old = self._custom.get(name, (kind, text, 0.0))
            if old[0] != kind:
                raise ValueError(f"cannot use {name!r} as a {kind}: it is a {old[0]}")
            self._custom[name] = (kind, text or old[1], old[2] + amount if add else amount)


def rows(found: MetricsSnapshot) -> tuple[tuple[str, str, str, float], ...]:
    """(name, kind, help, value) of duende's own metrics, as they are exported; durations and what the daemon adds stand apart."""
    return (
        ("daemon_requests_total", "counter", "Requests handled.", found.requests_total),
        ("daemon_errors_total", "counter", "Requests that failed.", found.errors_total),
        (
            "daemon_circuit_breaker_trips_total",
            "counter",
            "Openings of circuit breakers.",
            found.circuit_breaker_trips,
        ),
        ("daemon_recoveries_total", "counter", "Successful recoveries.", found.successful_recoveries),
        ("daemon_uptime_seconds", "gauge", "Seconds running, pauses excluded.", found.uptime_secs),
        ("daemon_paused_seconds", "gauge", "Seconds spent stopped.", found.paused_secs),
        ("daemon_cpu_percent", "gauge", "CPU use; 100 is one core.", found.cpu_usage_percent),
        ("daemon_memory_bytes", "gauge", "Resident memory.", found.memory_bytes),
        ("daemon_open_fds", "gauge", "Open descriptors.", found.open_fds),
        ("daemon_threads", "gauge", "Threads.", found.thread_count),
    )


def _check_seconds(seconds: float) -> None:
    if not 0 <= seconds < math.inf:
        raise ValueError(f"cannot record a duration of {seconds} s: it must be 0 or more, and finite")


def escaped(value: str) -> str:
    """The value of a label as the text format has it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def escaped_help(value: str) -> str:
    """A HELP text as the format has it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n")
