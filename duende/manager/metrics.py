"""What the manager knows of its daemons, as metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from duende.manager.view import DaemonView
from duende.observe.exposition import Family
from duende.states import HealthKind, Phase

HEALTH = {HealthKind.HEALTHY: 1.0, HealthKind.DEGRADED: 1.0, HealthKind.UNHEALTHY: 0.0}
"""Degraded is well enough to go on."""


def families_of(views: Iterable[DaemonView], now: float | None = None, *, trouble: str = "") -> list[Family]:
    """The families of all daemons; *now* is in Unix seconds, *trouble* why the journal cannot be written."""
    found = [(view, {"daemon": view.name}) for view in views]
    at = time.time() if now is None else now

    def family(
        name: str, kind: str, text: str, value: Callable[[DaemonView], float | None], unit: str = ""
    ) -> Family:
        told = ((labels, value(view)) for view, labels in found)
        return Family(
            name, kind, text, tuple((labels, number) for labels, number in told if number is not None), unit
        )

    states = tuple(({"daemon": view.name, "state": view.status.phase.value}, 1) for view, _ in found)
    return [
        Family("duende_daemons", "gauge", "Daemons that the manager knows.", (({}, float(len(found))),)),
        Family(
            "duende_journal_writable",
            "gauge",
            "Whether what the manager must not forget could be written the last time.",
            (({}, float(not trouble)),),
        ),
        family(
            "duende_daemon_up",
            "gauge",
            "Whether it runs.",
            lambda view: float(view.status.phase is Phase.RUNNING),
        ),
        family(
            "duende_daemon_wanted", "gauge", "Whether it should run.", lambda view: float(view.wanted == "up")
        ),
        Family("duende_daemon_state", "gauge", "The state that it is in, as a label; always 1.", states),
        family(
            "duende_daemon_restarts",
            "counter",
            "Restarts since it was registered.",
            lambda view: view.restarts,
        ),
        family(
            "duende_daemon_start_time_seconds",
            "gauge",
            "When it last became running, in Unix time.",
            lambda view: view.since,
            "seconds",
        ),
        family(
            "duende_daemon_uptime_seconds",
            "gauge",
            "How long it has been running.",
            lambda view: (
                max(0.0, at - view.since)
                if view.since is not None and view.status.phase is Phase.RUNNING
                else None
            ),
            "seconds",
        ),
        family(
            "duende_daemon_healthy",
            "gauge",
            "Whether its last health check passed; nothing where none was made.",
            lambda view: HEALTH[view.health.kind] if view.health is not None else None,
        ),
        family(
            "duende_daemon_pid", "gauge", "Its main process; 0 while there is none.", lambda view: view.pid
        ),
    ]
