"""`duende metrics`: the manager's metrics of all daemons, or those of one `Daemon` from its own socket."""

from __future__ import annotations

import argparse
import sys

from duende.cli import exits, output
from duende.cli.sockets import ask_daemon
from duende.errors import ConfigError
from duende.manager.client import ManagerClient


def do_metrics(options: argparse.Namespace) -> int:
    """Print the text.

    Raises:
        StateError: the daemon does not run, or is no `Daemon` class.
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
            _, raw = ask_daemon(options.runtime_dir, view["id"], options.name, "metrics")
            text = raw.decode(errors="replace")
    if options.json:
        output.json({"ok": True, "result": text})
    else:
        sys.stdout.write(text)
    return exits.OK
