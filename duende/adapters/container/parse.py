"""From what runtimes answer to values: pure. Only structured output is read; what is missing or of the wrong kind is refused, not guessed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from duende.adapters.container.engine import Event, Facts, Happening, Runtime, State
from duende.errors import SpawnError, StatusFailedError
from duende.states import DaemonStatus, FailureKind, FailureReason, Phase, ProcessExit

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: it has not happened."""
SIGNALLED = 128
"""Runtimes report a death by signal n as exit code 128+n, as a shell does; a program may also exit with that code by itself."""
SIGNAL_MAX = 64
FRAME = 8
"""Bytes before each piece of output: stream, three zeros, big-endian length (Engine API, "Attach to a container")."""
STREAMS = (0, 1, 2)
"""stdin, stdout and stderr, in the first byte of a frame."""
_KILL = 9


class _Health(msgspec.Struct):
    status: str = msgspec.field(name="Status", default="")


class _State(msgspec.Struct):
    status: str = msgspec.field(name="Status")
    running: bool = msgspec.field(name="Running", default=False)
    paused: bool = msgspec.field(name="Paused", default=False)
    restarting: bool = msgspec.field(name="Restarting", default=False)
    dead: bool = msgspec.field(name="Dead", default=False)
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    pid: int = msgspec.field(name="Pid", default=0)
    exit_code: int = msgspec.field(name="ExitCode", default=0)
    error: str = msgspec.field(name="Error", default="")
    started_at: str = msgspec.field(name="StartedAt", default="")
    finished_at: str = msgspec.field(name="FinishedAt", default="")
    health: _Health | None = msgspec.field(name="Health", default=None)


class _Config(msgspec.Struct):
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)


class _Inspect(msgspec.Struct):
    id: str = msgspec.field(name="Id")
    state: _State = msgspec.field(name="State")
    name: str = msgspec.field(name="Name", default="")
    restarts: int = msgspec.field(name="RestartCount", default=0)
    config: _Config | None = msgspec.field(name="Config", default=None)


_INSPECT = msgspec.json.Decoder(_Inspect)
_PHASES = {
    "created": Phase.CREATED,
    "configured": Phase.CREATED,
    "initialized": Phase.STARTING,
    "restarting": Phase.STARTING,
    "running": Phase.RUNNING,
    "paused": Phase.PAUSED,
    "stopping": Phase.STOPPING,
    "removing": Phase.STOPPING,
}
"""State.Status of Docker, and what Podman adds (libpod/define/containerstate.go)."""
_ENDED = ("exited", "stopped", "dead")


def inspected(raw: bytes, where: str = "its runtime") -> State:
    """The answer of `GET /containers/ID/json`.

    Raises:
        StatusFailedError: it is something else.
    """
    try:
        found = _INSPECT.decode(raw)
    except msgspec.MsgspecError as error:
        raise StatusFailedError(
            f"cannot read what {where} says of a container: {error} in {raw[:120]!r}",
            remedy="check that the socket is a container runtime's",
        ) from error
    state = found.state
    ended = state.status in _ENDED and _time(state.finished_at) != ""
    return State(
        id=found.id,
        name=found.name.lstrip("/"),
        status=state.status,
        paused=state.paused or state.status == "paused",
        running=state.running,
        restarting=state.restarting,
        dead=state.dead,
        oom_killed=state.oom_killed,
        pid=state.pid,
        exit_code=state.exit_code if ended else None,
        error=state.error,
        started_at=_time(state.started_at),
        finished_at=_time(state.finished_at),
        health=state.health.status if state.health is not None else "",
        restarts=found.restarts,
        labels=(found.config.labels if found.config is not None else None) or {},
    )


def _time(text: str) -> str:
    return "" if text.startswith("0001-01-01T") else text


def status_of(state: State, seen: ProcessExit | None = None) -> DaemonStatus:
    """How the daemon is; Paused is asked before Running, as Docker says both of a paused container.

    *seen* is the exit where somebody knows more of it than the runtime.

    Raises:
        StatusFailedError: a state that this version does not know.
    """
    if state.restarting:
        return DaemonStatus(Phase.STARTING)
    if state.paused:
        return DaemonStatus(Phase.PAUSED)
    if state.running:
        return DaemonStatus(Phase.RUNNING)
    if state.status in _ENDED:
        found = seen if seen is not None and seen.known else process_exit(state)
        if found.ok:
            return DaemonStatus(Phase.STOPPED)
        if not found.known:
            return DaemonStatus.failed(
                FailureReason(FailureKind.INTERNAL, 0, state.error or "exit not observed")
            )
        return DaemonStatus.failed(found.failure())
    phase = _PHASES.get(state.status)
    if phase is None:
        raise StatusFailedError(f"cannot read {state.status!r} as the state of container {state.id[:12]}")
    return DaemonStatus(phase)


def process_exit(
    state: State | None,
    *,
    kernel: ProcessExit | None = None,
    out_of_memory: bool = False,
    sent: frozenset[int] = frozenset(),
) -> ProcessExit:
    """How the main process ended.

    What the kernel said of it wins (PIDFD_GET_INFO, Linux 6.15). A runtime's 128+n means signal n only where something else says so too:
    somebody here sent it, or the container was out of memory and n is KILL; otherwise it is reported as the code that it is.
    """
    now = time.monotonic()
    memory = out_of_memory or (state is not None and state.oom_killed)
    if kernel is not None and kernel.known:
        return msgspec.structs.replace(kernel, oom=memory and kernel.signal == _KILL)
    if state is None or state.exit_code is None:
        return ProcessExit(at=now)
    number = state.exit_code - SIGNALLED
    if 0 < number <= SIGNAL_MAX and (number in sent or (memory and number == _KILL)):
        return ProcessExit(signal=number, oom=memory and number == _KILL, at=now)
    return ProcessExit(code=state.exit_code, at=now)


_HAPPENINGS = {
    "start": Happening.STARTED,
    "die": Happening.DIED,
    "died": Happening.DIED,
    "oom": Happening.OOM,
    "pause": Happening.PAUSED,
    "unpause": Happening.UNPAUSED,
    "destroy": Happening.REMOVED,
    "remove": Happening.REMOVED,
    "health_status: healthy": Happening.HEALTHY,
    "health_status: unhealthy": Happening.UNHEALTHY,
}


def event_of(line: bytes) -> Event | None:
    """One line of `GET /events`; None for what is of no interest.

    Raises:
        StatusFailedError: it is no event.
    """
    try:
        data = msgspec.json.decode(line)
        action, actor = data["Action"], data.get("Actor") or {}
        attributes = actor.get("Attributes") or {}
        nanos = int(data.get("timeNano") or 0)
        code = attributes.get("exitCode", attributes.get("containerExitCode"))
        if action == "health_status":  # Podman puts the verdict beside it
            action = f"health_status: {attributes.get('health_status', data.get('HealthStatus', ''))}"
        what = _HAPPENINGS.get(action)
        if what is None or data.get("Type", "container") != "container":
            return None
        return Event(
            what=what,
            id=str(actor["ID"]),
            at=f"{nanos // 10**9}.{nanos % 10**9:09d}" if nanos else "",
            exit_code=int(code) if code is not None and str(code).lstrip("-").isdecimal() else None,
        )
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise StatusFailedError(f"cannot read {line[:120]!r} as an event of a container runtime") from error


def facts_of(version: dict[str, Any], info: dict[str, Any]) -> Facts:
    """What `GET /version` and `GET /info` say.

    Raises:
        StatusFailedError: they say something else.
    """
    try:
        names = {str(each.get("Name", "")) for each in version.get("Components") or ()}
        missing = {key for field, key in _ABILITIES.items() if info.get(field) is False}
        return Facts(
            runtime=Runtime.PODMAN if "Podman Engine" in names else Runtime.DOCKER,
            version=str(version["Version"]),
            api=str(version["ApiVersion"]),
            missing=frozenset(missing),
            root_dir=str(info.get("DockerRootDir") or ""),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise StatusFailedError(
            f"cannot read what a container runtime says of itself: {str(version)[:120]}"
        ) from error


_ABILITIES = {
    "MemoryLimit": "resources.memory_bytes",
    "SwapLimit": "resources.memory_swap_bytes",
    "CpuCfsQuota": "resources.cpu_quota_percent",
    "CPUShares": "resources.cpu_shares",
    "PidsLimit": "resources.pids_max",
}
"""Fields of `GET /info` that say whether the kernel can limit it; Docker drops the setting with a warning where it cannot."""


class Demultiplexer:
    """Takes the frames of a container's output apart; both streams in the order they came."""

    def __init__(self, where: str = "its runtime") -> None:
        self._buffer = b""
        self._where = where

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces of output that are complete with *data*.

        Raises:
            StatusFailedError: these are no frames.
        """
        self._buffer += data
        while len(self._buffer) >= FRAME:
            if self._buffer[0] not in STREAMS or self._buffer[1:4] != b"\0\0\0":
                raise StatusFailedError(
                    f"cannot read {self._buffer[:40]!r} of {self._where} as the output of a container",
                    remedy="check which program listens there",
                )
            size = int.from_bytes(self._buffer[4:FRAME], "big")
            if len(self._buffer) < FRAME + size:
                return
            yield self._buffer[FRAME : FRAME + size]
            self._buffer = self._buffer[FRAME + size :]


def lines_of(raw: bytes, where: str = "its runtime") -> list[str]:
    """Output in frames as lines; a last line without an end counts.

    Raises:
        StatusFailedError: it is something else; *where* it came from is in the text.
    """
    text = b"".join(Demultiplexer(where).feed(raw))
    rows = text.split(b"\n")
    if rows and not rows[-1]:
        rows.pop()
    return [row.decode(errors="replace") for row in rows]


NOT_EXECUTED = (126, 127)
"""What an init exits with when it could not execute its program, as a shell does (execve(2) failed: EACCES and the like, ENOENT)."""


def said_by_init(line: str) -> bool:
    """Whether a line of output is the last word of docker-init (tini) or catatonit about a program that they could not execute."""
    return line.startswith("[FATAL tini") or ("catatonit" in line[:24] and "failed to exec" in line)


_LIMIT = "a limit above the runtime's own hard limit needs CAP_SYS_RESOURCE"
_NO_PROGRAM = "binary_path is looked for in the image; correct it, or use an image that has it"
_NO_SOURCE = "create it, or correct writable_paths or platform.container.volumes"
_PORT = "free the port, or publish another"
_RIGHTS = "chmod +x in the image, or check the rights on its folders"

_STARTS = (
    # what the runtime's text holds, step, errno, remedy; the texts are runc's, crun's and the engines' own
    (
        '"docker-init": executable file not found',
        "init",
        2,
        "install tini (Docker), or set platform.container.init = false",
    ),
    (
        "container-init binary not found",
        "init",
        2,
        "install catatonit (Podman), or set platform.container.init = false",
    ),
    ("unable to find user", "user", 0, "use a user of the image, or a number"),
    ("unable to find group", "group", 0, "use a group of the image, or a number"),
    ("setting rlimit", "limit", 1, _LIMIT),
    ("setrlimit", "limit", 1, _LIMIT),
    ("chdir to cwd", "working_dir", 2, "correct working_dir: it is a folder of the container"),
    ("argument list too long", "exec", 7, "pass less by args, env or settings"),
    ("executable file not found", "exec", 2, _NO_PROGRAM),
    ("exec format error", "exec", 8, "it needs a #! line, or an image for this machine's processor"),
    ("bind source path does not exist", "mount", 2, _NO_SOURCE),
    ("statfs", "mount", 2, _NO_SOURCE),
    ("unknown or invalid runtime", "runtime", 0, "correct platform.container.runtime: see `docker info`"),
    ("port is already allocated", "ports", 98, _PORT),
    ("address already in use", "ports", 98, _PORT),
    ("network", "network", 0, "use another platform.container.network: host needs nothing"),
    ("Permission denied", "exec", 13, _RIGHTS),
    ("No such file or directory", "exec", 2, _NO_PROGRAM),
    ("permission denied", "exec", 13, _RIGHTS),
    ("no such file or directory", "exec", 2, _NO_PROGRAM),
)


def spawn_error(name: str, program: str, message: str) -> SpawnError:
    """The error for a container that its runtime could not make or start, with the runtime's own *message*.

    The text alone says which step failed: the API gives 400 and 500 for all of them. A text that is not known is passed on as it is.
    """
    short = message if len(message) <= 400 else f"{message[:300]} ... {message[-90:]}"
    for part, step, errno, remedy in _STARTS:
        if part in message:
            return SpawnError(
                f"cannot start {name!r} ({step} of {program!r}): {short}",
                errno=errno,
                step=step,
                path=program if step == "exec" else "",
                remedy=remedy,
            )
    return SpawnError(f"cannot start {name!r}: {short}", step="start", remedy="see the runtime's own log")


def version(text: str) -> tuple[int, ...]:
    """The numbers of "1.41", to be compared."""
    return tuple(int(part) for part in text.split(".") if part.isdecimal())
