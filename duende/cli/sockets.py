"""Asking a `Daemon` on its own socket."""

from __future__ import annotations

import socket

from duende.errors import DaemonIOError, StateError

TIMEOUT = 10.0
"""Seconds for an answer."""


def ask_daemon(
    runtime_dir: str, daemon_id: str, name: str, target: str, body: bytes | None = None
) -> tuple[int, bytes]:
    """(code, body) of a GET of *target*, or with *body* of a PUT, on the socket of a daemon of the manager in *runtime_dir*.

    Raises:
        StateError: the daemon has no socket: it does not run, or is no `Daemon` class.
        DaemonIOError: it does not answer.
    """
    path = f"{runtime_dir}/{daemon_id[:13]}.sock"
    verb, content = ("GET", b"") if body is None else ("PUT", body)
    head = f"{verb} /{target} HTTP/1.0\r\nContent-Length: {len(content)}\r\n\r\n"
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(TIMEOUT)
            asking.connect(path)
            asking.sendall(head.encode() + content)
            raw = b""
            while part := asking.recv(1 << 16):
                raw += part
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise StateError(
            f"{name!r} has no {target} to ask for: it does not run, or is no Daemon class",
            remedy="start it first",
        ) from error
    except OSError as error:
        raise DaemonIOError.of("ask", path, error, "try again, or restart the daemon") from error
    first, _, rest = raw.partition(b"\r\n")
    return int(first.split()[1]), rest.partition(b"\r\n\r\n")[2]
