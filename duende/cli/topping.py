"""`duende top`: daemons as they live: state, health, restarts, what they use and what they may use, and how that went."""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import time
from typing import Any

from duende.cli import exits, output
from duende.cli.screen import Screen, bar, levels, spark
from duende.errors import ConfigError, DuendeError
from duende.manager.client import ManagerClient, RemoteError
from duende.observe.trees import TreeMonitor

LIMITS_EVERY = 30.0
"""Seconds after which a daemon's limits are asked for again: they change seldom."""
CURVE = 24
"""Readings in a curve."""
KEYS = {"c": "cpu", "m": "memory", "n": "name", "r": "restarts"}
LEAST, MOST = 0.1, 3600.0


class Row:
    """What is known of one daemon."""

    def __init__(self, view: dict[str, Any]) -> None:
        self.view = view
        self.cpu: list[float] = []
        self.memory: list[float] = []
        self.threads = 0
        self.processes = 0
        self.limits: dict[str, Any] = {}
        self.asked = -LIMITS_EVERY

    def measure(self, by: str) -> float:
        """What rows are sorted by."""
        if by == "restarts":
            return float(self.view["restarts"])
        return self.cpu[-1] if by == "cpu" else self.memory[-1]

    def limit(self, name: str) -> float:
        """A limit, 0 where there is none."""
        return float((self.limits.get(name) or {}).get("limit") or 0.0)


class Top:
    """Asks the manager, looks at the processes, makes lines."""

    def __init__(self, runtime_dir: str) -> None:
        self._runtime_dir = runtime_dir
        self._monitor = TreeMonitor()
        self.rows: dict[str, Row] = {}
        self._remembers = True
        """Whether the manager may have a history."""

    def look(self) -> None:
        """Bring everything up to date.

        Raises:
            NotFoundError: the manager is gone.
        """
        with ManagerClient(self._runtime_dir) as client:
            views = client.ask("list")
            for view in views:
                row = self.rows.get(view["name"])
                if row is None:
                    row = self.rows[view["name"]] = Row(view)
                    self._remember(client, row)
                row.view = view
                if view["pid"] and time.monotonic() - row.asked >= LIMITS_EVERY:
                    row.asked = time.monotonic()
                    try:
                        row.limits = client.ask("limits", name=view["name"])
                    except RemoteError:
                        row.limits = {}  # its platform cannot say; the columns stay empty
        for name in set(self.rows) - {view["name"] for view in views}:
            del self.rows[name]
        used = self._monitor.look({name: row.view["pid"] for name, row in self.rows.items()})
        for name, row in self.rows.items():
            now = used[name]
            first = math.isnan(now.cpu_percent)  # nothing is known of it yet
            row.cpu = [*row.cpu[-CURVE:], (row.cpu[-1] if row.cpu else 0.0) if first else now.cpu_percent]
            row.memory = [*row.memory[-CURVE:], now.rss_bytes]
            row.threads, row.processes = int(now.threads), int(now.processes)

    def _remember(self, client: ManagerClient, row: Row) -> None:
        """Begin the curve with what the manager's monitor saw, where it has one."""
        if not self._remembers:
            return
        try:
            samples = client.ask("history", name=row.view["name"])["samples"][-CURVE:]
        except RemoteError:
            self._remembers = False
            return
        row.cpu = [each[1] or 0.0 for each in samples]
        row.memory = [each[2] or 0.0 for each in samples]

    def close(self) -> None:
        """Let go of the processes."""
        self._monitor.close()

    def ordered(self, by: str) -> list[Row]:
        """The rows, by "name", or the most of something first."""
        by_name = sorted(self.rows.values(), key=lambda row: str(row.view["name"]))
        if by == "name":
            return by_name
        return sorted(by_name, key=lambda row: row.measure(by), reverse=True)

    def lines(self, by: str, width: int, signs: str) -> list[str]:
        """What is shown."""
        rows = self.ordered(by)
        running = sum(row.view["status"] == "Running" for row in rows)
        cpu, memory = sum(row.cpu[-1] for row in rows), sum(row.memory[-1] for row in rows)
        first = (
            f"duende top   {time.strftime('%H:%M:%S')}   {len(rows)} daemons, {running} running   "
            f"cpu {cpu:.0f} %   memory {output.size(memory)}"
        )
        name = max([4, *(len(row.view["name"]) for row in rows)])
        name = min(name, 24)
        head = f"{'NAME':{name}}  {'STATE':8} {'UP':>6} {'RST':>4} {'HEALTH':9} {'CPU':>6} {'OF':>5} {'':10} {'MEMORY':>8} {'OF':>8} {'':8} {'PROC':>4}"
        room = max(0, min(CURVE, width - len(head) - 2))
        head += f"  {'CPU SO FAR':{room}}" if room >= 10 else ""
        made = [first, "", _bold(head)]
        wide = room if room >= 10 else 0
        made += [self._line(row, name, wide, signs) for row in rows]
        return [_cut(line, width) for line in made] + [
            "",
            _cut(f"sorted by {by}; c cpu, m memory, r restarts, n name, q quit", width),
        ]

    def _line(self, row: Row, name: int, room: int, signs: str) -> str:
        view = row.view
        quota, allowed = row.limit("cpu"), row.limit("memory")
        up = output.age(view["since"]) if view["status"] in ("Running", "Paused") else "-"
        state = output.coloured(f"{view['status']:8}", view["status"])
        text = (
            f"{view['name'][:name]:{name}}  {state} {up:>6} {view['restarts']:>4} {view['health'] or '-':9.9} "
            f"{row.cpu[-1]:5.1f}% {f'{quota:.0f}%' if quota else '-':>5} {bar(row.cpu[-1], quota, 10, signs)} "
            f"{output.size(row.memory[-1]):>8} {output.size(allowed) if allowed else '-':>8} {bar(row.memory[-1], allowed, 8, signs)} {row.processes:>4}"
        )
        if not room or not any(row.cpu):
            return text  # what does nothing has no curve, and its line stays as it is
        return f"{text}  {spark(row.cpu, room, 1.0, signs)}"


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if output.in_colour() else text


def _cut(line: str, width: int) -> str:
    """The line, as wide as the terminal; control sequences take no room."""
    shown, at, inside = 0, 0, False
    for at, letter in enumerate(line):
        if letter == "\x1b":
            inside = True
        elif inside:
            inside = not letter.isalpha()
        else:
            shown += 1
            if shown > width:
                return line[:at] + ("\x1b[0m" if "\x1b" in line else "")
    return line[: at + 1]


def do_top(options: argparse.Namespace) -> int:
    """Show daemons until q is pressed, or once where nobody can press it.

    Raises:
        ConfigError: the interval makes no sense.
        NotFoundError: no manager runs there.
    """
    if not LEAST <= options.interval <= MOST:
        raise ConfigError(
            f"--interval {options.interval:g} makes no sense", remedy=f"give {LEAST:g} to {MOST:g} seconds"
        )
    top = Top(options.runtime_dir)
    try:
        top.look()
        if options.json or options.once or not sys.stdout.isatty():
            time.sleep(min(options.interval, 1.0))  # CPU use is that between two looks
            top.look()
            _once(top, options)
            return exits.OK
        return _live(top, options)
    finally:
        top.close()


def _once(top: Top, options: argparse.Namespace) -> None:
    if options.json:
        output.json(
            {
                "ok": True,
                "result": [
                    {
                        **row.view,
                        "cpu_percent": row.cpu[-1],
                        "memory_bytes": row.memory[-1],
                        "threads": row.threads,
                        "processes": row.processes,
                        "limits": row.limits,
                    }
                    for row in top.ordered(options.sort)
                ],
            }
        )
        return
    width = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 120
    for line in top.lines(options.sort, width, levels())[:-2]:
        sys.stdout.write(line.rstrip() + "\n")


def _live(top: Top, options: argparse.Namespace) -> int:
    by, gone = options.sort, ""
    with Screen() as screen:
        try:
            while True:
                width = shutil.get_terminal_size((100, 24)).columns
                lines = top.lines(by, width, levels())
                screen.draw([*lines, "", gone] if gone else lines)
                pressed = screen.key(options.interval)
                if pressed in ("q", "\x03", "\x04"):
                    return exits.OK
                by = KEYS.get(pressed, by)
                if not pressed:
                    try:
                        top.look()
                        gone = ""
                    except DuendeError as error:
                        gone = f"the manager does not answer: {error}"
        except KeyboardInterrupt:
            return exits.OK
