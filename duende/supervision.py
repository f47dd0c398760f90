"""The words around supervising one daemon: wishes, events, and who starts it."""

from __future__ import annotations

import enum
import os
from typing import TYPE_CHECKING, Protocol

import msgspec

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind
from duende.kernel.process import start_time
from duende.restart import RestartState
from duende.states import DaemonStatus, HealthStatus

if TYPE_CHECKING:
    from duende.supervisor import Supervisor

NONE_SENT: frozenset[int] = frozenset()
"""No signal was sent by an operator. One for all: a thousand daemons would have a thousand empty sets."""


class Wish(enum.Enum):
    """What the operator wants."""

    UP = "up"
    DOWN = "down"


class SupervisorEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to the daemon."""

    name: str
    kind: str
    """starting, running, paused, resumed, stopping, stopped, exited, failed, restarting, restarted, gave-up, health, log-lost, status, alert,
    out-of-memory."""
    detail: str = ""
    status: DaemonStatus
    pid: int = 0
    at: float = 0.0
    """Unix seconds."""


class Launcher(Protocol):
    """Starts daemons; answers by `Supervisor.launched`."""

    def request_launch(self, supervisor: Supervisor) -> None:
        """Start it soon, together with others that ask in this turn of the loop."""
        ...


def health_of(event: AdapterEvent) -> HealthStatus | None:
    """The verdict in the report of a platform that checks health itself; None in any other report."""
    if event.kind is EventKind.HEALTHY:
        return HealthStatus.healthy()
    return HealthStatus.unhealthy(event.detail) if event.kind is EventKind.UNHEALTHY else None


def restarted(
    handle: DaemonHandle, state: RestartState, event: AdapterEvent
) -> tuple[DaemonHandle, RestartState]:
    """Handle and count after the platform restarted the daemon by itself (`restart.delegate`)."""
    return (
        msgspec.structs.replace(handle, pid=event.pid, start_time=start_time(event.pid) if event.pid else 0),
        msgspec.structs.replace(state, total=state.total + 1),
    )


def spread() -> float:
    """A random number in [0, 1) for the jitter of restarts."""
    return int.from_bytes(os.urandom(4), "big") / 2**32
