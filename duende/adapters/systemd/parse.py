"""From systemd's properties and the journal's entries to values: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from duende.adapters.systemd.exits import STEPS
from duende.config.model import DaemonConfig
from duende.errors import PlatformIOError, SpawnError
from duende.states import DaemonStatus, FailureKind, FailureReason, Phase, ProcessExit

CLD_EXITED, CLD_KILLED, CLD_DUMPED = 1, 2, 3
"""si_code of waitid(2), as the property ExecMainCode has it; 0 before the end."""
SIGKILL = 9
INVOCATION = "_SYSTEMD_INVOCATION_ID"
OUT_OF_MEMORY = "oom-kill"
"""The property Result after the kernel or systemd-oomd killed something of the unit (systemd.service(5), OOMPolicy=)."""
_PHASES = {
    "start": Phase.STARTING, "start-pre": Phase.STARTING, "start-post": Phase.STARTING,
    "condition": Phase.STARTING, "auto-restart": Phase.STARTING, "auto-restart-queued": Phase.STARTING,
    "dead-before-auto-restart": Phase.STARTING, "failed-before-auto-restart": Phase.STARTING,
    "running": Phase.RUNNING, "reload": Phase.RUNNING, "reload-signal": Phase.RUNNING, "reload-notify": Phase.RUNNING,
    "mounting": Phase.RUNNING,
    "stop": Phase.STOPPING, "stop-watchdog": Phase.STOPPING, "stop-sigterm": Phase.STOPPING,
    "stop-sigkill": Phase.STOPPING, "stop-post": Phase.STOPPING, "final-watchdog": Phase.STOPPING,
    "final-sigterm": Phase.STOPPING, "final-sigkill": Phase.STOPPING, "cleaning": Phase.STOPPING,
    "dead": Phase.STOPPED, "exited": Phase.STOPPED, "dead-resources-pinned": Phase.STOPPED,
    "failed": Phase.FAILED,
}  # fmt: skip
"""The SubState of a service (unit-def.c, service_state_table) -> what it means here."""
ENDED = frozenset(("dead", "exited", "failed", "dead-resources-pinned"))
"""States in which nothing of the unit runs any more, but for what left its control of itself (`exited` may have leftovers)."""
WAITING_TO_RESTART = frozenset(
    ("auto-restart", "auto-restart-queued", "dead-before-auto-restart", "failed-before-auto-restart")
)


class UnitState(msgspec.Struct, kw_only=True):
    """What is known of one unit; signals change it bit by bit (`update`)."""

    active: str = ""
    """ActiveState."""
    sub: str = ""
    """SubState."""
    result: str = ""
    """Result."""
    main_pid: int = 0
    """MainPID: 0 while no main process runs. A number in systemd's own pid namespace."""
    exec_pid: int = 0
    """ExecMainPID: the last main process, also after its end."""
    code: int = 0
    """ExecMainCode."""
    status: int = 0
    """ExecMainStatus: exit code or signal."""
    restarts: int = 0
    """NRestarts."""
    text: str = ""
    """StatusText: the last STATUS= (sd_notify(3))."""
    invocation: str = ""
    """InvocationID, as 32 hex digits; another one after every start."""
    group: str = ""
    """ControlGroup."""
    frozen: bool = False
    """FreezerState is frozen or on its way there."""

    @property
    def ended(self) -> bool:
        """Whether the main process ran and has ended."""
        return self.main_pid == 0 and self.code in (CLD_EXITED, CLD_KILLED, CLD_DUMPED)

    @property
    def gone(self) -> bool:
        """Whether the unit runs nothing and will not start by itself."""
        return self.sub in ENDED


_FIELDS: dict[str, tuple[str, type]] = {
    "ActiveState": ("active", str), "SubState": ("sub", str), "Result": ("result", str),
    "MainPID": ("main_pid", int), "ExecMainPID": ("exec_pid", int), "ExecMainCode": ("code", int),
    "ExecMainStatus": ("status", int), "NRestarts": ("restarts", int), "StatusText": ("text", str),
    "ControlGroup": ("group", str),
}  # fmt: skip


def update(state: UnitState, properties: Mapping[str, Any]) -> None:
    """Take over what *properties* (name -> Variant or value) say.

    Raises:
        PlatformIOError: one of them has not the type that org.freedesktop.systemd1(5) gives it.
    """
    for name, raw in properties.items():
        field = _FIELDS.get(name)
        if field is None and name not in ("InvocationID", "FreezerState"):
            continue
        value = plain(raw)
        if name == "InvocationID":
            state.invocation = invocation_text(value)
        elif name == "FreezerState":
            state.frozen = value in ("frozen", "freezing")
        elif field is not None:
            if type(value) is not field[1]:
                raise PlatformIOError(
                    f"systemd answered {value!r} for the property {name}: that is no {field[1].__name__}"
                )
            setattr(state, field[0], value)


def plain(value: Any) -> Any:
    """The value inside a Variant, or *value* itself."""
    return value.value if hasattr(value, "signature") and hasattr(value, "value") else value


def invocation_text(value: Any) -> str:
    """32 hex digits for the 16 bytes of an invocation id; empty before the first start.

    Raises:
        PlatformIOError: it is something else.
    """
    if isinstance(value, bytes | bytearray | list | tuple):
        raw = bytes(value)
        if len(raw) in (0, 16):
            return raw.hex()
    raise PlatformIOError(f"systemd answered {value!r} for the property InvocationID: that is not 16 bytes")


def process_exit(state: UnitState, at: float, *, out_of_memory: bool = False) -> ProcessExit:
    """How the main process ended; unknown where none ran. *out_of_memory* is the kernel's word, where systemd does not say it."""
    killed = out_of_memory and state.code == CLD_KILLED and state.status == SIGKILL
    oom = state.result == OUT_OF_MEMORY or killed
    if not state.ended:
        return ProcessExit(at=at, oom=oom)
    if state.code == CLD_EXITED:
        return ProcessExit(code=state.status, at=at, oom=oom)
    return ProcessExit(signal=state.status, core_dumped=state.code == CLD_DUMPED, at=at, oom=oom)


def status_of(state: UnitState, *, paused: bool = False) -> DaemonStatus:
    """What a unit in that state is.

    Raises:
        PlatformIOError: systemd has a state this version does not know.
    """
    phase = _PHASES.get(state.sub)
    if phase is None:
        raise PlatformIOError(
            f"systemd says {state.active!r} ({state.sub!r}), which this version of duende does not know",
            remedy="update duende, or report it",
        )
    if phase is Phase.RUNNING and (paused or state.frozen):
        return DaemonStatus(Phase.PAUSED)
    if phase in (Phase.STOPPED, Phase.FAILED):
        return ended_status(state)
    return DaemonStatus(phase)


def ended_status(state: UnitState) -> DaemonStatus:
    """Stopped after exit code 0, else Failed with the reason."""
    seen = process_exit(state, 0.0)
    if seen.known:
        return exit_status(seen)
    if state.sub == "failed":
        return DaemonStatus.failed(FailureReason(FailureKind.START, 0, f"systemd: {state.result}"))
    return DaemonStatus(Phase.STOPPED)


def exit_status(seen: ProcessExit) -> DaemonStatus:
    """Stopped after exit code 0, else Failed with the reason."""
    return DaemonStatus(Phase.STOPPED) if seen.ok else DaemonStatus.failed(seen.failure())


def start_error(config: DaemonConfig, state: UnitState, about: str = "") -> SpawnError | None:
    """The error for a unit whose main process never was the program: a status of 200 to 245 from systemd itself; else None.

    A program may end with such a code as well: the caller knows whether it had been run.
    """
    step = STEPS.get(state.status) if state.ended and state.code == CLD_EXITED else None
    if step is None:
        return None
    value = about or (str(_value(config, step.key)) if step.key else "")
    what = step.what.format(about=repr(value))
    return SpawnError(
        f"cannot start {config.name!r}: {what} (systemd: {state.status}/{step.name})",
        step=step.step,
        path=value if step.key in ("binary_path", "working_dir", "logging.path", "user", "group") else "",
        remedy=step.remedy,
    )


def _value(config: DaemonConfig, key: str) -> object:
    if key == "binary_path":
        return config.binary_path or config.daemon
    found: object = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


def journal_lines(raw: bytes, invocation: str | None = None, pid: str = "") -> list[str]:
    """The messages of `journalctl --output=json`, oldest first (systemd.journal-fields(7), "Journal JSON Format").

    With *invocation*, of entries that bear no invocation id only those count whose stream is known for that of the start: by another entry that bears its
    *invocation*, or because its main process, *pid*, opened it. Those of other invocations never do.

    A field that is not UTF-8 comes as a list of numbers, one that was given twice as a list of such values, one above the size limit as null.

    Raises:
        PlatformIOError: a line is no such entry.
    """
    entries: list[dict[str, Any]] = []
    for row in raw.splitlines():
        if not row.strip():
            continue
        try:
            entries.append(msgspec.json.decode(row, type=dict[str, Any]))
        except msgspec.MsgspecError as error:
            raise PlatformIOError(f"cannot read an entry of the journal: {error}") from error
    lines: list[str] = []
    for entry in entries if invocation is None else _of_start(entries, invocation, pid):
        lines.extend(_text(entry.get("MESSAGE")).split("\n"))
    return lines


def _of_start(entries: list[dict[str, Any]], invocation: str, pid: str) -> list[dict[str, Any]]:
    def bears(entry: dict[str, Any], own: str | None) -> bool:
        return bool(entry.get(INVOCATION) == own)

    streams = {
        entry.get("_STREAM_ID", "")
        for entry in entries
        if bears(entry, invocation) or (bears(entry, None) and entry.get("_PID") == pid)
    }
    return [
        entry
        for entry in entries
        if bears(entry, invocation) or (bears(entry, None) and entry.get("_STREAM_ID") in streams)
    ]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "(too large for the journal's JSON)"
    if isinstance(value, list):
        if all(isinstance(item, int) and 0 <= item <= 255 for item in value):
            return bytes(value).decode(errors="replace")
        return "\n".join(_text(item) for item in value)
    raise PlatformIOError(f"cannot read an entry of the journal: its message is {value!r}")


def processes(answer: Iterable[Any]) -> list[tuple[int, str]]:
    """(pid, command) of each process of a unit, from GetProcesses a(sus).

    Raises:
        PlatformIOError: it is something else.
    """
    found: list[tuple[int, str]] = []
    for row in answer:
        try:
            _, pid, command = row
        except (TypeError, ValueError):
            raise PlatformIOError(f"systemd answered {row!r} for a process of a unit") from None
        if pid not in {known for known, _ in found}:
            found.append((int(pid), str(command)))
    return found
