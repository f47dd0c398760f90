"""Figures: what an attempt measured, against what it had to be, with every sample kept."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
"""The relations a figure may have to its threshold."""


class FigureError(Exception):
    """A figure cannot be formed: no samples, not a number, an unknown statistic. The attempt is broken, not
    the claim.
    """


def percentile(samples: Sequence[float], rank: float) -> float:
    """The *rank*-th percentile (0-100) by nearest rank: always a sample that was really measured, never an
    interpolation.

    Raises:
        FigureError: there are no samples.
    """
    if not samples:
        raise FigureError("cannot take a percentile of no samples")
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(rank / 100 * len(ordered)) - 1)]


def _only(samples: Sequence[float]) -> float:
    if len(samples) != 1:
        raise FigureError(f"{len(samples)} samples need a statistic (max, p99, ...)")
    return samples[0]


STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "only": _only,
    "min": min,
    "max": max,
    "sum": math.fsum,
    "mean": lambda samples: math.fsum(samples) / len(samples),
    "p50": lambda samples: percentile(samples, 50),
    "p90": lambda samples: percentile(samples, 90),
    "p95": lambda samples: percentile(samples, 95),
    "p99": lambda samples: percentile(samples, 99),
    "count": lambda samples: float(len(samples)),
}
"""How samples become the one value that is judged. "only" stands for a single sample."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure."""

    name: str
    """What was measured, in words."""
    value: float
    """The value that is judged."""
    unit: str
    """Its unit: ms, s, %, or a noun for counts."""
    relation: str | None
    """What it has to be to its threshold; None for a figure recorded for the reader only."""
    threshold: float | None
    """The threshold, in the same unit."""
    samples: tuple[float, ...]
    """Everything the value was taken from, in the order measured."""
    statistic: str
    """How the value came from the samples."""

    @classmethod
    def of(
        cls,
        name: str,
        samples: float | Sequence[float],
        *,
        unit: str,
        relation: str | None = None,
        threshold: float | None = None,
        statistic: str = "only",
    ) -> Figure:
        """Reduce *samples* by *statistic*.

        Raises:
            FigureError: no samples, a sample that is not finite, an unknown relation or statistic, or a
            relation without threshold.
        """
        kept = (
            (float(samples),)
            if isinstance(samples, (int, float))
            else tuple(float(sample) for sample in samples)
        )
        if not kept:
            raise FigureError(f"figure {name!r} has no samples")
        if not all(math.isfinite(sample) for sample in kept):
            raise FigureError(f"figure {name!r} has a sample that is not a finite number")
        if (relation is None) != (threshold is None):
            raise FigureError(f"figure {name!r} needs relation and threshold together, or neither")
        if relation is not None and relation not in RELATIONS:
            raise FigureError(
                f"figure {name!r} has the unknown relation {relation!r}; known: {', '.join(RELATIONS)}"
            )
        if statistic not in STATISTICS:
            raise FigureError(
                f"figure {name!r} has the unknown statistic {statistic!r}; known: {', '.join(STATISTICS)}"
            )
        value = STATISTICS[statistic](kept)
        return cls(
            name=name,
            value=value,
            unit=unit,
            relation=relation,
            threshold=None if threshold is None else float(threshold),
            samples=kept,
            statistic=statistic,
        )

    @property
    def holds(self) -> bool:
        """Whether the value is as claimed; a figure without threshold always is."""
        return holds(self.value, self.relation, self.threshold)

    @property
    def label(self) -> str:
        """The name with its statistic: "termination (max)"."""
        return self.name if self.statistic == "only" else f"{self.name} ({self.statistic})"

    def __str__(self) -> str:
        text = f"{self.label} = {quantity(self.value, self.unit)}"
        if self.relation is None or self.threshold is None:
            return text
        wanted = f"{self.relation} {quantity(self.threshold, self.unit)}"
        return f"{text}, {'as claimed' if self.holds else 'not'} {wanted}"

    def to_json(self) -> dict[str, Any]:
        """The shape of verdicts.json."""
        return {
            "name": self.label,
            "value": self.value,
            "unit": self.unit,
            "relation": self.relation,
            "threshold": self.threshold,
            "samples": list(self.samples),
        }


def holds(value: float, relation: str | None, threshold: float | None) -> bool:
    """Whether *value* stands in *relation* to *threshold*; without a relation there is nothing to fail."""
    if relation is None or threshold is None:
        return True
    return RELATIONS[relation](value, threshold)


def quantity(value: float, unit: str) -> str:
    """A value as people write it: "9.41 ms", "100 daemons"."""
    if value == int(value) and abs(value) < 1e9:
        number = str(int(value))
    else:
        number = f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"
    return f"{number} {unit}" if unit else number
