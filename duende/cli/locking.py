"""`duende mlock`: what of a process is locked, and what would become of locking it."""

from __future__ import annotations

import argparse
import errno
import os
import sys

import msgspec

from duende.cli import exits, output
from duende.errors import ConfigError, StateError
from duende.manager.client import ManagerClient
from duende.mlock import LockReport, MlockConfig, look
from duende.mlock.locking import REMEDY
from duende.mlock.status import UNLIMITED


def do_mlock(options: argparse.Namespace) -> int:
    """Explain a daemon's main process, that of a number, or this one. Exit code 0: it is locked, or nothing would stand against it.

    Raises:
        ConfigError: a name and a number.
        NotFoundError: there is no such process or daemon.
        StateError: the daemon does not run.
    """
    if options.name is not None and options.pid is not None:
        raise ConfigError("a name and --pid are two processes", remedy="give one of them")
    pid = options.pid
    if options.name is not None:
        with ManagerClient(options.runtime_dir) as client:
            view = client.ask("status", name=options.name)
        if not view["pid"]:
            raise StateError(f"{options.name} has no process: it is {view['status']}", remedy="start it")
        pid = view["pid"]
    report = look(pid)
    refused = report.refusal(MlockConfig())
    if options.json:
        told = msgspec.to_builtins(report)
        output.json({"ok": True, "result": {**told, "refusal": errno.errorcode.get(refused)}})
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines_of(report)))
    return exits.FAILED if refused and not report.locked else exits.OK


def lines_of(report: LockReport) -> list[str]:
    """What is printed."""
    limit = "unlimited" if report.limit == UNLIMITED else output.size(report.limit)
    refused = report.refusal(MlockConfig())
    who = " (this command)" if report.pid == os.getpid() else ""
    lines = [
        f"process {report.pid}, {report.name}{who}",
        f"  locked     {output.size(report.locked)} of {output.size(report.mapped)} that it has mapped",
        f"  resident   {output.size(report.resident)}",
        f"  swapped    {output.size(report.swapped)}",
        f"  limit      {limit} (RLIMIT_MEMLOCK)",
        f"  capable    {'yes, of any amount' if report.capable else 'no'} (CAP_IPC_LOCK)",
    ]
    if refused:
        lines.append(f"  mlockall   would fail with {errno.errorcode[refused]}: {os.strerror(refused)}")
        lines.append(f"  remedy     {REMEDY[refused]}")
    else:
        lines.append("  mlockall   would lock all of it, and what comes")
    if report.locked and report.swapped:
        lines.append("  beware     a part of it is in swap: what was mapped before, or is not locked")
    return lines
