"""What an adapter is: verbs, abilities as data, and the handle that finds a daemon again.

Imports no platform. The manager knows this file and no adapter by name. Rare abilities are separate protocols below.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec

from duende.config.model import DaemonConfig
from duende.errors import SerializationError
from duende.ids import DaemonId
from duende.signals import Signal
from duende.states import DaemonStatus, ProcessExit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.observe.trace import Tracer


class Platform(enum.Enum):
    """The six platforms; the value is the name people write."""

    LINUX = "linux"
    MACOS = "macos"
    CONTAINER = "container"
    PEPITA = "pepita"
    WOS = "wos"
    NATIVE = "native"

    @property
    def is_isolated(self) -> bool:
        """Whether daemons are isolated from each other by more than a process."""
        return self in (Platform.CONTAINER, Platform.PEPITA, Platform.WOS)


class ProbeState(enum.Enum):
    """How usable a platform is here."""

    ABSENT = "absent"
    UNHEALTHY = "unhealthy"
    USABLE = "usable"


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a platform can be used here, and why not."""

    state: ProbeState
    why: str
    """One sentence."""
    version: str = ""
    """What the platform says of itself."""
    remedy: str = ""
    """The command that would help, where there is one."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What callers may expect of an adapter, as data."""

    pause: bool = False
    """STOP and CONT pause and resume, and status says Paused."""
    logs: bool = False
    """Output is captured and can be read back."""
    trace: bool = False
    """`attach_tracer` attaches something."""
    batch: bool = False
    """Many daemons start in one call (`SupportsBatch`)."""
    exit_codes: bool = True
    """Exit code or signal of a daemon that ended is known."""
    restarts_itself: bool = False
    """The platform restarts daemons by the policy it was given."""
    proof_of_stop: bool = False
    """Stop proves that nothing is left."""
    checks_health: bool = False
    """The platform runs `health_check.exec` itself, where the daemon is, and reports HEALTHY and UNHEALTHY."""


class DaemonHandle(msgspec.Struct, frozen=True, kw_only=True):
    """What finds a daemon again, in this process or another: identity is more than a number or a name."""

    daemon_id: str
    name: str
    platform: Platform
    instance: str
    """The platform's own id: pid, unit, label, container id, VM, WOS pid."""
    pid: int = 0
    """Main process on this host, 0 where there is none."""
    start_time: int = 0
    """Start of that process in clock ticks since boot (proc(5), field 22), 0 if unknown."""
    boot_id: str = ""
    """The boot it belongs to (random(4), boot_id)."""
    config_hash: str = ""
    """Digest of the configuration it was started with."""
    data: dict[str, str] = {}
    """What else the adapter needs, opaque to others."""

    def __str__(self) -> str:
        return f"{self.platform.value}:{self.instance}"

    def to_json(self) -> str:
        """The handle as JSON, for another process."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> DaemonHandle:
        """Read what `to_json` wrote.

        Raises:
            SerializationError: it is something else.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise SerializationError(f"cannot read a daemon handle: {error}") from error


class Ownership(enum.Enum):
    """What looking at a handle again says. Only OURS may be signalled."""

    OURS = "ours"
    GONE = "gone"
    STRANGER = "stranger"
    UNVERIFIABLE = "unverifiable"


class StopStep(msgspec.Struct, frozen=True):
    """One thing done while stopping: seconds after the start of the stop, and what."""

    at: float
    what: str


class StopCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What a stop did, and the proof that nothing is left."""

    name: str
    steps: tuple[StopStep, ...] = ()
    escalated: bool = False
    """Whether KILL was needed."""
    proven: bool = False
    """Whether nothing is left for certain; False means unknown, not success."""
    proof: str = ""
    """How that is known, or what stands in its way."""
    stragglers: tuple[str, ...] = ()
    """Processes other than the main one that had to be killed, as "pid name"."""
    blocked_by: tuple[str, ...] = ()
    """Processes that cannot be ended, as "pid name (state)"."""
    exit: ProcessExit | None = None
    """How the main process ended, if it was seen."""
    duration: float = 0.0
    """Seconds from the first signal to the proof."""


class SpawnRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One daemon to start. `config.binary_path` or `config.daemon` says what."""

    daemon_id: str
    config: DaemonConfig
    env: dict[str, str] = {}
    """Added by whoever starts it (readiness, ids); wins over the configuration's."""
    config_hash: str = ""
    """Digest of the configuration, kept in the handle."""
    import_path: str = ""
    """A folder put first on the import path of a `Daemon` class; empty where the class is installed."""


class EventKind(enum.Enum):
    """What an adapter reports of a daemon without being asked."""

    EXITED = "exited"
    READY = "ready"
    RELOADING = "reloading"
    STOPPING = "stopping"
    STATUS = "status"
    WATCHDOG = "watchdog"
    LOG_LINE = "log-line"
    """A line matched the readiness pattern."""
    LOG_LOST = "log-lost"
    LIMIT = "limit"
    """A resource limit bit: what was killed, refused or held back stands in `detail`."""
    RESTARTED = "restarted"
    """The platform restarted it by itself (`restart.delegate`); `pid` is the new main process."""
    HEALTHY = "healthy"
    """The platform's own health check found it well again."""
    UNHEALTHY = "unhealthy"
    """The platform's own health check failed as often as configured."""
    OUT_OF_MEMORY = "out-of-memory"
    """The platform says that something of it was killed for memory; its EXITED comes apart, if the main process ended."""
    ALERT = "alert"


class AdapterEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One report. `exit` is set for EXITED; `detail` is a sentence for people."""

    daemon_id: str
    kind: EventKind
    exit: ProcessExit | None = None
    detail: str = ""
    pid: int = 0
    leftovers: bool = False
    """EXITED: descendants of the main process are still alive."""


class Found(enum.Enum):
    """What the platform made of a setting."""

    HONOURED = "honoured"
    """Exactly as configured."""
    APPROXIMATED = "approximated"
    """Something near: `why` says in which way it differs."""
    IGNORED = "ignored"
    """Not at all."""


class SettingReport(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of a configuration beside what was read back from the platform."""

    key: str
    """Dotted key, as in the configuration."""
    wanted: str
    found: str
    """As read back from the running daemon, never from what was sent; empty where nothing can be read."""
    outcome: Found
    why: str = ""
    """Where it was read (a property, a file), and what differs."""


EventSink = Callable[[AdapterEvent], None]
"""Where reports go; called in the event loop's thread, must not block or raise."""


class PlatformAdapter(ABC):
    """Runs daemons on one platform. All verbs are asynchronous and have deadlines of their own."""

    platform: ClassVar[Platform]
    capabilities: ClassVar[Capabilities]

    @abstractmethod
    async def probe(self) -> Probe:
        """Say whether this platform can be used here."""

    async def spawn(self, daemon: Any, config: DaemonConfig) -> DaemonHandle:
        """Start that *daemon* (a `Daemon` class or instance, or None for the program of the configuration).

        Raises:
            SpawnError: it could not be started; nothing is left behind.
            ConfigError: the configuration cannot be started anywhere.
            PlatformConfigError: this platform cannot take the configuration.
        """
        from duende.host.target import aimed_at

        config, path = aimed_at(daemon, config)
        return await self.launch(SpawnRequest(daemon_id=str(DaemonId.new()), config=config, import_path=path))

    @abstractmethod
    async def launch(self, request: SpawnRequest) -> DaemonHandle:
        """Start what the *request* says; the manager's form of `spawn`. Raises as `spawn` does."""

    @abstractmethod
    async def signal(self, handle: DaemonHandle, signal: Signal) -> None:
        """Send *signal* to the main process, after its identity was verified.

        Raises:
            InstanceNotFoundError: it has ended.
            IdentityError: the process is not ours or nobody can tell.
            SignalFailedError: the platform refused.
        """

    @abstractmethod
    async def status(self, handle: DaemonHandle) -> DaemonStatus:
        """How the daemon is, from the platform's own knowledge.

        Raises:
            StatusFailedError: the platform did not say.
        """

    @abstractmethod
    async def stop(self, handle: DaemonHandle, timeout: float) -> StopCertificate:
        """Send TERM, wait *timeout* seconds, KILL what is left, and prove that nothing is. Stopping twice is harmless."""

    @abstractmethod
    async def wait(self, handle: DaemonHandle) -> ProcessExit:
        """Wait until the daemon has ended and say how."""

    @abstractmethod
    async def verify(self, handle: DaemonHandle) -> Ownership:
        """Look at a handle again, perhaps one from another process or before a restart."""

    @abstractmethod
    async def adopt(self, handle: DaemonHandle) -> Ownership:
        """Take a daemon over that an earlier process started, so that its end is reported here; idempotent."""

    @abstractmethod
    def subscribe(self, sink: EventSink) -> None:
        """Report events of all daemons to *sink* from now on."""

    @abstractmethod
    async def explain(self, handle: DaemonHandle, config: DaemonConfig) -> list[SettingReport]:
        """Read back what the platform made of each setting of *config* that is set or has a default that limits something.

        Raises:
            InstanceNotFoundError: it does not run (any more).
            StatusFailedError: the platform did not say.
        """

    @abstractmethod
    async def close(self) -> None:
        """Give back what the adapter holds; daemons it was told to keep go on."""

    async def kill(self, handle: DaemonHandle) -> None:
        """Send KILL; raises as `signal` does."""
        await self.signal(handle, Signal.KILL)

    async def attach_tracer(self, handle: DaemonHandle, **options: Any) -> Tracer:
        """Trace the daemon, where `capabilities.trace` says so; see `duende.adapters.tracing.attached` for options and errors."""
        from duende.adapters.tracing import attached

        return await attached(self, handle, options)


@runtime_checkable
class SupportsLimits(Protocol):
    """Limits of a daemon that runs can be changed."""

    async def update_limits(self, handle: DaemonHandle, config: DaemonConfig, before: DaemonConfig) -> None:
        """Put the limits of *config* in force at once, in the place of those of *before*.

        Raises:
            InstanceNotFoundError: it has ended.
            PlatformResourceError: a limit cannot be enforced.
        """
        ...

    async def usage(self, handle: DaemonHandle, config: DaemonConfig) -> dict[str, float]:
        """What is used now of the limits of *config*, by the keys of `[resources]`, as far as anybody counts it; rates, and CPU in percent of a
        core, since it was asked last.
        """
        ...


@runtime_checkable
class SupportsBatch(Protocol):
    """Starts many daemons in one call."""

    async def launch_many(self, requests: Sequence[SpawnRequest]) -> list[DaemonHandle | Exception]:
        """Start all *requests*; the answer has a handle or the error of each, in order."""
        ...

    async def stop_many(self, handles: Sequence[DaemonHandle], timeout: float) -> list[StopCertificate]:
        """Stop all *handles* side by side, one certificate each, in order."""
        ...


@runtime_checkable
class SupportsMassStop(Protocol):
    """Asks many daemons to end with one order."""

    def begin_stops(self, stops: Sequence[tuple[DaemonHandle, float]]) -> None:
        """Ask all of these to end, each within its seconds; `stop` of each then waits for it. What does not run is left out."""
        ...


@runtime_checkable
class SupportsFind(Protocol):
    """Finds a daemon whose handle was lost with the manager that started it."""

    async def find(self, request: SpawnRequest) -> DaemonHandle | None:
        """A handle of what runs as the answer to *request*, started by an earlier process; None when nothing does."""
        ...


@runtime_checkable
class SupportsPause(Protocol):
    """Pauses and resumes."""

    async def pause(self, handle: DaemonHandle) -> None:
        """Stop it from running (STOP)."""
        ...

    async def resume(self, handle: DaemonHandle) -> None:
        """Let it run on (CONT)."""
        ...


@runtime_checkable
class SupportsLogs(Protocol):
    """Keeps the daemon's output."""

    async def logs(self, handle: DaemonHandle, lines: int) -> list[str]:
        """The last *lines* lines of output, oldest first."""
        ...
