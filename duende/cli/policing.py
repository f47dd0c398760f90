"""`duende policy`: look at the policy of a running daemon, or replace it."""

from __future__ import annotations

import argparse
import socket
from typing import Any

import msgspec

from duende.cli import exits, output
from duende.config.load import read_text
from duende.config.policy import policy_of
from duende.errors import ConfigError, DaemonIOError, StateError
from duende.manager.client import ManagerClient

TIMEOUT = 10.0
"""Seconds a daemon may take to answer."""


def do_policy(options: argparse.Namespace) -> int:
    """Show the policy of a daemon; with a file put that one in force.

    Raises:
        ConfigError: the file has a mistake, or the daemon found one; its old policy stays.
        StateError: the daemon has no socket: it does not run, or is no `Daemon` class.
    """
    with ManagerClient(options.runtime_dir) as client:
        view = client.ask("status", name=options.name)
    path = f"{options.runtime_dir}/{view['id'][:13]}.sock"
    text = None
    if options.file is not None:
        text = read_text(options.file)
        policy_of(text, options.file)  # a mistake is told with the file's name, and the daemon not bothered
    code, answer = _ask(options.name, path, text)
    if code != 200:
        raise ConfigError(f"{options.name} keeps its old policy: {answer.get('error', code)}")
    if options.json:
        output.json({"ok": True, "result": answer})
    else:
        _show(answer)
    return exits.OK


def _ask(name: str, path: str, text: str | None) -> tuple[int, dict[str, Any]]:
    body = (text or "").encode()
    verb = "GET" if text is None else "PUT"
    head = f"{verb} /policy HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(TIMEOUT)
            asking.connect(path)
            asking.sendall(head.encode() + body)
            raw = b""
            while part := asking.recv(1 << 16):
                raw += part
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise StateError(
            f"{name!r} has no policy to ask for: it does not run, or is no Daemon class",
            remedy="start it first",
        ) from error
    except OSError as error:
        raise DaemonIOError.of("ask", path, error, "try again, or restart the daemon") from error
    first, _, rest = raw.partition(b"\r\n")
    code = int(first.split()[1])
    found: dict[str, Any] = msgspec.json.decode(rest.partition(b"\r\n\r\n")[2])
    return code, found


def _show(answer: dict[str, Any]) -> None:
    rows = []
    for kind, named in answer["policy"].items():
        used = answer["in_use"].get(kind, {})
        for name in sorted({*named, *used}):
            configured = ", ".join(f"{key} {value}" for key, value in named.get(name, {}).items())
            state = ", ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                for key, value in used.get(name, {}).items()
            )
            rows.append((kind, name, configured or "defaults", state or "not in use"))
    if rows:
        output.table(("KIND", "NAME", "CONFIGURED", "NOW"), rows)
    else:
        print("no policy is configured, and none is in use")
