"""What the manager says of a daemon."""

from __future__ import annotations

from typing import Any

import msgspec

from duende.states import DaemonStatus, HealthStatus, ProcessExit
from duende.supervisor import Supervisor


class DaemonView(msgspec.Struct, frozen=True, kw_only=True):
    """One daemon at one moment."""

    name: str
    daemon_id: str
    status: DaemonStatus
    pid: int
    """Main process, 0 while none is alive."""
    restarts: int
    """Since it was registered."""
    wanted: str
    """"up" or "down": what the operator asked for."""
    since: float | None
    """Unix seconds of the last time it became Running."""
    next_restart_in: float | None
    """Seconds until a planned restart."""
    last_exit: ProcessExit | None
    health: HealthStatus | None
    note: str
    version: str
    description: str

    def to_wire(self) -> dict[str, Any]:
        """Plain values for JSON; `status` is the phase's name, `reason` says why it is Failed."""
        return {
            "name": self.name,
            "id": self.daemon_id,
            "status": self.status.phase.value,
            "reason": str(self.status.reason) if self.status.reason else None,
            "pid": self.pid,
            "restarts": self.restarts,
            "wanted": self.wanted,
            "since": self.since,
            "next_restart_in": self.next_restart_in,
            "last_exit": str(self.last_exit) if self.last_exit else None,
            "exit_code": self.last_exit.code if self.last_exit else None,
            "exit_signal": self.last_exit.signal if self.last_exit else None,
            "health": self.health.kind.value if self.health else None,
            "health_reason": self.health.reason if self.health else None,
            "note": self.note,
            "version": self.version,
            "description": self.description,
        }


def view_of(supervisor: Supervisor, now: float) -> DaemonView:
    """The present view of one daemon; *now* is monotonic."""
    planned = supervisor.next_restart_at
    return DaemonView(
        name=supervisor.name,
        daemon_id=supervisor.daemon_id,
        status=supervisor.status,
        pid=supervisor.pid,
        restarts=supervisor.restart_state.total,
        wanted=supervisor.wish.value,
        since=supervisor.started_at,
        next_restart_in=None if planned is None else max(0.0, planned - now),
        last_exit=supervisor.last_exit,
        health=supervisor.health,
        note=supervisor.note,
        version=supervisor.config.version,
        description=supervisor.config.description,
    )
