"""What the command prints: plain columns that fit a terminal, colour where there is one, JSON for programs."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from duende.errors import ConfigError, DuendeError

COLOURS = {
    "Running": "32",
    "Failed": "31",
    "Starting": "33",
    "Stopping": "33",
    "Paused": "36",
    "Stopped": "2",
    "Created": "2",
    "honoured": "32",
    "approximated": "33",
    "ignored": "31",
    "usable": "32",
    "unhealthy": "31",
    "absent": "2",
}
"""Terminal colours (ECMA-48) of states, outcomes and findings."""


def json(value: Any) -> None:
    """Print *value* as one JSON document."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def error(problem: DuendeError, *, as_json: bool) -> None:
    """Print an error: what, why, and what to do."""
    kind = getattr(problem, "kind", type(problem).__name__)
    if as_json:
        json({"ok": False, "error": {"kind": kind, "message": problem.problem, "remedy": problem.remedy}})
        return
    lines = list(problem.problems) if isinstance(problem, ConfigError) else [problem.problem]
    for line in lines:
        sys.stderr.write(f"duende: {line}\n")
    if problem.remedy:
        sys.stderr.write(f"  try: {problem.remedy}\n")


def in_colour() -> bool:
    """Whether this is a terminal that wants colour (https://no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def coloured(text: str, word: str) -> str:
    """*text* in the colour of the state *word*, on a terminal that wants colour."""
    return f"\x1b[{COLOURS[word]}m{text}\x1b[0m" if word in COLOURS and in_colour() else text


def size(count: float, digits: int = 3) -> str:
    """1536 -> "1.5 KiB"."""
    for unit, each in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= each:
            return f"{count / each:.{digits}g} {unit}"
    return f"{count:.0f} B"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], state_column: int | None = None) -> None:
    """Print columns; the last one is cut to the terminal's width."""
    body = [list(row) for row in rows]
    widths = [max([len(head), *(len(row[i]) for row in body)]) for i, head in enumerate(heads)]
    room = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 10_000
    last = max(8, room - sum(widths[:-1]) - 2 * (len(widths) - 1))
    for row in [list(heads), *body]:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True)]
        if state_column is not None and row is not heads:
            cells[state_column] = coloured(cells[state_column], row[state_column])
        end = row[-1] if len(row[-1]) <= last else row[-1][: last - 1] + "…"
        print("  ".join([*cells, end]).rstrip())


def age(since: float | None) -> str:
    """How long ago, in one or two units."""
    if since is None:
        return "-"
    seconds = max(0, int(time.time() - since))
    for size, unit, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // below}{small}"
    return f"{seconds}s"


def ps(views: list[dict[str, Any]]) -> None:
    """Print the list of daemons."""
    rows = [
        (
            view["name"],
            view["status"],
            str(view["pid"] or "-"),
            age(view["since"]) if view["status"] in ("Running", "Paused") else "-",
            str(view["restarts"]),
            view["health"] or "-",
            _remark(view),
        )
        for view in views
    ]
    table(("NAME", "STATE", "PID", "UP", "RESTARTS", "HEALTH", "REMARK"), rows, state_column=1)


def _remark(view: dict[str, Any]) -> str:
    if view["next_restart_in"] is not None:
        return f"restarts in {view['next_restart_in']:.1f} s; {view['reason'] or view['last_exit'] or ''}".rstrip(
            "; "
        )
    return str(view["reason"] or view["health_reason"] or view["note"] or view["last_exit"] or "")


def status(view: dict[str, Any]) -> None:
    """Print one daemon, a fact a line."""
    print(f"{coloured('●', view['status'])} {view['name']}  {view['description']}".rstrip())
    facts = [
        ("state", view["status"] + (f" ({view['reason']})" if view["reason"] else "")),
        ("pid", view["pid"] or "-"),
        ("up", age(view["since"]) if view["status"] in ("Running", "Paused") else "-"),
        ("wanted", view["wanted"]),
        ("restarts", view["restarts"]),
        (
            "next restart",
            f"in {view['next_restart_in']:.1f} s" if view["next_restart_in"] is not None else "-",
        ),
        ("last exit", view["last_exit"] or "-"),
        (
            "health",
            (view["health"] or "-") + (f" ({view['health_reason']})" if view["health_reason"] else ""),
        ),
        ("says", view["note"] or "-"),
        ("version", view["version"]),
        ("id", view["id"]),
    ]
    for name, value in facts:
        print(f"  {name:>12}  {value}")


def certificate(found: dict[str, Any]) -> None:
    """Print what a stop did and proved."""
    mark = "stopped" if found["proven"] else "UNKNOWN"
    print(
        f"{found['name']}: {mark} in {found['duration'] * 1000:.0f} ms{' (escalated to KILL)' if found['escalated'] else ''}"
    )
    for step in found["steps"]:
        print(f"  {step['at'] * 1000:8.1f} ms  {step['what']}")
    if found["exit"]:
        print(f"  main process: {found['exit']}")
    for name in found["stragglers"]:
        print(f"  had to be ended too: {name}")
    for name in found["blocked_by"]:
        print(f"  cannot be ended: {name}")
    print(f"  proof: {found['proof']}")


def event(happened: dict[str, Any]) -> None:
    """Print one event as a line."""
    moment = time.strftime("%H:%M:%S", time.localtime(happened["at"]))
    print(
        f"{moment}  {happened['name']:<24} {coloured(happened['kind'].ljust(10), happened['status'])} {happened['detail']}".rstrip(),
        flush=True,
    )


def events(happened: list[dict[str, Any]]) -> None:
    """Print events, a line each."""
    for one in happened:
        event(one)


def settings(report: list[dict[str, Any]]) -> None:
    """Print what the platform made of each setting; reasons on a line of their own where they do not fit."""
    rows = [
        (each["outcome"], each["key"], each["wanted"], each["found"] or "-", each["why"]) for each in report
    ]
    table(("OUTCOME", "SETTING", "WANTED", "FOUND", "HOW KNOWN, OR WHY NOT"), rows, state_column=0)


def platforms(findings: list[dict[str, Any]]) -> None:
    """Print what can be used here and what would help where it cannot, a paragraph each."""
    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100
    name_width = max(len(each["name"]) for each in findings)
    print(f"{'PLATFORM':<{name_width}}  {'STATE':<9}  WHY, AND WHAT WOULD HELP")
    for each in findings:
        state = coloured(f"{each['state']:<9}", each["state"])
        head = f"{each['name']:<{name_width}}  {state}  "
        indent = " " * (name_width + 13)
        text = f"{each['version']}: {each['why']}" if each["version"] else each["why"]
        lines = _wrapped(text, width - len(indent))
        print(head + lines[0])
        for line in lines[1:]:
            print(indent + line)
        if each["state"] != "usable" and each["remedy"]:
            for number, line in enumerate(_wrapped(each["remedy"], width - len(indent) - 5)):
                print(f"{indent}{'try: ' if number == 0 else '     '}{line}")


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words: a command or a path that was broken up could not be copied."""
    return textwrap.wrap(text, max(20, width), break_on_hyphens=False, break_long_words=False) or [""]


def certificates(found: list[dict[str, Any]]) -> None:
    """Print what several stops did."""
    for one in found:
        certificate(one)
