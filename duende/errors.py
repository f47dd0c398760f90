"""The error tree of duende, on one screen.

Every error carries its evidence as attributes, and its text says what happened, to which value, and what the caller can do.
`DaemonError` is about a daemon or its configuration, `PlatformError` about the platform that runs it. A leaf also inherits
the built-in exception a caller would expect. `recoverable` means: the same call may succeed later without a change by hand.
"""

from __future__ import annotations

from typing import ClassVar


class DuendeError(Exception):
    """Root of everything duende raises on purpose."""

    recoverable: ClassVar[bool] = False
    """Whether the same call may succeed later without somebody changing something."""
    fatal: ClassVar[bool] = False
    """Whether the daemon cannot go on after this."""

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        """Take the *problem* in one sentence and the *remedy*: what the caller can do."""
        super().__init__(problem)
        self.problem = problem
        """What went wrong, naming the value."""
        self.remedy = remedy
        """What the caller can do about it; empty where nobody can know."""

    def __str__(self) -> str:
        return f"{self.problem} ({self.remedy})" if self.remedy else self.problem

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries (worker processes, the control socket); keyword-only constructors do not pickle by default.
        return (_rebuild, (type(self), dict(self.__dict__), self.args))


def _rebuild(kind: type[DuendeError], state: dict[str, object], args: tuple[object, ...]) -> DuendeError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class DaemonError(DuendeError):
    """A daemon, its configuration or its life cycle is at fault."""


class ConfigError(DaemonError, ValueError):
    """The configuration is wrong: you wrote something duende refuses. `problems` lists every mistake found."""

    def __init__(
        self,
        problem: str,
        *,
        remedy: str = "",
        problems: tuple[str, ...] = (),
        key: str = "",
        source: str = "",
    ) -> None:
        """Collect all *problems* of one *source* (a path); *key* is the dotted key of the first."""
        super().__init__(problem, remedy=remedy)
        self.problems = problems or (problem,)
        """Every mistake, one sentence each, with its line or key."""
        self.key = key
        """Dotted key of the first mistake, or empty."""
        self.source = source
        """The file the configuration came from, or empty."""


class InitError(DaemonError):
    """`init` of the daemon failed: the daemon never ran. The cause is chained."""

    fatal = True


class DaemonRuntimeError(DaemonError, RuntimeError):
    """`run` of the daemon raised. The cause is chained."""


class ShutdownError(DaemonError):
    """`shutdown` of the daemon raised. The cause is chained."""


class ShutdownTimeoutError(ShutdownError, TimeoutError):
    """The daemon did not finish within its `shutdown_timeout`; raise it or make `shutdown` quicker."""

    def __init__(self, name: str, seconds: float) -> None:
        """Name the daemon and the deadline of *seconds* that passed."""
        super().__init__(
            f"cannot shut down {name!r} within {seconds:g} s",
            remedy="raise shutdown_timeout or make shutdown() quicker",
        )
        self.seconds = seconds
        """The deadline, in seconds."""


class HealthCheckError(DaemonError):
    """A health check failed or ran out of time; it is retried at its interval."""

    recoverable = True


class ResourceLimitError(DaemonError):
    """A resource limit was hit or cannot be applied."""

    recoverable = True

    def __init__(self, resource: str, limit: object, actual: object, *, remedy: str = "") -> None:
        """Name the *resource*, its *limit* and the *actual* figure."""
        super().__init__(
            f"limit of {resource} is {limit}, {actual} was needed",
            remedy=remedy or f"raise resources.{resource}",
        )
        self.resource = resource
        """The key under `[resources]`."""
        self.limit = limit
        """The configured limit."""
        self.actual = actual
        """What was asked for or found."""


class PolicyViolationError(DaemonError):
    """A policy forbids what was asked; change the request or the policy."""

    recoverable = True


class CircuitOpenError(PolicyViolationError):
    """A circuit breaker lets nothing through at the moment."""

    def __init__(self, name: str, retry_after: float) -> None:
        """Name the breaker, and the seconds until it will let a probe through."""
        super().__init__(
            f"circuit {name!r} is open", remedy=f"try again in {retry_after:.3g} s, or do without"
        )
        self.retry_after = retry_after
        """Seconds; 0 while all probes are under way."""


class RateLimitedError(PolicyViolationError):
    """More was asked for than a rate limit allows."""

    def __init__(self, name: str, rate: float, retry_after: float) -> None:
        """Name the limiter, its *rate* a second, and the seconds until there will be enough."""
        super().__init__(
            f"rate limit {name!r} of {rate:g}/s is exhausted", remedy=f"try again in {retry_after:.3g} s"
        )
        self.retry_after = retry_after
        """Seconds."""


class QueueFullError(PolicyViolationError):
    """A bounded queue takes no more."""

    def __init__(self, name: str, limit: int) -> None:
        """Name the queue and its *limit*."""
        super().__init__(
            f"queue {name!r} is full: {limit} items wait", remedy="try again later, or shed load"
        )
        self.limit = limit
        """How many items it takes."""


class SignalError(DaemonError):
    """A signal cannot be delivered to a daemon in this state."""


class NotFoundError(DaemonError, LookupError):
    """No daemon of that name or id is registered."""


class StateError(DaemonError, RuntimeError):
    """The operation does not fit the daemon's state."""


class TransitionError(StateError):
    """A transition that the table in `duende.states` does not have."""


class AlreadyRunningError(StateError):
    """A second start of the same daemon was refused; one instance runs already."""


class DaemonIOError(DaemonError, OSError):
    """A file of the daemon (PID file, log, state) cannot be used; errno and path say which."""

    def __init__(self, problem: str, *, errno: int, path: str, remedy: str = "") -> None:
        """Keep *errno* and *path* as OSError does."""
        super().__init__(problem, remedy=remedy)
        self.errno = errno
        self.filename = path

    @classmethod
    def of(cls, doing: str, path: str, error: OSError, remedy: str) -> DaemonIOError:
        """That *doing* ("listen on") with *path* failed with *error*, and what can be done."""
        return cls(
            f"cannot {doing} {path}: {error.strerror or error}",
            errno=error.errno or 0,
            path=path,
            remedy=remedy,
        )


class SerializationError(DaemonError, ValueError):
    """Data of duende (journal, handle, message) cannot be decoded; it is set aside, never overwritten."""


class TraceContextError(SerializationError):
    """A header of W3C Trace Context is invalid."""

    def __init__(self, text: str, why: str) -> None:
        """Quote the header, as far as it fits, and say what is wrong with it."""
        super().__init__(
            f"cannot read {text[:80]!r} as trace context: {why}",
            remedy="begin a new trace, as the Recommendation asks (4.2)",
        )


class InternalError(DuendeError):
    """A bug in duende: please report it with the traceback."""

    fatal = True


class PlatformError(DuendeError):
    """The platform refused, failed or lacks something."""


class NotSupportedError(PlatformError):
    """This platform cannot do that operation; `Capabilities` tells beforehand."""

    def __init__(self, platform: str, operation: str, *, remedy: str = "") -> None:
        """Name the *platform* and the *operation*."""
        super().__init__(f"{platform} cannot {operation}", remedy=remedy)
        self.platform = platform
        """The platform's name."""
        self.operation = operation
        """The verb that is missing."""


class SpawnError(PlatformError):
    """The daemon could not be started; nothing was left behind. `errno` and `step` say where it failed."""

    def __init__(
        self, problem: str, *, errno: int = 0, step: str = "", path: str = "", remedy: str = ""
    ) -> None:
        """Keep the *errno*, the *step* (exec, chdir, setuid, ...) and the *path* it was about."""
        super().__init__(problem, remedy=remedy)
        self.errno = errno
        """The system's error number, 0 where there is none."""
        self.step = step
        """The step of the start that failed."""
        self.path = path
        """The file it was about, or empty."""


class SignalFailedError(PlatformError):
    """The platform did not deliver the signal."""


class StatusFailedError(PlatformError):
    """The platform did not say how the daemon is."""


class TracerFailedError(PlatformError):
    """Tracing could not be attached."""


class InstanceNotFoundError(PlatformError, LookupError):
    """The platform knows no such instance: it is gone, or never was."""


class InvalidStateError(PlatformError):
    """The platform has the instance in a state in which this cannot be done."""

    recoverable = True


class PlatformTimeoutError(PlatformError, TimeoutError):
    """The platform did not answer in time."""

    recoverable = True

    def __init__(self, operation: str, seconds: float) -> None:
        """Name the *operation* and its deadline of *seconds*."""
        super().__init__(
            f"cannot {operation} within {seconds:g} s",
            remedy="check that the platform's service is alive, then retry",
        )
        self.operation = operation
        """The verb that ran out of time."""
        self.seconds = seconds
        """The deadline, in seconds."""


class PlatformIOError(PlatformError, OSError):
    """Input or output with the platform failed."""


class PlatformConfigError(PlatformError, ValueError):
    """The platform cannot take this configuration; the text names the key."""


class PlatformResourceError(PlatformError):
    """The platform ran out of something (descriptors, processes, memory)."""

    recoverable = True


class AccessError(PlatformError, PermissionError):
    """The platform forbids it to this user; the text says which right is missing."""


class UblkError(PlatformError):
    """A command to the ublk driver failed. `errno`, `command` and `device` say which and how."""

    def __init__(self, problem: str, *, errno: int, command: str, device: int = -1, remedy: str = "") -> None:
        """Keep the *errno*, the *command* (ADD_DEV, ...) and the number of the *device*, -1 for none."""
        super().__init__(problem, remedy=remedy)
        self.errno = errno
        """The kernel's error number."""
        self.command = command
        """The command that failed, by the name that the kernel's header has."""
        self.device = device
        """The device it was about, -1 for none."""


class IdentityError(PlatformError):
    """The process behind the handle is not ours, or nobody can tell: nothing was signalled."""
