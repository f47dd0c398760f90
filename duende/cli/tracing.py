"""`duende trace`: the system calls of a running daemon, as a table, as JSON, and as pictures."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from duende.cli import exits, output
from duende.cli.sockets import ask_daemon
from duende.errors import ConfigError, DaemonIOError, DuendeError, StateError
from duende.manager.client import ManagerClient
from duende.observe.spans import SpanRecord, paths
from duende.observe.trace import Tracer
from duende.observe.trace.call import names
from duende.observe.trace.pictures import duration, flame_graph, heat_map
from duende.observe.trace.source import Site, sites
from duende.observe.trace.tracer import Report, attach

LONGEST = 3600.0
SHOWN = 20
BEAT = 0.5
"""Seconds between two lines of progress in a terminal."""


def do_trace(options: argparse.Namespace) -> int:
    """Attach, wait, detach, tell.

    Raises:
        ConfigError: a number makes no sense.
        StateError: the daemon does not run.
        TracerFailedError: it cannot be traced; the text says what would help.
        DaemonIOError: the pictures cannot be written.
    """
    if not 0 < options.seconds <= LONGEST:
        raise ConfigError(
            f"--seconds {options.seconds:g} makes no sense", remedy=f"give more than 0, up to {LONGEST:g}"
        )
    began = time.time()
    pid = int(_view(options)["pid"])
    tracer = attach(pid, method=options.method, background=True)
    try:
        view = _view(options)
        if view["pid"] != pid:
            raise StateError(f"{options.name!r} was restarted just now", remedy="try again")
        _wait(tracer, options)
    finally:
        report = tracer.detach()
    found: list[Site] = []
    if options.source or options.pictures:
        if sys.stderr.isatty():
            sys.stderr.write("looking where in the source they come from ...\n")
        numbers = {name: number for number, name in names().items()}
        wanted = [numbers[each.name] for each in report.latencies[:SHOWN] if each.name in numbers]
        found = sites(pid, min(options.seconds, 10.0), wanted)
    if options.pictures:
        _draw(Path(options.pictures), options.name, report, found)
    path = _path(options, view["id"], began)
    if options.json:
        told = {"report": report, "sites": found, "critical_path": path}
        output.json({"ok": True, "result": told})
    else:
        show(report, found)
        if path:
            sys.stdout.write("\nwhat its spans waited for\n")
            for name, seconds in sorted(path.items(), key=lambda item: -item[1])[:5]:
                share = seconds / (sum(path.values()) or 1) * 100
                sys.stdout.write(f"  {name:32} {duration(seconds * 1e9):>9} {share:5.1f} %\n")
        if options.pictures:
            sys.stdout.write(f"\npictures: {options.pictures}/heat.svg {options.pictures}/flame.svg\n")
    return exits.OK


def _view(options: argparse.Namespace) -> dict[str, Any]:
    """What the manager says of a daemon that runs."""
    with ManagerClient(options.runtime_dir) as client:
        view: dict[str, Any] = client.ask("status", name=options.name)
    if not view.get("pid"):
        raise StateError(f"{options.name!r} does not run", remedy=f"duende start {options.name}")
    return view


def _path(options: argparse.Namespace, daemon_id: str, since: float) -> dict[str, float]:
    """Name of a span -> seconds it was on the critical path of traces that ended during the trace; empty where the daemon keeps none."""
    try:
        _, raw = ask_daemon(options.runtime_dir, daemon_id, options.name, "spans")
        kept = msgspec.convert(msgspec.json.decode(raw)["spans"], list[SpanRecord])
    except (DuendeError, msgspec.MsgspecError, KeyError, TypeError):
        return {}  # no Daemon class, or an older one
    found: dict[str, float] = {}
    for path in paths(record for record in kept if record.end >= since):
        for segment in path.segments:
            found[segment.name] = found.get(segment.name, 0.0) + segment.duration
    return found


def _wait(tracer: Tracer, options: argparse.Namespace) -> None:
    """Sleep until it is time, with progress where somebody looks; Ctrl-C ends it early, with what there is."""
    end = time.monotonic() + options.seconds
    try:
        while (left := end - time.monotonic()) > 0:
            if sys.stderr.isatty():
                told = f"tracing {options.name} by {tracer.method}: {left:4.1f} s to go, {tracer.summary.calls} calls"
                sys.stderr.write(f"\r\x1b[K{told}")
                sys.stderr.flush()
            time.sleep(min(left, BEAT))
    except KeyboardInterrupt:
        pass  # whoever has seen enough gets the report
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")


def show(report: Report, found: list[Site]) -> None:
    """Print it for people."""
    write = sys.stdout.write
    write(f"{report.calls} system calls in {report.seconds:.1f} s, seen by {report.method}\n")
    if report.instead:
        write(f"  (not by a cheaper way: {report.instead})\n")
    if report.lost:
        write(f"  ({report.lost} events came faster than they were read, and are not in the figures)\n")
    where: dict[str, str] = {}
    for site in found:
        where.setdefault(site.call, _short(str(site)))
    heads = ["CALL", "COUNT", "ERRORS", "TOTAL", "P50", "P99", "MAX"] + (["FROM"] if where else [])
    rows = [
        [
            each.name,
            str(each.count),
            " ".join(f"{name}:{count}" for name, count in list(each.errors.items())[:2]) or "-",
            *(
                duration(value * 1e9)
                for value in (each.total, each.percentiles["p50"], each.percentiles["p99"], each.most)
            ),
            *([where.get(each.name, "-")] if where else []),
        ]
        for each in report.latencies[:SHOWN]
    ]
    output.table(heads, rows)
    if len(report.latencies) > SHOWN:
        write(f"and {len(report.latencies) - SHOWN} more kinds of calls: --json has them\n")
    if report.patterns:
        write("\nhabits that cost\n")
        told: dict[tuple[str, str], int] = {}
        for pattern in report.patterns:
            told[(pattern.kind, pattern.call)] = told.get((pattern.kind, pattern.call), 0) + 1
        advice = {(each.kind, each.call): each.advice for each in report.patterns}
        for (kind, call), count in sorted(told.items(), key=lambda item: -item[1]):
            write(f"  {kind:16} {call:16} {count} times: {advice[(kind, call)]}\n")
    if report.anomalies:
        write(f"\ncalls that stand out: {len(report.anomalies) + report.more_anomalies}, the furthest\n")
        for each in sorted(report.anomalies, key=lambda each: -each.anomaly.score)[:5]:
            usual = duration(each.anomaly.mean * 1e9)
            write(
                f"  {each.call:16} {duration(each.anomaly.value * 1e9):>9}, {each.anomaly.score:.1f} sigma above {usual} ({each.anomaly.severity.value})\n"
            )


def _short(place: str) -> str:
    path, _, rest = place.rpartition("/")
    return rest if path else place


def _draw(folder: Path, name: str, report: Report, found: list[Site]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "heat.svg").write_text(
            heat_map(report, f"How long system calls of {name} took"), encoding="utf-8"
        )
        picture = flame_graph(found, report, f"Where system calls of {name} come from")
        (folder / "flame.svg").write_text(picture, encoding="utf-8")
        (folder / "trace.json").write_bytes(msgspec.json.encode({"report": report, "sites": found}))
    except OSError as error:
        raise DaemonIOError.of("write", str(folder), error, "give a folder this user may write") from error
