"""From pepita's answers to what the contract says: pure."""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec

from duende.adapters.contract import EventKind
from duende.errors import (
    DuendeError,
    InstanceNotFoundError,
    PlatformConfigError,
    PlatformIOError,
    PlatformResourceError,
    SpawnError,
)
from duende.states import DaemonStatus, Phase, ProcessExit

PHASES = {"running": Phase.RUNNING, "paused": Phase.PAUSED, "starting": Phase.STARTING}
NOTICES: dict[tuple[str, str | None], EventKind] = {
    ("READY", "1"): EventKind.READY,
    ("RELOADING", "1"): EventKind.RELOADING,
    ("STOPPING", "1"): EventKind.STOPPING,
    ("WATCHDOG", "1"): EventKind.WATCHDOG,
    ("STATUS", None): EventKind.STATUS,
}
"""What sd_notify(3) lines mean."""
REFUSED = ("exists", "usage", "missing")


def answer_of(text: str) -> Any:
    """The JSON that pepita printed.

    Raises:
        PlatformIOError: it is none.
    """
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise PlatformIOError(f"pepita said something that is no JSON: {text[:200]!r}") from error


def exit_of(state: dict[str, Any]) -> ProcessExit:
    """How a daemon ended, by what pepita wrote down."""
    found = state.get("exit") or {}
    code, signal = found.get("code"), found.get("signal")
    used = str(found.get("used", ""))
    oom = signal == 9 and any(
        line.startswith("oom_kill ") and line != "oom_kill 0" for line in used.splitlines()
    )
    return ProcessExit(
        code=code if isinstance(code, int) else None,
        signal=signal if isinstance(signal, int) else None,
        oom=oom,
        at=time.monotonic(),
    )


def status_of(state: dict[str, Any]) -> DaemonStatus:
    """How a daemon is."""
    if "exit" not in state:
        return DaemonStatus(PHASES.get(str(state.get("state")), Phase.RUNNING))
    seen = exit_of(state)
    return DaemonStatus(Phase.STOPPED) if seen.ok else DaemonStatus.failed(seen.failure())


def notices_of(text: str) -> list[tuple[EventKind, str]]:
    """What a message of sd_notify(3) says, line by line."""
    found = []
    for line in text.split("\n"):
        key, _, value = line.partition("=")
        kind = NOTICES.get((key, value)) or NOTICES.get((key, None))
        if kind is not None:
            found.append((kind, value))
    return found


def start_error(name: str, facts: dict[str, Any], program: str) -> DuendeError:
    """The error for a start that pepita refused."""
    kind, problem, remedy = (
        str(facts.get("kind", "")),
        str(facts.get("problem", "")),
        str(facts.get("remedy", "")),
    )
    text = f"cannot start {name!r}: {problem}"
    if kind.startswith("start:"):
        _, step, number = kind.split(":", 2)
        errno = int(number) if number.isdigit() else 0
        where = program if step == "exec" else step
        return SpawnError(
            f"cannot start {name!r}: {step} {where!r}: {os.strerror(errno)}",
            errno=errno,
            step=step,
            path=where,
            remedy=remedy,
        )
    if kind == "memory":
        return PlatformResourceError(text, remedy=remedy)
    if kind in ("usage", "missing"):
        return PlatformConfigError(text, remedy=remedy)
    return SpawnError(text, step=kind, remedy=remedy)


def error_of(facts: dict[str, Any], what: str) -> DuendeError:
    """The error for anything else that pepita refused."""
    kind, problem, remedy = (
        str(facts.get("kind", "")),
        str(facts.get("problem", "")),
        str(facts.get("remedy", "")),
    )
    text = f"cannot {what}: {problem}"
    if kind in ("absent", "ended"):
        return InstanceNotFoundError(text, remedy=remedy)
    return PlatformIOError(text, remedy=remedy)


def sections(used: str) -> dict[str, str]:
    """The files of a control group by name, from pepita's `[name]` sections."""
    found: dict[str, str] = {}
    name = ""
    for line in used.splitlines():
        if line.startswith("[") and line.endswith("]"):
            name = line[1:-1]
            found[name] = ""
        elif name:
            found[name] = f"{found[name]}\n{line}".strip()
    return found
