"""DT-007 as a picture: memory and progress over time, without the lock above and with it below; and the kernel's own words of the deadlock. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from xml.sax.saxutils import escape

from scenarios.history import Operation, observed

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP, FOOT = 960.0, 190.0, 64.0, 190.0, 74.0, 74.0, 46.0
INK, FAINT, GRID, PAPER = "#1f2933", "#66727f", "#e3e8ee", "#ffffff"
PROGRESS, SWAPPED, FREE, STUCK = "#24659b", "#c8772e", "#5d8a4c", "#b3261e"
SERIES = (("done", PROGRESS, "progress of the load"), ("swapped", SWAPPED, "in swap"), ("free", FREE, "free"))
TITLES = {
    "unlocked": "Memory of the swap's daemon is not locked",
    "locked": "Memory locked (mlockall) and PR_SET_IO_FLUSHER",
}
FRAMES = 14
"""Frames of a stack that are shown."""


def draw(history: Sequence[Operation]) -> dict[str, str]:
    """Name of a file -> its text."""
    halves = {name: _looks(history, name) for name in TITLES}
    if not any(halves.values()):
        return {}
    files = {"swap.svg": _picture(halves, _stuck(history))}
    told = [str(each.value["line"]) for each in observed(history, "swap-kernel")]
    if told:
        files["kernel.log"] = "\n".join(told) + "\n"
    if stacks := _stuck(history):
        files["stacks.txt"] = "\n".join(_stack_text(stacks)) + "\n"
    return files


def _looks(history: Sequence[Operation], half: str) -> list[dict[str, Any]]:
    return [each.value for each in observed(history, "swap-look") if each.value["half"] == half]


def _stuck(history: Sequence[Operation]) -> dict[str, Any]:
    found = observed(history, "swap-stuck")
    return dict(found[-1].value) if found else {}


def _stack_text(stuck: dict[str, Any]) -> Iterable[str]:
    for who, title in (
        ("server", "the daemon that serves the swap device"),
        ("load", "whoever needs memory"),
    ):
        for task in stuck.get(who, ()):
            yield f"{title}: thread {task['tid']} ({task['name']}), state {task['state']}"
            yield from (f"    {frame}" for frame in task["stack"][:FRAMES])
            yield ""


def _culprit(stuck: dict[str, Any]) -> str:
    for task in stuck.get("server", ()):
        if task["state"] == "D":
            known = [frame.partition("+")[0] for frame in task["stack"]]
            where = next((name for name in known if "swap" in name), known[0] if known else "?")
            return f"thread {task['tid']} of the daemon waits in {where}"
    return ""


def _picture(halves: dict[str, list[dict[str, Any]]], stuck: dict[str, Any]) -> str:
    spans = [look["t"] for looks in halves.values() for look in looks]
    most_t = max([1.0, *spans])
    most = max(
        [1.0, *(float(look[key]) for looks in halves.values() for look in looks for key, _, _ in SERIES)]
    )
    height = TOP + len(halves) * (PANEL + GAP) - GAP + FOOT
    parts = []
    for number, (half, looks) in enumerate(halves.items()):
        top = TOP + number * (PANEL + GAP)
        parts += _panel(half, looks, top, most_t, most, stuck if half == "unlocked" else {})
    title = "DT-007: the same load on the same swap device, served by a duende daemon in a guest"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}" height="{height:g}" '
        f'font-family="ui-sans-serif, system-ui, sans-serif" font-size="12" role="img" aria-label="{escape(title)}">'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        f'<text x="16" y="26" font-size="16" font-weight="600" fill="{INK}">{escape(title)}</text>'
        + "".join(parts)
        + f'<text x="{LEFT + (WIDTH - LEFT - RIGHT) / 2:g}" y="{height - 10:g}" text-anchor="middle" fill="{FAINT}">seconds</text></svg>\n'
    )


def _panel(
    half: str,
    looks: Sequence[dict[str, Any]],
    top: float,
    most_t: float,
    most: float,
    stuck: dict[str, Any],
) -> list[str]:
    across, up = (WIDTH - LEFT - RIGHT) / most_t, PANEL / (most * 1.05)
    floor = top + PANEL

    def at(look: dict[str, Any], key: str) -> str:
        return f"{LEFT + look['t'] * across:.1f},{floor - float(look[key]) * up:.1f}"

    parts = [
        f'<text x="{LEFT:g}" y="{top - 12:g}" font-size="13" font-weight="600" fill="{INK}">{escape(TITLES[half])}</text>'
    ]
    step = _step(most)
    for value in range(0, int(most * 1.05) + 1, step):
        y = floor - value * up
        parts.append(
            f'<line x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
            f'<text x="{LEFT - 8:g}" y="{y + 4:.1f}" text-anchor="end" fill="{FAINT}">{value}{" MiB" if value + step > most * 1.05 else ""}</text>'
        )
    for second in range(0, int(most_t) + 1, _step(most_t)):
        x = LEFT + second * across
        parts.append(
            f'<text x="{x:.1f}" y="{floor + 16:g}" text-anchor="middle" fill="{FAINT}">{second}</text>'
        )
    if not looks:
        return [*parts, f'<text x="{LEFT + 8:g}" y="{top + 20:g}" fill="{FAINT}">not run</text>']
    if stuck:
        begins = LEFT + (looks[-1]["t"] - looks[-1]["idle"]) * across
        ends = LEFT + looks[-1]["t"] * across
        parts.append(
            f'<rect x="{begins:.1f}" y="{top:g}" width="{ends - begins:.1f}" height="{PANEL:g}" fill="{STUCK}" opacity="0.10"/>'
            f'<text x="{begins + 10:.1f}" y="{top + 22:g}" fill="{STUCK}" font-weight="600">deadlock: no progress for {looks[-1]["idle"]:.0f} s</text>'
            f'<text x="{begins + 10:.1f}" y="{top + 40:g}" fill="{STUCK}">{escape(_culprit(stuck))}</text>'
        )
    ends_at: list[tuple[float, str, str]] = []
    for key, colour, name in SERIES:
        points = " ".join(at(look, key) for look in looks)
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round" points="{points}"/>'
        )
        ends_at.append((floor - float(looks[-1][key]) * up, colour, f"{name}, {looks[-1][key]}"))
    x = LEFT + looks[-1]["t"] * across + 8
    for y, colour, text in _apart(ends_at):
        parts.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" fill="{colour}">{escape(text)}</text>')
    return parts


def _apart(labels: list[tuple[float, str, str]], least: float = 15.0) -> list[tuple[float, str, str]]:
    """Labels that would lie on each other, moved down until they do not."""
    placed: list[tuple[float, str, str]] = []
    for y, colour, text in sorted(labels):
        placed.append((max(y, placed[-1][0] + least) if placed else y, colour, text))
    return placed


def _step(most: float) -> int:
    """A round step that gives four to ten marks."""
    for step in (1, 2, 5, 10, 20, 50, 100, 200, 500):
        if most / step <= 9:
            return step
    return 1000
