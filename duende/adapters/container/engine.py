"""What the adapter asks of a container runtime: one protocol, and the values that go in and out."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import msgspec

from duende.errors import NotSupportedError


class Runtime(enum.Enum):
    """The runtimes, in the order in which they are looked for."""

    DOCKER = "docker"
    PODMAN = "podman"
    CONTAINERD = "containerd"


class Mount(msgspec.Struct, frozen=True):
    """A host folder, file or named volume, and where the container sees it."""

    source: str
    target: str
    read_only: bool = False


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The runtime's own health check; durations in seconds."""

    argv: tuple[str, ...]
    interval: float
    timeout: float
    retries: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A container to be made: every decision is taken, only the form differs from runtime to runtime."""

    name: str
    image: str
    argv: tuple[str, ...]
    env: dict[str, str]
    labels: dict[str, str]
    working_dir: str = ""
    user: str = ""
    """"user", "user:group" or ":group" by name or number as the image knows them; empty is the image's own."""
    groups: tuple[str, ...] = ()
    memory: int
    """Bytes."""
    memory_swap: int
    """Bytes of memory plus swap."""
    cpu_quota: int
    """Microseconds in each `cpu_period`."""
    cpu_period: int = 100_000
    cpu_shares: int
    pids: int
    read_bps: tuple[tuple[str, int], ...] = ()
    """(device, bytes a second)."""
    write_bps: tuple[tuple[str, int], ...] = ()
    ulimits: dict[str, int] = {}
    """Name without RLIMIT_, in lower case -> soft and hard limit; -1 is none."""
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: str = ""
    """A profile of its own, as text or as the path of a file; empty is the runtime's."""
    read_only: bool = False
    tmpfs: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    health: Health | None = None
    restart: tuple[str, int] = ("no", 0)
    """The runtime's policy and its maximum of retries."""
    stop_timeout: int = 10
    """Seconds between TERM and KILL, where somebody else than duende stops it."""
    log_driver: str = "json-file"
    log_options: dict[str, str] = {}
    network: str = "host"
    ports: tuple[tuple[str, int, int, str], ...] = ()
    """(host address, host port, port inside, protocol)."""
    init: bool = False
    oci_runtime: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a runtime says of itself."""

    runtime: Runtime
    version: str
    api: str = ""
    """The API version that is spoken, as "1.41"."""
    missing: frozenset[str] = frozenset()
    """Keys of `[resources]` that it says its kernel cannot limit."""
    root_dir: str = ""
    """Where it keeps containers; their I/O goes to that folder's device."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One container as its runtime describes it."""

    id: str
    name: str = ""
    status: str
    """created, running, paused, restarting, removing, exited or dead."""
    paused: bool = False
    """Docker sets running and paused both."""
    running: bool = False
    restarting: bool = False
    dead: bool = False
    oom_killed: bool = False
    pid: int = 0
    """Process 1 of the container, as the runtime numbers it; 0 when it does not run."""
    exit_code: int | None = None
    """None while it has not ended."""
    error: str = ""
    started_at: str = ""
    """When the present or last run began, in the runtime's own words; they tell one run from another."""
    finished_at: str = ""
    health: str = ""
    """starting, healthy or unhealthy; empty without a check."""
    restarts: int = 0
    labels: dict[str, str] = {}

    @property
    def alive(self) -> bool:
        """Whether a process of it runs, paused included."""
        return self.running or self.paused


class Happening(enum.Enum):
    """What a runtime reports of a container."""

    STARTED = "start"
    DIED = "die"
    OOM = "oom"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    PAUSED = "pause"
    UNPAUSED = "unpause"
    REMOVED = "destroy"
    CONNECTED = "connected"
    """The stream is there (again): look after what is watched, something may have been missed."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One report of a runtime."""

    what: Happening
    id: str = ""
    at: str = ""
    """Its time, in the form that `Engine.events` takes as `since`."""
    exit_code: int | None = None
    pid: int = 0


def fixed(runtime: Runtime) -> NotSupportedError:
    """What a runtime says that cannot change limits."""
    remedy = "change the configuration and restart"
    return NotSupportedError(runtime.value, "change limits of what runs", remedy=remedy)


class Engine(Protocol):
    """A container runtime. Every call has a deadline, and raises a PlatformError that names the remedy.

    A container that is not there is an `InstanceNotFoundError`, one in the wrong state an `InvalidStateError`.
    """

    runtime: Runtime
    socket: str

    async def facts(self) -> Facts:
        """What the runtime says of itself; asked once."""
        ...

    async def create(self, plan: Plan, *, pull: bool) -> str:
        """Make the container and give its id; with *pull* an absent image is fetched first."""
        ...

    async def start(self, container: str) -> None:
        """Start it."""
        ...

    async def inspect(self, container: str) -> State:
        """Describe it, by id or name."""
        ...

    async def describe(self, container: str) -> dict[str, Any]:
        """The whole answer of an inspect in Docker's words, for `explain`."""
        ...

    async def kill(self, container: str, number: int) -> None:
        """Send a signal to its process 1."""
        ...

    async def pause(self, container: str) -> None:
        """Freeze all its processes."""
        ...

    async def unpause(self, container: str) -> None:
        """Thaw them."""
        ...

    async def update(self, container: str, limits: dict[str, Any]) -> None:
        """Change the limits of one that runs: fields of Docker's ContainerUpdate; one that cannot says NotSupportedError."""
        ...

    async def rename(self, container: str, name: str) -> None:
        """Give it another name, so that the one it has is free; one without names beside ids says NotSupportedError."""
        ...

    async def remove(self, container: str, *, force: bool = False) -> None:
        """Remove it and its anonymous volumes; with *force* also when it runs."""
        ...

    async def logs(self, container: str, lines: int) -> list[str]:
        """The last lines of its output, oldest first."""
        ...

    def follow(self, container: str) -> AsyncIterator[str]:
        """Every line of its output from the start on, until it ends."""
        ...

    def events(self, since: str) -> AsyncIterator[Event]:
        """CONNECTED, then what happens to containers with our label, from *since* on where it is given, until the stream breaks."""
        ...

    async def run_inside(self, container: str, argv: Sequence[str], timeout: float) -> int:
        """Run a program in the container; its exit code, -1 when it did not end in time."""
        ...

    async def mine(self) -> list[str]:
        """Ids of all containers with our label, whatever their state."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
