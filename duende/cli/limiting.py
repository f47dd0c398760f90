"""`duende limits`: what a daemon may use and what it does use; changed while it runs."""

from __future__ import annotations

import argparse
from typing import Any

from duende.cli import exits, output
from duende.errors import ConfigError
from duende.manager.client import ManagerClient

RATES = frozenset(("read", "write", "network"))
SIZES = RATES | {"memory", "swap", "disk"}


def do_limits(options: argparse.Namespace) -> int:
    """Show or change limits.

    Raises:
        ConfigError: a word is not of the form name=value.
    """
    values = {}
    for word in options.limit:
        name, equals, text = word.partition("=")
        if not equals or not text:
            raise ConfigError(
                f"{word!r} is not of the form NAME=VALUE", remedy="as in memory=256MiB cpu=50 pids=20"
            )
        values[name] = text
    with ManagerClient(options.runtime_dir) as client:
        found = client.ask("limits", name=options.name, values=values)
    if options.json:
        output.json({"ok": True, "result": found})
    else:
        rows = [(name, _shown(name, one["limit"]), _shown(name, one["used"])) for name, one in found.items()]
        output.table(("LIMIT", "ALLOWED", "USED"), rows)
    return exits.OK


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name in SIZES:
        if value == 0:
            return "no limit" if name in (*RATES, "disk") else "0"
        return output.size(value, 4) + ("/s" if name in RATES else "")
    return f"{value:.1f} %" if name == "cpu" else f"{value:g}"
