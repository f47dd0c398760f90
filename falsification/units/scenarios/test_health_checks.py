"""The checkers of ill health turn false on bad histories, true on good ones, and are vacuous where nobody was ill."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from falsification.units.scenarios.test_checks import Entry, event, history, op, seen
from fixtures.lease import Reaper
from scenarios.checks import Checker, Verdict, check, health
from scenarios.faults.base import NoEffectError
from scenarios.faults.health import IllHealth

NO_REAPER = cast("Reaper", None)


def ill(at: float, kind: str = "ill") -> list[Entry]:
    """The nemesis makes d ill."""
    return op("inject", {"fault": kind}, at=at, took=0.1, by="nemesis", end={"fault": kind, "proof": "p"})


def restarting(at: float) -> Entry:
    """The policy acts."""
    return event("restarting", "Failed", at)


def told(verdict: str | None, at: float = 0.0) -> list[Entry]:
    """A client asks."""
    return op("status", {"name": "d"}, at=at, end={"name": "d", "status": "Running", "health": verdict})


VERDICT = event("health", "Running", 1.0)
STARTING = event("starting", "Starting", 2.0)
ONCE = health.one_restart_for_each_illness("d", 2.0, 2)
AFRESH = health.starts_afresh("d", 2)
ALONE = health.runtime_left_it_alone("d")


@pytest.mark.parametrize(
    ("checker", "entries", "verdict"),
    [
        (ONCE, [*ill(1.0), restarting(2.0), *ill(3.0), restarting(4.0)], Verdict.TRUE),
        (ONCE, [*ill(1.0), restarting(2.0)], Verdict.UNKNOWN),
        (ONCE, [*ill(1.0), restarting(2.0), restarting(2.5), *ill(3.0), restarting(4.0)], Verdict.FALSE),
        (ONCE, [*ill(1.0), restarting(2.0), *ill(3.0)], Verdict.FALSE),
        (ONCE, [restarting(0.5), *ill(1.0), restarting(2.0), *ill(3.0), restarting(4.0)], Verdict.FALSE),
        (ONCE, [*ill(1.0), restarting(2.0), *ill(3.0), restarting(9.0)], Verdict.FALSE),
        (AFRESH, [VERDICT, *told("Unhealthy"), STARTING, *told(None), *told("Healthy")], Verdict.TRUE),
        (AFRESH, [VERDICT, STARTING, *told(None), *told("Unhealthy")], Verdict.FALSE),
        (AFRESH, [VERDICT, STARTING, *told(None), *told(None), VERDICT, *told("Unhealthy")], Verdict.TRUE),
        (AFRESH, [VERDICT, STARTING, *told(None)], Verdict.UNKNOWN),
        (AFRESH, [STARTING, *told(None), *told(None)], Verdict.UNKNOWN),
        (ALONE, [seen("runtime", name="d", policy="no", restarts=0)], Verdict.TRUE),
        (ALONE, [seen("runtime", name="d", policy="always", restarts=0)], Verdict.FALSE),
        (ALONE, [seen("runtime", name="d", policy="no", restarts=1)], Verdict.FALSE),
        (ALONE, [seen("runtime", name="other", policy="always", restarts=1)], Verdict.UNKNOWN),
    ],
)
def test_checkers_of_health(checker: Checker, entries: Sequence[Any], verdict: Verdict) -> None:
    """One restart for each illness, no inherited verdict, and no restart by the runtime."""
    found = check(checker, history(*entries))
    assert found.verdict is verdict, found.why


@pytest.mark.parametrize("kind", ["ill", "stuck"])
def test_ill_health_is_proven_by_the_check_itself(tmp_path: Path, kind: str) -> None:
    """The fault takes effect where the check fails or hangs; a cure is told from none."""
    mood = tmp_path / "mood"
    mood.write_text("well")
    fault = IllHealth(mood, kind, 0.2)

    async def work() -> None:
        assert ("hangs" in await fault.inject(NO_REAPER, 0)) is (kind == "stuck")
        assert "nobody cured it" in await fault.heal()
        assert mood.read_text() == "well"
        assert await fault.heal() == "it was cured"
        with pytest.raises(NoEffectError):
            await IllHealth(mood, "well", 0.2).inject(NO_REAPER, 0)

    asyncio.run(work())
