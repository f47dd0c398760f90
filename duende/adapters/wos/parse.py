"""From the answers of wos-ctl to values: pure."""

from __future__ import annotations

import time
from typing import TypeVar

import msgspec

from duende.adapters.contract import StopCertificate, StopStep
from duende.adapters.wos.render import Machine
from duende.config.model import DaemonConfig
from duende.errors import (
    InstanceNotFoundError,
    InvalidStateError,
    PlatformConfigError,
    PlatformError,
    PlatformIOError,
    SpawnError,
    StatusFailedError,
)
from duende.states import DaemonStatus, FailureKind, FailureReason, Phase, ProcessExit

ABSENT, NO_KERNEL, HALTED = 3, 4, 5
"""Exit codes of wos-ctl that mean something of their own."""
T = TypeVar("T")


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended."""

    code: int | None = None
    signal: int | None = None
    why: str = ""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one process may have."""

    memory_bytes: int = 0
    fuel: int = 0
    fds: int = 0
    pids: int = 0
    log_bytes: int = 0


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `status`, and one process in that of `ps`."""

    pid: int
    state: str
    name: str = ""
    group: int = 0
    priority: int = 0
    level: int | None = None
    ready: bool = False
    boot: str = ""
    labels: dict[str, str] = {}
    capabilities: list[str] = []
    limits: Limits = Limits()
    cwd: str = ""
    env: list[str] = []
    exit: Fate | None = None


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of `events`, and the answer of `version`."""

    boot: str
    version: str = ""
    kernel_pid: int = 0
    halted: list[str] = []
    machine: Machine = Machine()
    processes: list[Described] = []


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `events`."""

    event: str
    pid: int = 0
    group: int = 0
    name: str = ""
    labels: dict[str, str] = {}
    code: int | None = None
    signal: int | None = None
    why: str = ""
    left: int = 0
    violations: list[str] = []


class Spawned(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `spawn`."""

    pid: int
    boot: str


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `ps`."""

    boot: str
    processes: list[Described]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `terminate`."""

    steps: list[tuple[float, str]]
    escalated: bool
    proven: bool
    proof: str
    stragglers: list[str]
    exit: Fate | None
    seconds: float


class _Trouble(msgspec.Struct):
    kind: str = ""
    problem: str = ""
    remedy: str = ""


class _Refusal(msgspec.Struct):
    error: _Trouble


def read(text: bytes, kind: type[T]) -> T:
    """An answer.

    Raises:
        StatusFailedError: it is something else.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise StatusFailedError(
            f"cannot read what wos-ctl says: {error} in {text[:120]!r}", remedy="check platform.wos.command"
        ) from error


def process_exit(fate: Fate | None) -> ProcessExit:
    """How it ended; not known where WOS does not say."""
    now = time.monotonic()
    return ProcessExit(at=now) if fate is None else ProcessExit(code=fate.code, signal=fate.signal, at=now)


_PHASES = {
    "ready": Phase.RUNNING,
    "running": Phase.RUNNING,
    "blocked": Phase.RUNNING,
    "stopped": Phase.PAUSED,
}
"""States of WOS: ready, running and blocked are three ways to be at work."""


def status_of(found: Described) -> DaemonStatus:
    """How the daemon is.

    Raises:
        StatusFailedError: a state that this version does not know.
    """
    if found.state == "terminated":
        seen = process_exit(found.exit)
        if seen.ok:
            return DaemonStatus(Phase.STOPPED)
        return DaemonStatus.failed(failure(seen, found.exit.why if found.exit is not None else ""))
    phase = _PHASES.get(found.state)
    if phase is None:
        raise StatusFailedError(f"cannot read {found.state!r} as the state of WOS process {found.pid}")
    return DaemonStatus(phase)


def failure(seen: ProcessExit, why: str = "") -> FailureReason:
    """The reason of a daemon that ended so, with what the runtime said of a trap."""
    reason = seen.failure()
    return (
        FailureReason(reason.kind, reason.value, why) if why and reason.kind is FailureKind.SIGNAL else reason
    )


def certificate(name: str, ended: Ended, seen: ProcessExit | None) -> StopCertificate:
    """What a stop did."""
    return StopCertificate(
        name=name,
        steps=tuple(StopStep(at, what) for at, what in ended.steps),
        escalated=ended.escalated,
        proven=ended.proven,
        proof=ended.proof,
        stragglers=tuple(ended.stragglers),
        exit=seen if seen is not None else process_exit(ended.exit),
        duration=ended.seconds,
    )


def _trouble(err: bytes) -> _Trouble:
    for line in reversed(err.splitlines()):
        try:
            return msgspec.json.decode(line, type=_Refusal).error
        except msgspec.MsgspecError:
            continue  # words for people, or of the shell around it
    words = err.decode(errors="replace").strip().splitlines()
    return _Trouble(problem=words[-1][:300].removeprefix("wos-ctl: ") if words else "it said nothing")


def error_of(code: int, err: bytes, doing: str) -> PlatformError:
    """The error for a command that ended with *code* and *err*, while *doing* something."""
    trouble = _trouble(err)
    text = f"cannot {doing}: {trouble.problem}"
    if code == ABSENT:
        return InstanceNotFoundError(text, remedy=trouble.remedy)
    if code == HALTED:
        return InvalidStateError(text, remedy=trouble.remedy)
    return PlatformIOError(text, remedy=trouble.remedy)


def spawn_error(config: DaemonConfig, err: bytes) -> PlatformError:
    """The error for a start that was refused."""
    trouble = _trouble(err)
    text = f"cannot start {config.name!r}: {trouble.problem}"
    if trouble.kind in ("memory", "limit"):
        key = "resources.open_files_max" if "descriptors" in trouble.problem else "resources.memory_bytes"
        return PlatformConfigError(
            f"{text} ({key})", remedy="correct it, or set best_effort = true to run with what the machine has"
        )
    if trouble.kind == "usage":
        return PlatformConfigError(text, remedy=trouble.remedy)
    step = {"module": "exec", "halted": "kernel", "no-kernel": "kernel"}.get(trouble.kind, "spawn")
    path = config.binary_path or "" if step == "exec" else ""
    errno = 0 if step != "exec" else 2 if "No such file" in trouble.problem else 8
    remedy = trouble.remedy or ("a module for wasm32-wasi is needed" if step == "exec" else "")
    return SpawnError(text, errno=errno, step=step, path=path, remedy=remedy)
