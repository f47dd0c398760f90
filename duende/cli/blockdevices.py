"""`duende ublk`: the devices there are, how one is, and what is left of servers that are gone."""

from __future__ import annotations

import argparse
import sys

import msgspec

from duende.cli import exits, output
from duende.errors import ConfigError, NotFoundError
from duende.ublk import Feature, UblkControl, clean_orphans, find_orphans
from duende.ublk.layout import SECTOR


def do_ublk(options: argparse.Namespace) -> int:
    """List devices, tell of one, or clean up orphans. Exit code 1 where an orphan could not be removed.

    Raises:
        UblkError: there is no driver, or it refuses.
        ConfigError: no device is given, or one where none is wanted.
        NotFoundError: there is no such device.
    """
    if (options.device is None) == (options.action == "info"):
        raise ConfigError(
            f"ublk {options.action} {'needs the number of a device' if options.device is None else 'takes no device'}",
            remedy="duende ublk info 0",
        )
    with UblkControl() as control:
        if options.action == "cleanup":
            return _cleanup(control, options)
        if options.action == "info":
            return _info(control, options)
        found = find_orphans(control)
        if options.json:
            output.json({"ok": True, "result": [msgspec.to_builtins(each) for each in found]})
            return exits.OK
        lines = [f"{'DEVICE':14} {'STATE':9} {'SERVER':>8} {'QUEUES':>7} {'DEPTH':>6}  WHAT IT IS"]
        lines += [
            f"{control.block(each.device):14} {each.info.state_name:9} {each.info.server_pid if each.info.server_pid > 0 else '-':>8} "
            f"{each.info.queues:>7} {each.info.depth:>6}  {'orphan: ' if each.orphan else ''}{each.reason}"
            for each in found
        ]
        sys.stdout.write("".join(f"{line}\n" for line in lines) if found else "no ublk devices\n")
        return exits.OK


def _info(control: UblkControl, options: argparse.Namespace) -> int:
    info = control.find(options.device)
    if info is None:
        raise NotFoundError(f"there is no ublk device {options.device}")
    parameters = control.parameters(options.device)
    flags = [each.name for each in Feature if info.flags & each]
    if options.json:
        told = {
            "info": msgspec.to_builtins(info),
            "parameters": msgspec.to_builtins(parameters),
            "flags": flags,
        }
        output.json({"ok": True, "result": told})
        return exits.OK
    lines = [
        f"{control.block(options.device)}, {output.size(parameters.sectors * SECTOR)}",
        f"  state     {info.state_name}",
        f"  server    {info.server_pid if info.server_pid > 0 else 'none'}",
        f"  queues    {info.queues}, {info.depth} requests each, up to {output.size(info.max_io_bytes)}",
        f"  blocks    {output.size(1 << parameters.logical_shift)} logical, {output.size(1 << parameters.physical_shift)} physical",
        f"  owner     {info.owner_uid}:{info.owner_gid}",
        f"  flags     {', '.join(str(each) for each in flags) or 'none'}",
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return exits.OK


def _cleanup(control: UblkControl, options: argparse.Namespace) -> int:
    cleaned = clean_orphans(control)
    if options.json:
        output.json({"ok": True, "result": [msgspec.to_builtins(each) for each in cleaned]})
    elif not cleaned:
        sys.stdout.write("no orphans\n")
    else:
        for each in cleaned:
            mark = "removed" if each.gone else "still there"
            sys.stdout.write(f"ublk device {each.device}: {mark}: {each.reason}\n")
    return exits.OK if all(each.gone for each in cleaned) else exits.FAILED
