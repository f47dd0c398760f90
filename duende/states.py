"""What a daemon is doing, how it ended and how well it is: values, and the one transition table.

No I/O here. Anything not in `TRANSITIONS` is illegal and raises.
"""

from __future__ import annotations

import enum
import signal as signals
from typing import Any

import msgspec

from duende.errors import SerializationError, TransitionError
from duende.signals import Signal, signal_name


class Phase(enum.Enum):
    """The seven states; the value is the name people see."""

    CREATED = "Created"
    STARTING = "Starting"
    RUNNING = "Running"
    PAUSED = "Paused"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    FAILED = "Failed"


TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.CREATED: frozenset({Phase.STARTING, Phase.STOPPED}),
    Phase.STARTING: frozenset({Phase.RUNNING, Phase.STOPPING, Phase.STOPPED, Phase.FAILED}),
    Phase.RUNNING: frozenset({Phase.PAUSED, Phase.STOPPING, Phase.STOPPED, Phase.FAILED}),
    Phase.PAUSED: frozenset({Phase.RUNNING, Phase.STOPPING, Phase.STOPPED, Phase.FAILED}),
    Phase.STOPPING: frozenset({Phase.STOPPED, Phase.FAILED}),
    Phase.STOPPED: frozenset({Phase.STARTING}),
    Phase.FAILED: frozenset({Phase.STARTING, Phase.STOPPED}),
}
"""From each phase to the phases that may follow. Stopped and Failed are left only by a new start, Failed also by an operator's stop."""


class FailureKind(enum.Enum):
    """Why a daemon is Failed."""

    SIGNAL = "Signal"
    EXIT_CODE = "ExitCode"
    RESOURCE_EXHAUSTED = "ResourceExhausted"
    POLICY_VIOLATION = "PolicyViolation"
    HEALTH_CHECK_TIMEOUT = "HealthCheckTimeout"
    START = "Start"
    GAVE_UP = "GaveUp"
    INTERNAL = "Internal"


class FailureReason(msgspec.Struct, frozen=True):
    """A failure: its kind, the signal number or exit code where the kind has one, and a sentence."""

    kind: FailureKind
    value: int = 0
    detail: str = ""

    def __str__(self) -> str:
        if self.kind is FailureKind.SIGNAL:
            text = f"killed by {signal_name(self.value)}"
        elif self.kind is FailureKind.EXIT_CODE:
            text = f"exit code {self.value}"
        elif self.kind is FailureKind.GAVE_UP:
            text = "gave up"
        else:
            text = self.kind.value
        return f"{text}: {self.detail}" if self.detail else text


class DaemonStatus(msgspec.Struct, frozen=True):
    """A phase, with the reason when it is Failed. Compare `status.phase` or the constants of the class."""

    phase: Phase
    reason: FailureReason | None = None

    @classmethod
    def failed(cls, reason: FailureReason) -> DaemonStatus:
        """Failed, for that *reason*."""
        return cls(Phase.FAILED, reason)

    @property
    def is_terminal(self) -> bool:
        """Stopped or Failed: nothing of the daemon runs."""
        return self.phase in (Phase.STOPPED, Phase.FAILED)

    @property
    def is_active(self) -> bool:
        """Running or Paused."""
        return self.phase in (Phase.RUNNING, Phase.PAUSED)

    @property
    def can_signal(self) -> bool:
        """Whether a signal reaches somebody: Starting, Running, Paused or Stopping."""
        return self.phase in (Phase.STARTING, Phase.RUNNING, Phase.PAUSED, Phase.STOPPING)

    def to(self, phase: Phase, reason: FailureReason | None = None) -> DaemonStatus:
        """The status after a transition.

        Raises:
            TransitionError: `TRANSITIONS` does not have it.
        """
        if phase not in TRANSITIONS[self.phase]:
            legal = ", ".join(sorted(p.value for p in TRANSITIONS[self.phase]))
            raise TransitionError(
                f"cannot go from {self.phase.value} to {phase.value}", remedy=f"legal: {legal}"
            )
        return PLAIN[phase] if reason is None else DaemonStatus(phase, reason)

    def __str__(self) -> str:
        return f"Failed ({self.reason})" if self.reason else self.phase.value

    def to_json(self) -> object:
        """The wire form: `"Running"`, or externally tagged `{"Failed": {"ExitCode": 1}}`."""
        if self.reason is None:
            return self.phase.value
        kind = self.reason.kind
        body: object = (
            {kind.value: self.reason.value}
            if kind in (FailureKind.SIGNAL, FailureKind.EXIT_CODE)
            else kind.value
        )
        return (
            {self.phase.value: body, "detail": self.reason.detail}
            if self.reason.detail
            else {self.phase.value: body}
        )

    @classmethod
    def from_json(cls, data: Any) -> DaemonStatus:
        """Read what `to_json` wrote.

        Raises:
            SerializationError: it is something else.
        """
        try:
            if isinstance(data, str):
                return cls(Phase(data))
            body, detail = data["Failed"], data.get("detail", "")
            if isinstance(body, str):
                return cls.failed(FailureReason(FailureKind(body), 0, detail))
            ((kind, value),) = body.items()
            return cls.failed(FailureReason(FailureKind(kind), int(value), detail))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise SerializationError(f"cannot read {data!r} as a daemon status") from error


PLAIN = {phase: DaemonStatus(phase) for phase in Phase}
"""The status of each phase without a reason, one for all daemons."""


class ExitKind(enum.Enum):
    """How `run` ended, as the daemon itself says."""

    GRACEFUL = "Graceful"
    SIGNAL = "Signal"
    ERROR = "Error"
    RESOURCE_EXHAUSTED = "ResourceExhausted"
    POLICY_VIOLATION = "PolicyViolation"


class ExitReason(msgspec.Struct, frozen=True):
    """What `Daemon.run` returns; the host turns it into the exit code documented in `duende.host`."""

    kind: ExitKind
    detail: str = ""
    signal: Signal | None = None

    @classmethod
    def graceful(cls) -> ExitReason:
        """Done, nothing wrong."""
        return cls(ExitKind.GRACEFUL)

    @classmethod
    def by_signal(cls, signal: Signal) -> ExitReason:
        """Ended because of that *signal*."""
        return cls(ExitKind.SIGNAL, signal.value, signal)

    @classmethod
    def error(cls, detail: str) -> ExitReason:
        """Ended by an error, in words."""
        return cls(ExitKind.ERROR, detail)

    @classmethod
    def resource_exhausted(cls, detail: str) -> ExitReason:
        """Ended because a resource ran out, in words."""
        return cls(ExitKind.RESOURCE_EXHAUSTED, detail)

    @classmethod
    def policy_violation(cls, detail: str) -> ExitReason:
        """Ended because a policy forbade something, in words."""
        return cls(ExitKind.POLICY_VIOLATION, detail)


class ProcessExit(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended, as the kernel says: exactly one of *code* and *signal* is set, or neither when nobody can know."""

    code: int | None = None
    """Exit code 0-255, or None."""
    signal: int | None = None
    """The signal that killed it, or None."""
    core_dumped: bool = False
    """Whether the kernel wrote a core."""
    oom: bool = False
    """Whether the platform says it was killed for memory."""
    at: float = 0.0
    """Monotonic seconds at which the exit was seen."""

    @property
    def ok(self) -> bool:
        """Exit code 0."""
        return self.code == 0

    @property
    def known(self) -> bool:
        """Whether the exit was seen; after adoption by another process the kernel may not tell."""
        return self.code is not None or self.signal is not None

    def failure(self) -> FailureReason:
        """The reason a daemon that ended so is Failed."""
        if self.signal is not None:
            detail = "core dumped" if self.core_dumped else ""
            if self.signal == signals.SIGSYS:
                detail = f"{detail + '; ' if detail else ''}it made a forbidden system call: duende rehearse names it"
            return FailureReason(FailureKind.SIGNAL, self.signal, detail)
        if self.code is None:
            return FailureReason(FailureKind.INTERNAL, 0, "exit not observed")
        return FailureReason(FailureKind.EXIT_CODE, self.code)

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {signal_name(self.signal)}"
        return "exit not observed" if self.code is None else f"exit code {self.code}"


class HealthKind(enum.Enum):
    """How well a daemon is."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    UNHEALTHY = "Unhealthy"


class HealthCheck(msgspec.Struct, frozen=True):
    """One named check inside a health status."""

    name: str
    passed: bool
    message: str = ""


class HealthStatus(msgspec.Struct, frozen=True):
    """What `Daemon.health_check` returns."""

    kind: HealthKind
    score: int = 0
    """0 to 5 when healthy; 5 is best."""
    reason: str = ""
    """Why it is degraded or unhealthy."""
    checks: tuple[HealthCheck, ...] = ()
    """The named checks behind the verdict."""
    latency_ms: float = 0.0
    """How long the check took, in milliseconds; the host fills it in."""
    checked_at: float = 0.0
    """Unix seconds of the check; the host fills it in."""

    @classmethod
    def healthy(cls, score: int = 5, checks: tuple[HealthCheck, ...] = ()) -> HealthStatus:
        """Operating normally.

        Raises:
            ValueError: *score* is not between 0 and 5.
        """
        if not 0 <= score <= 5:
            raise ValueError(f"health score {score} is not between 0 and 5")
        return cls(HealthKind.HEALTHY, score, checks=checks)

    @classmethod
    def degraded(cls, reason: str, checks: tuple[HealthCheck, ...] = ()) -> HealthStatus:
        """Working but impaired."""
        return cls(HealthKind.DEGRADED, 0, reason, checks)

    @classmethod
    def unhealthy(cls, reason: str, checks: tuple[HealthCheck, ...] = ()) -> HealthStatus:
        """Not working; a single failed check named `main` stands for the reason when none is given."""
        return cls(HealthKind.UNHEALTHY, 0, reason, checks or (HealthCheck("main", False, reason),))

    @property
    def is_healthy(self) -> bool:
        """Healthy or degraded: the daemon does its work."""
        return self.kind is not HealthKind.UNHEALTHY
