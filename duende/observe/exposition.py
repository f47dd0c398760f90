"""Metrics as text: Prometheus exposition format 0.0.4, and OpenMetrics 1.0.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/). Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import msgspec

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
KINDS = ("counter", "gauge")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_VALUE_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


class Family(msgspec.Struct, frozen=True):
    """All samples of one metric."""

    name: str
    """Without the suffix `_total` of a counter."""
    kind: str
    help: str
    samples: tuple[tuple[Mapping[str, str], float], ...]
    """(labels, value)."""
    unit: str = ""
    """In base units; the name ends with it."""

    def __post_init__(self) -> None:
        """Refuse what could not be read again.

        Raises:
            ValueError: a name, a label, the kind or the unit is none.
        """
        if _NAME.fullmatch(self.name) is None or self.name.endswith("_total"):
            raise ValueError(f"{self.name!r} is no name of a family of metrics")
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no kind of metric: use one of {', '.join(KINDS)}")
        if self.unit and not self.name.endswith(f"_{self.unit}"):
            raise ValueError(f"{self.name!r} does not end with its unit {self.unit!r}")
        for labels, value in self.samples:
            for label in labels:
                if _LABEL.fullmatch(label) is None:
                    raise ValueError(f"{label!r} of {self.name!r} is no name of a label")
            if self.kind == "counter" and not value >= 0:
                raise ValueError(f"{value} of {self.name!r} is nothing that was counted")


def prometheus(families: Iterable[Family]) -> str:
    """The text that every Prometheus reads."""
    lines: list[str] = []
    for family in families:
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        lines.append(f"# HELP {name} {family.help.translate(_HELP_ESCAPES)}")
        lines.append(f"# TYPE {name} {family.kind}")
        lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in family.samples]
    return "".join(f"{line}\n" for line in lines)


def openmetrics(families: Iterable[Family]) -> str:
    """The text that says units too, and where it ends."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# TYPE {family.name} {family.kind}")
        if family.unit:
            lines.append(f"# UNIT {family.name} {family.unit}")
        lines.append(f"# HELP {family.name} {family.help.translate(_VALUE_ESCAPES)}")
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in family.samples]
    return "".join(f"{line}\n" for line in (*lines, "# EOF"))


def negotiated(families: Iterable[Family], accept: str) -> tuple[str, str]:
    """(content type, text) by what a client says that it takes, its `Accept` header."""
    if "application/openmetrics-text" in accept:
        return OPENMETRICS, openmetrics(families)
    return PROMETHEUS, prometheus(families)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return (
        "{" + ",".join(f'{name}="{value.translate(_VALUE_ESCAPES)}"' for name, value in labels.items()) + "}"
    )


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
