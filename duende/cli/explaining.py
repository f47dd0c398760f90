"""`duende explain`: what became of each setting, and how exposed that leaves a daemon."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec

from duende.adapters.contract import Found
from duende.cli import exits, output
from duende.config import DaemonConfig
from duende.errors import DuendeError
from duende.manager.client import ManagerClient
from duende.policy.security.score import WEIGHTS, WORDS, Exposure, exposure

WITHIN = 20.0
"""Seconds for systemd-analyze."""


def do_explain(options: argparse.Namespace) -> int:
    """Say what became of each setting; and in one number, beside systemd's own for the same daemon, how much is left open."""
    with ManagerClient(options.runtime_dir) as client:
        report = client.ask("explain", name=options.name)
        config = msgspec.convert(client.ask("config", name=options.name), DaemonConfig)
    in_force = {each["key"] for each in report if each["outcome"] != Found.IGNORED.value}
    found, theirs = exposure(config, in_force), by_systemd(config)
    if options.json:
        output.json(
            {"ok": True, "result": report, "exposure": {**msgspec.to_builtins(found), "systemd": theirs}}
        )
        return exits.OK
    output.settings(report)
    print()
    print("\n".join(told(found, theirs)))
    return exits.OK


def by_systemd(config: DaemonConfig) -> float | None:
    """What `systemd-analyze security` says of the unit that is rendered from *config*; None where it cannot be asked (it needs systemd 250)."""
    from duende.render import render

    program = shutil.which("systemd-analyze")
    if program is None:
        return None
    try:
        text = render(msgspec.structs.replace(config, best_effort=True), "systemd").text
    except DuendeError:
        return None  # systemd could not run it at all
    with tempfile.TemporaryDirectory(prefix="duende-explain-") as folder:
        path = Path(folder) / "duende.service"
        path.write_text(text, encoding="utf-8")
        line = [program, "security", "--offline=yes", "--no-pager", str(path)]
        try:
            done = subprocess.run(
                line, capture_output=True, text=True, errors="replace", timeout=WITHIN, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    said = re.search(r"exposure level for \S+: (\d{1,2}\.\d)", done.stdout)
    return float(said[1]) if said is not None else None


def told(found: Exposure, theirs: float | None) -> list[str]:
    """The number in words."""
    wide = sorted(
        (door for door, part in found.doors.items() if part >= 0.5), key=lambda door: -WEIGHTS[door]
    )
    lines = [
        f"exposure {found.total:.1f} of 10, {found.word}" + (f"; open: {', '.join(wide)}" if wide else "")
    ]
    if theirs is not None:
        word = next(word for most, word in WORDS if theirs <= most)
        lines.append(
            f"systemd-analyze security says {theirs:.1f}, {word}, of the unit that duende render writes of it"
        )
    return lines
