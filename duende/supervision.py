"""The words around supervising one daemon: wishes, events, and who starts it."""

from __future__ import annotations

import asyncio
import enum
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind
from duende.clock import Clock
from duende.config.model import DaemonConfig
from duende.kernel.process import start_time
from duende.restart import RestartState
from duende.states import DaemonStatus, FailureReason, HealthStatus, Phase

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


class Telling:
    """What a supervisor says of itself: to those who listen, and to those who wait for it to be ready."""

    __slots__ = ("_clock", "_emit_event", "_waiting", "config", "handle", "health", "status")
    config: DaemonConfig
    handle: DaemonHandle | None
    health: HealthStatus | None
    status: DaemonStatus
    _clock: Clock
    _emit_event: Callable[[SupervisorEvent], None]
    _waiting: tuple[asyncio.Future[None], ...]

    @property
    def name(self) -> str:
        """The daemon's name."""
        return self.config.name

    @property
    def pid(self) -> int:
        """Main process, 0 while none is alive."""
        return self.handle.pid if self.handle is not None and not self.status.is_terminal else 0

    def _to(self, phase: Phase, kind: str, detail: str = "", reason: FailureReason | None = None) -> None:
        if phase in (Phase.STARTING, Phase.STOPPED, Phase.FAILED):
            self.health = None  # a verdict is about one instance
        if self.status.phase is phase and phase in (Phase.STOPPED, Phase.FAILED):
            self.status = DaemonStatus(phase, reason or self.status.reason)
        else:
            self.status = self.status.to(phase, reason)
        self._emit(kind, detail)

    def _emit(self, kind: str, detail: str) -> None:
        self._emit_event(
            SupervisorEvent(
                name=self.name,
                kind=kind,
                detail=detail,
                status=self.status,
                pid=self.pid,
                at=self._clock.wall(),
            )
        )

    def _release(self, error: Exception | None) -> None:
        waiting, self._waiting = self._waiting, ()
        for future in waiting:
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)


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
