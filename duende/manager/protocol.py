"""What goes over the control socket.

A request is `{"op": ..., "name": ...}`, an answer `{"ok": true, "result": ...}` or `{"ok": false, "error": {"kind", "message", "remedy"}}`.
Operations: ping, status, list, start, stop, restart, signal, logs, log_path, explain, load, unregister, events, shutdown. After `events` the
connection also carries `{"event": ...}` lines.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from duende.adapters.contract import StopCertificate
from duende.errors import ConfigError, DuendeError, NotSupportedError
from duende.supervision import SupervisorEvent, Wish

if TYPE_CHECKING:
    from duende.manager.manager import DaemonManager

SOCKET_NAME = "control.sock"


class Request(msgspec.Struct, frozen=True):
    """One request."""

    op: str
    name: str = ""
    id: int | str | None = None
    """Given back in the answer."""
    signal: str = "TERM"
    lines: int = 100
    path: str = ""


def failure(request: Request, error: Exception) -> dict[str, Any]:
    """The answer for an error."""
    body = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, DuendeError):
        body |= {"message": error.problem, "remedy": error.remedy}
    return {"ok": False, "id": request.id, "error": body}


def unknown(op: str) -> NotSupportedError:
    """The error for an operation that does not exist."""
    return NotSupportedError("the manager", f"do {op!r}", remedy="it may be older than this command")


def certificate(found: StopCertificate) -> dict[str, Any]:
    """A stop certificate as plain values."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    plain["exit"] = str(found.exit) if found.exit else None
    return plain


def event(happened: SupervisorEvent) -> dict[str, Any]:
    """An event as plain values."""
    return {
        "name": happened.name,
        "kind": happened.kind,
        "detail": happened.detail,
        "status": happened.status.phase.value,
        "pid": happened.pid,
        "at": happened.at,
    }


async def load_into(manager: DaemonManager, path: str) -> dict[str, Any]:
    """Make the daemons of a file or folder known and start those that are to be started; a broken one isolates itself.

    What runs already and has not changed is left alone; what changed is stopped, replaced and started, once.

    Raises:
        ConfigError: nothing in it can be used.
    """
    from duende.config import config_hash, load_fleet

    registered, changed, errors = [], [], {}
    fleet = load_fleet(os.path.abspath(path))
    for name, found in fleet:
        if isinstance(found, ConfigError):
            errors[name] = str(found)
            continue
        known = manager.find(found.name)
        if known is not None:
            if config_hash(known.config) == config_hash(found):
                continue
            was_up = known.wish is Wish.UP
            await manager.stop(found.name)
            await manager.unregister(found.name)
            manager.register(found, checked=True)
            if was_up:
                changed.append(found.name)
            continue
        manager.register(found, checked=True)
        registered.append(found.name)
    if errors and not registered and not changed and len(errors) == len(fleet):
        raise ConfigError(
            f"cannot use {path}: " + "; ".join(errors.values()), problems=tuple(errors.values()), source=path
        )
    wanted = [name for name in registered if manager.wanted_at_boot(name)] + changed
    results = await manager.start_many(wanted)
    return {
        "registered": registered,
        "changed": changed,
        "errors": errors,
        "failed": {name: str(error) for name, error in results.items() if error is not None},
    }
