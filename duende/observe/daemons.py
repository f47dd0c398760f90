"""A daemon's own metrics as families, for exporters that read no text."""

from __future__ import annotations

from duende.metrics import DaemonMetrics
from duende.observe.exposition import Family


def families_of(metrics: DaemonMetrics, daemon: str) -> list[Family]:
    """Everything in *metrics*, labelled with the name of the *daemon*; the names are those of the Prometheus text."""
    found = metrics.snapshot()
    labels = {"daemon": daemon}

    def one(name: str, kind: str, text: str, value: float, unit: str = "") -> Family:
        return Family(f"daemon_{name}", kind, text, ((labels, float(value)),), unit)

    families = [
        one("requests", "counter", "Requests handled.", found.requests_total),
        one("errors", "counter", "Requests that failed.", found.errors_total),
        one("circuit_breaker_trips", "counter", "Openings of circuit breakers.", found.circuit_breaker_trips),
        one("recoveries", "counter", "Successful recoveries.", found.successful_recoveries),
        one("uptime_seconds", "gauge", "Seconds running, pauses excluded.", found.uptime_secs, "seconds"),
        one("paused_seconds", "gauge", "Seconds spent stopped.", found.paused_secs, "seconds"),
        one("memory_bytes", "gauge", "Resident memory.", found.memory_bytes, "bytes"),
        one("open_fds", "gauge", "Open descriptors.", found.open_fds),
        one("threads", "gauge", "Threads.", found.thread_count),
        one(
            "request_duration_p99_seconds",
            "gauge",
            "99th percentile of durations.",
            found.duration_p99_us / 1e6,
            "seconds",
        ),
    ]
    return families + [
        one(name.removesuffix("_total"), "gauge", "Set by the daemon.", value)
        for name, value in found.custom.items()
    ]
