"""Metrics as text: Prometheus exposition format 0.0.4, and OpenMetrics 1.0.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/). Pure."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping

import msgspec

from duende.metrics import escaped, escaped_help

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
KINDS = ("counter", "gauge")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


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
        for label in {label for labels, _ in self.samples for label in labels}:
            if _LABEL.fullmatch(label) is None:
                raise ValueError(f"{label!r} of {self.name!r} is no name of a label")
        if self.kind == "counter":
            for _, value in self.samples:
                if not value >= 0:
                    raise ValueError(f"{value} of {self.name!r} is nothing that was counted")


def prometheus(families: Iterable[Family]) -> str:
    """The text that every Prometheus reads."""
    lines: list[str] = []
    labelled = _Labelled()
    for family in list(families):
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        lines.append(f"# HELP {name} {escaped_help(family.help)}")
        lines.append(f"# TYPE {name} {family.kind}")
        lines += [f"{name}{labelled.text(labels)} {_number(value)}" for labels, value in family.samples]
    return "".join(f"{line}\n" for line in lines)


def openmetrics(families: Iterable[Family]) -> str:
    """The text that says units too, and where it ends."""
    lines: list[str] = []
    labelled = _Labelled()
    for family in list(families):
        lines.append(f"# TYPE {family.name} {family.kind}")
        if family.unit:
            lines.append(f"# UNIT {family.name} {family.unit}")
        lines.append(f"# HELP {family.name} {escaped(family.help)}")
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        lines += [f"{name}{labelled.text(labels)} {_number(value)}" for labels, value in family.samples]
    return "".join(f"{line}\n" for line in (*lines, "# EOF"))


def negotiated(families: Iterable[Family], accept: str) -> tuple[str, str]:
    """(content type, text) by what a client says that it takes, its `Accept` header."""
    if "application/openmetrics-text" in accept:
        return OPENMETRICS, openmetrics(families)
    return PROMETHEUS, prometheus(families)


@functools.lru_cache(maxsize=4096)
def _escaped(value: str) -> str:
    """A value of a label; the same few thousand come again and again."""
    return escaped(value)


class _Labelled:
    """The text of labels, written once for all families that share them: of a thousand daemons most of the time goes there."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def text(self, labels: Mapping[str, str]) -> str:
        """In braces; nothing without labels. The families hold the labels, so that their identity is theirs as long as this lives."""
        found = self._known.get(id(labels))
        if found is None:
            inside = ",".join([f'{name}="{_escaped(value)}"' for name, value in labels.items()])
            found = self._known[id(labels)] = f"{{{inside}}}" if inside else ""
        return found


def _number(value: float) -> str:
    if value.__class__ is int or value in (0.0, 1.0):
        return str(int(value))
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
