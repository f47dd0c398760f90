"""The quality gate: measures against thresholds."""

from __future__ import annotations

import msgspec

from duende.config.model import DaemonConfig, QualityConfig
from duende.policy.quality.measures import Measures, measure
from duende.policy.quality.sources import sources_of


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold that the code is beyond."""

    key: str
    """The threshold, as in `[quality]`."""
    actual: float
    threshold: float
    location: str = ""
    """`file:line` of the worst place."""
    message: str

    def __str__(self) -> str:
        return f"{self.location}: {self.message}" if self.location else self.message


class QualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate found."""

    name: str
    measures: Measures
    score: float
    violations: tuple[Violation, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing is beyond a threshold."""
        return not self.violations


class QualityGate:
    """Judges code by thresholds."""

    def __init__(self, config: QualityConfig | None = None) -> None:
        """With the thresholds of *config*, or the default ones."""
        self.config = config or QualityConfig()

    def analyze(self, daemon: DaemonConfig) -> QualityReport:
        """Read and judge the code of *daemon*.

        Raises:
            ConfigError: there is no code to judge.
            NotSupportedError: what measures it is not installed.
        """
        used = [daemon.daemon.rpartition(":")[2]] if daemon.daemon is not None else []
        return self.judge(daemon.name, measure(sources_of(daemon), used=used))

    def judge(self, name: str, found: Measures) -> QualityReport:
        """Judge measures; being exactly at a threshold is no violation."""
        limits = self.config
        violations: list[Violation] = []

        def beyond(key: str, actual: float, message: str, location: str = "") -> None:
            threshold = getattr(limits, key)
            violations.append(
                Violation(key=key, actual=actual, threshold=threshold, location=location, message=message)
            )

        for each in found.complexity:
            if each.value > limits.max_complexity:
                said = f"{each.what} has complexity {each.value:.0f}, at most {limits.max_complexity} are allowed"
                beyond("max_complexity", each.value, said, each.place)
        if len(found.satd) > limits.satd_tolerance:
            said = f"{len(found.satd)} admitted debts, {limits.satd_tolerance} are tolerated, the first: {found.satd[0].what}"
            beyond("satd_tolerance", len(found.satd), said, found.satd[0].place)
        if found.dead_percent > limits.dead_code_max_percent:
            worst = max(found.dead, key=lambda each: each.value)
            said = (
                f"{found.dead_percent:.1f} % of the code is dead, at most {limits.dead_code_max_percent:g} % may be, "
                f"the largest part: {worst.what}"
            )
            beyond("dead_code_max_percent", found.dead_percent, said, worst.place)
        score = found.score
        if score < limits.min_quality_score:
            said = f"the score is {score:.1f}, at least {limits.min_quality_score:g} are asked for"
            beyond("min_quality_score", score, said)
        return QualityReport(name=name, measures=found, score=score, violations=tuple(violations))
