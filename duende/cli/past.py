"""`duende history`: what a daemon has used so far, as the manager's monitor saw it."""

from __future__ import annotations

import argparse
import itertools
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from duende.cli import exits, output
from duende.cli.screen import levels, spark
from duende.config.units import parse_duration
from duende.manager.client import ManagerClient

NARROW, WIDE = 20, 120
"""Columns of a curve at least, and of a terminal that is none."""


def do_history(options: argparse.Namespace) -> int:
    """Print curves of the past, with least, mean and most.

    Raises:
        ConfigError: the time is none.
        NotFoundError: there is no such daemon, or no manager.
        RemoteError: the manager keeps no history.
    """
    seconds = parse_duration(options.last)
    with ManagerClient(options.runtime_dir) as client:
        told = client.ask("history", name=options.name, values={"last": f"{seconds}s"})
    if options.json:
        output.json({"ok": True, "result": told})
        return exits.OK
    for line in lines_of(told, shutil.get_terminal_size((WIDE, 24)).columns, levels()):
        sys.stdout.write(line.rstrip() + "\n")
    return exits.OK


def lines_of(told: dict[str, Any], width: int, signs: str) -> list[str]:
    """What is shown."""
    samples = told["samples"]
    if not samples:
        return [f"{told['name']}: no samples yet (one every {told['interval']:g} s while it runs)"]
    began, ended = samples[0][0], samples[-1][0]
    first = f"{told['name']}: {len(samples)} samples from {_clock(began)} to {_clock(ended)}, one every {told['interval']:g} s"
    head = f"{'':10}{'LEAST':>10}{'MEAN':>10}{'MOST':>10}{'LAST':>10}  "
    room = max(NARROW, width - len(head) - 1)
    lines = [first, "", head + "OLDEST TO NEWEST" if room >= len("OLDEST TO NEWEST") else head]
    rows: tuple[tuple[str, int, Callable[[float], str], float], ...] = (
        ("cpu", 1, lambda value: f"{value:.1f}%", 1.0),
        ("memory", 2, output.size, 0.0),
        ("threads", 3, lambda value: f"{value:.0f}", 0.0),
        ("processes", 4, lambda value: f"{value:.0f}", 0.0),
    )
    for name, column, text, top in rows:
        values = [each[column] for each in samples if each[column] is not None]
        if values:
            shown = (min(values), math.fsum(values) / len(values), max(values), values[-1])
            told_of = "".join(f"{text(value):>10}" for value in shown)
            lines.append(
                f"{name:10}{told_of}  {spark(squeezed(values, room), min(room, len(values)), top, signs)}"
            )
    if told["trouble"]:
        lines += ["", f"kept in memory alone: {told['trouble']}"]
    return lines


def squeezed(values: Sequence[float], count: int) -> list[float]:
    """The values as *count* at most: the largest of each group that lies together."""
    if len(values) <= count:
        return list(values)
    edges = [index * len(values) // count for index in range(count + 1)]
    return [max(values[start:end]) for start, end in itertools.pairwise(edges)]


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S" if time.time() - at < 86_400 else "%Y-%m-%d %H:%M:%S", time.localtime(at))
