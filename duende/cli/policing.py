"""`duende policy`: look at the policy of a running daemon, or replace it."""

from __future__ import annotations

import argparse
from typing import Any

import msgspec

from duende.cli import exits, output
from duende.cli.sockets import ask_daemon
from duende.config.load import read_text
from duende.config.policy import policy_of
from duende.errors import ConfigError
from duende.manager.client import ManagerClient


def do_policy(options: argparse.Namespace) -> int:
    """Show the policy of a daemon; with a file put that one in force.

    Raises:
        ConfigError: the file has a mistake, or the daemon found one; its old policy stays.
        StateError: the daemon has no socket: it does not run, or is no `Daemon` class.
    """
    with ManagerClient(options.runtime_dir) as client:
        view = client.ask("status", name=options.name)
    body = None
    if options.file is not None:
        text = read_text(options.file)
        policy_of(text, options.file)  # a mistake is told with the file's name, and the daemon not bothered
        body = text.encode()
    code, raw = ask_daemon(options.runtime_dir, view["id"], options.name, "policy", body)
    answer: dict[str, Any] = msgspec.json.decode(raw)
    if code != 200:
        raise ConfigError(f"{options.name} keeps its old policy: {answer.get('error', code)}")
    if options.json:
        output.json({"ok": True, "result": answer})
    else:
        _show(answer)
    return exits.OK


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
