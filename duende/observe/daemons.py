"""A daemon's own metrics as families, for exporters that read no text."""

from __future__ import annotations

from duende.metrics import DaemonMetrics, rows
from duende.observe.exposition import Family


def families_of(metrics: DaemonMetrics, daemon: str) -> list[Family]:
    """Everything in *metrics*, labelled with the name of the *daemon*; the names are those of the Prometheus text."""
    found = metrics.snapshot()
    labels = {"daemon": daemon}

    def one(name: str, kind: str, text: str, value: float, unit: str = "") -> Family:
        return Family(f"daemon_{name}", kind, text, ((labels, float(value)),), unit)

    families = [
        one(name.removeprefix("daemon_").removesuffix("_total"), kind, text, value, unit_of(name))
        for name, kind, text, value in rows(found)
    ]
    families.append(
        one(
            "request_duration_p99_seconds",
            "gauge",
            "99th percentile of durations.",
            found.duration_p99_us / 1e6,
            "seconds",
        )
    )
    return families + [
        one(name.removesuffix("_total"), "gauge", "Set by the daemon.", value)
        for name, value in found.custom.items()
    ]


def unit_of(name: str) -> str:
    """The base unit that a name ends with, empty for others."""
    last = name.rpartition("_")[2]
    return last if last in ("seconds", "bytes") else ""
