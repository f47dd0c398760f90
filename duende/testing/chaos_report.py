"""What chaos did and what it led to, as a value."""

from __future__ import annotations

from typing import Self

import msgspec

from duende.testing.dice import Draws
from duende.testing.faults import Effect
from duende.testing.load import LoadReport
from duende.testing.proxy import Seen


class FaultRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One fault that was made, or could not be."""

    kind: str
    at: float
    """Seconds from the start of the chaos."""
    lasted: float
    """Seconds it was on."""
    effect: Effect
    undone: bool
    """Whether nothing of it is left for certain."""


class ChaosReport(msgspec.Struct, frozen=True, kw_only=True):
    """A chaos run. The figures of before, during and after are there when `ChaosInjector.run` measured them."""

    seed: int
    lasted: float
    """Seconds of chaos."""
    planned: int
    """Episodes of the schedule; with fewer faults than that, it was stopped early."""
    faults: tuple[FaultRecord, ...] = ()
    draws: dict[str, Draws] = {}
    """Of the faults that happen to single operations, by kind."""
    proxy: Seen | None = None
    """What the proxy did; None without a port."""
    restarts: int | None = None
    """How often the daemon was restarted since its start; None where nobody counts."""
    before: LoadReport | None = None
    during: LoadReport | None = None
    after: LoadReport | None = None
    recovery_time: float | None = None
    """Seconds from the end of the chaos to the first of three operations in a row that worked; None if there were none, or nothing was measured."""

    @property
    def took_effect(self) -> bool:
        """Whether something was injected, and every fault that was made proved it. False is a chaos test that tested nothing."""
        hits = sum(each.fired for each in self.draws.values())
        return all(each.effect.took for each in self.faults) and (bool(self.faults) or hits > 0)

    @property
    def all_undone(self) -> bool:
        """Whether nothing of any fault is left."""
        return all(each.undone for each in self.faults)

    @property
    def error_rate_increase(self) -> float:
        """Error rate during the chaos less that before; 0 when nothing was measured."""
        if self.before is None or self.during is None:
            return 0.0
        return self.during.error_rate - self.before.error_rate

    def to_json(self) -> str:
        """The report as JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote."""
        return msgspec.json.decode(text, type=cls)

    def table(self) -> str:
        """The report for a terminal."""
        rows = [
            f"chaos with seed {self.seed}: {len(self.faults)} of {self.planned} faults in {self.lasted:.2f} s"
        ]
        for each in self.faults:
            took = "took effect" if each.effect.took else "TOOK NO EFFECT"
            left = "undone" if each.undone else "NOT UNDONE"
            rows.append(
                f"  {each.at:7.2f} s {each.kind:<8}{each.lasted:6.2f} s  {took}: {each.effect.figure:g} {each.effect.unit}"
                f" {each.effect.detail}; {left}"
            )
        for kind, draws in self.draws.items():
            rows.append(
                f"  {kind:<8} fired in {draws.fired} of {draws.draws} draws, {draws.rate:.1%} of {draws.probability:.1%} wanted"
            )
        if self.proxy is not None and self.proxy.waits.count:
            rows.append(
                f"  {self.proxy.waits.count} operations held back, {self.proxy.waits.p50_ms:.0f} ms in the median"
            )
        for name, load in (("before", self.before), ("during", self.during), ("after", self.after)):
            if load is not None:
                rows.append(
                    f"  {name:<8} {load.error_rate:7.2%} errors of {load.operations}, p50 {load.latency.p50_ms:.1f} ms,"
                    f" p99 {load.latency.p99_ms:.1f} ms"
                )
        if self.after is not None:
            rows.append(
                f"  recovered after {self.recovery_time:.2f} s"
                if self.recovery_time is not None
                else "  NOT RECOVERED"
            )
        return "\n".join(rows)
