"""`duende metrics`: the manager's metrics of all daemons, or those of one `Daemon` from its own socket."""

from __future__ import annotations

import argparse
import socket
import sys

from duende.cli import exits, output
from duende.errors import ConfigError, DaemonIOError
from duende.manager.client import ManagerClient

WITHIN = 10.0
"""Seconds for a daemon's answer."""


def do_metrics(options: argparse.Namespace) -> int:
    """Print the text.

    Raises:
        DaemonIOError: the daemon is no `Daemon` class, or does not answer.
        ConfigError: it has its own metrics in Prometheus text only.
    """
    with ManagerClient(options.runtime_dir) as client:
        if options.name is None:
            kind = "openmetrics" if options.openmetrics else "prometheus"
            text = client.ask("metrics", values={"format": kind})
        else:
            if options.openmetrics:
                raise ConfigError(
                    "a daemon writes its own metrics as Prometheus text only",
                    remedy="leave --openmetrics out",
                )
            view = client.ask("status", name=options.name)
            text = of_daemon(f"{options.runtime_dir}/{view['id'][:13]}.sock", options.name)
    if options.json:
        output.json({"ok": True, "result": text})
    else:
        sys.stdout.write(text)
    return exits.OK


def of_daemon(path: str, name: str) -> str:
    """What a `Daemon` answers to GET /metrics on its socket at *path*.

    Raises:
        DaemonIOError: nobody answers there.
    """
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(WITHIN)
            client.connect(path)
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            raw = b""
            while piece := client.recv(1 << 16):
                raw += piece
    except OSError as error:
        raise DaemonIOError.of(
            f"read the metrics of {name!r} from",
            path,
            error,
            "only a Daemon class that runs has metrics of its own",
        ) from error
    return raw.partition(b"\r\n\r\n")[2].decode(errors="replace")
