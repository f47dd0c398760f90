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
        limits, violations = self.config, []
        if found.complexity and found.max_complexity > limits.max_complexity:
            for each in found.complexity:
                if each.value > limits.max_complexity:
                    said = f"{each.what} has complexity {each.value:.0f}, at most {limits.max_complexity} are allowed"
                    violations.append(
                        Violation(
                            key="max_complexity",
                            actual=each.value,
                            threshold=limits.max_complexity,
                            location=each.place,
                            message=said,
                        )
                    )
        if len(found.satd) > limits.satd_tolerance:
            said = f"{len(found.satd)} admitted debts, {limits.satd_tolerance} are tolerated, the first: {found.satd[0].what}"
            violations.append(
                Violation(
                    key="satd_tolerance",
                    actual=len(found.satd),
                    threshold=limits.satd_tolerance,
                    location=found.satd[0].place,
                    message=said,
                )
            )
        if found.dead_percent > limits.dead_code_max_percent:
            worst = max(found.dead, key=lambda each: each.value)
            said = (
                f"{found.dead_percent:.1f} % of the code is dead, at most {limits.dead_code_max_percent:g} % may be, "
                f"the largest part: {worst.what}"
            )
            violations.append(
                Violation(
                    key="dead_code_max_percent",
                    actual=found.dead_percent,
                    threshold=limits.dead_code_max_percent,
                    location=worst.place,
                    message=said,
                )
            )
        score = found.score
        if score < limits.min_quality_score:
            said = f"the score is {score:.1f}, at least {limits.min_quality_score:g} are asked for"
            violations.append(
                Violation(
                    key="min_quality_score", actual=score, threshold=limits.min_quality_score, message=said
                )
            )
        return QualityReport(name=name, measures=found, score=score, violations=tuple(violations))
