"""What goes over the control socket.

A request is `{"op": ..., "name": ...}`, an answer `{"ok": true, "result": ...}` or `{"ok": false, "error": {"kind", "message", "remedy"}}`.
Operations: ping, status, list, start, stop, restart, signal, logs, log_path, explain, config, limits, load, unregister, events, metrics, history,
spans, shutdown.
After `events` the connection also carries `{"event": ...}` lines. A client that begins with `GET /metrics` gets the metrics as HTTP, for curl and
scrapers.
"""

from __future__ import annotations

from typing import Any

import msgspec

from duende.adapters.contract import StopCertificate
from duende.errors import DuendeError, NotSupportedError
from duende.supervision import SupervisorEvent

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
    values: dict[str, str] = {}
    traceparent: str = ""
    """The span that it is asked for in (W3C Trace Context); what is started goes on in its trace."""
    tracestate: str = ""


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
