"""A trace as pictures, in SVG: when calls took how long (a heat map), and from where in the source they came (a flame graph)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from duende.observe.trace.source import Site
from duende.observe.trace.summary import SLOT_NS, edge_of
from duende.observe.trace.tracer import Report

WIDTH = 960
LEFT, RIGHT, TOP, BOTTOM = 70, 16, 46, 40
ROW = 18
_WAITING = """
poll ppoll select pselect6 epoll_wait epoll_pwait epoll_pwait2 nanosleep clock_nanosleep wait4 waitid pause rt_sigtimedwait restart_syscall
accept accept4 futex
"""
WAITING = frozenset(_WAITING.split())
"""Calls that wait for somebody: their time says nothing of the daemon's own, and would leave no room for the others."""
LEAST_PX = 0.4
"""A frame narrower than this is not drawn: nobody sees it."""
LETTER_PX = 6.6
INK, FAINT, PAPER = "#1f2933", "#66727f", "#ffffff"
SCALE = ("#eaf2f8", "#b9d6ea", "#7fb2d6", "#4a8bbd", "#24659b", "#123f6d")
"""Few to many."""


def duration(nanoseconds: float) -> str:
    """1500 -> "1.5 us"."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.0f} ns"


def _svg(height: float, title: str, note: str, parts: Iterable[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        f'font-family="ui-sans-serif, system-ui, sans-serif" font-size="11" role="img" aria-label="{escape(title)}">'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        f'<text x="{RIGHT}" y="20" font-size="14" font-weight="600" fill="{INK}">{escape(title)}</text>'
        f'<text x="{RIGHT}" y="36" fill="{FAINT}">{escape(note)}</text>'
    )
    return head + "".join(parts) + "</svg>\n"


def heat_map(report: Report, title: str = "How long system calls took") -> str:
    """Time from left to right, duration from below to above by powers of two, colour by how many."""
    cells: dict[tuple[int, int], int] = {}
    for slot, each, count in report.heat:
        row = edge_of(each).bit_length()
        cells[(slot, row)] = cells.get((slot, row), 0) + count
    rows = [row for _, row in cells] or [10]
    low, high = min(rows), max(*rows, min(rows) + 1)
    columns = max((slot for slot, _ in cells), default=0) + 1
    step = (WIDTH - LEFT - RIGHT) / columns
    most = max(cells.values(), default=1)
    parts = []
    for row in range(low, high + 1):
        y = TOP + (high - row) * ROW
        if (row - low) % 2 == 0:
            parts.append(
                f'<text x="{LEFT - 8}" y="{y + ROW}" text-anchor="end" fill="{FAINT}">{duration(1 << max(row - 1, 0))}</text>'
            )
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y + ROW}" y2="{y + ROW}" stroke="#eef1f4"/>'
        )
    for (slot, row), count in sorted(cells.items()):
        shade = SCALE[round(math.log1p(count) / math.log1p(most) * (len(SCALE) - 1))]
        x, y = LEFT + slot * step, TOP + (high - row) * ROW
        told = f"{count} calls of {duration(1 << max(row - 1, 0))} to {duration(1 << row)}, at {slot * SLOT_NS / 1e9:.1f} s"
        parts.append(
            f'<rect x="{x:.2f}" y="{y}" width="{max(step - 0.6, 0.6):.2f}" height="{ROW - 1}" fill="{shade}"><title>{told}</title></rect>'
        )
    bottom = TOP + (high - low + 1) * ROW
    for part in range(6):
        second = columns * SLOT_NS / 1e9 * part / 5
        x = LEFT + (WIDTH - LEFT - RIGHT) * part / 5
        anchor = "end" if part == 5 else "start" if part == 0 else "middle"
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="{anchor}" fill="{FAINT}">{second:.1f} s</text>'
        )
    note = f"{report.calls} calls in {report.seconds:.1f} s, by {report.method}; darker is more"
    return _svg(bottom + BOTTOM, title, note, parts)


class _Node:
    """A frame of the flame graph, and what stands on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.weight = 0.0
        self.above: dict[str, _Node] = {}

    def depth(self) -> int:
        """How many frames stand on each other at most."""
        return 1 + max((each.depth() for each in self.above.values()), default=0)


def flame_graph(
    sites: Sequence[Site], report: Report | None = None, title: str = "Where system calls come from"
) -> str:
    """The outermost function below, what it calls above it, the system call on top; as wide as the time the calls took (with a *report*), or as
    many as there were.
    """
    total = {each.name: each.total for each in report.latencies} if report is not None else {}
    left_out = sorted({site.call for site in sites} & WAITING) if total else []
    sites = [site for site in sites if site.call not in left_out]
    looked: dict[str, int] = {}
    for site in sites:
        looked[site.call] = looked.get(site.call, 0) + site.count
    root = _Node("all")
    for site in sites:
        weight = total.get(site.call, 0.0) * site.count / looked[site.call] if total else float(site.count)
        frames = [
            f"{each.function} ({each.file.rpartition('/')[2]}:{each.line})" if each.line else each.function
            for each in reversed(site.stack)
        ]
        node = root
        node.weight += weight
        for name in [*frames, f"[{site.call}]"]:
            node = node.above.setdefault(name, _Node(name))
            node.weight += weight
    height = TOP + root.depth() * ROW + 12
    parts: list[str] = []
    _draw(
        root,
        RIGHT,
        height - 12 - ROW,
        (WIDTH - 2 * RIGHT) / (root.weight or 1),
        root.weight or 1,
        parts,
        timed=bool(total),
    )
    note = "as wide as the time spent in them" if total else "as wide as how often they were seen"
    if left_out:
        note += f"; without waiting ({', '.join(left_out)})"
    return _svg(height, title, f"{sum(looked.values())} calls looked at, {note}", parts)


def _draw(
    node: _Node, x: float, y: float, scale: float, whole: float, parts: list[str], *, timed: bool
) -> None:
    width = node.weight * scale
    if width < LEAST_PX:
        return
    amount = duration(node.weight * 1e9) if timed else f"{node.weight:g} calls"
    letters = int((width - 6) / LETTER_PX)
    text = node.name if len(node.name) <= letters else (node.name[: letters - 1] + "…" if letters > 3 else "")
    parts.append(
        f"<g><title>{escape(node.name)}: {amount}, {node.weight / whole * 100:.1f} %</title>"
        f'<rect x="{x:.2f}" y="{y:.1f}" width="{max(width - 0.5, 0.4):.2f}" height="{ROW - 1}" rx="1.5" fill="{_colour(node.name)}"/>'
        f'<text x="{x + 3:.2f}" y="{y + 12.5:.1f}" fill="{INK}">{escape(text)}</text></g>'
    )
    for child in sorted(node.above.values(), key=lambda each: -each.weight):
        _draw(child, x, y - ROW, scale, whole, parts, timed=timed)
        x += child.weight * scale


def _colour(name: str) -> str:
    """The same name has the same colour, in every picture: calls blue, functions warm."""
    number = hashlib.sha256(name.encode()).digest()[0]
    if name.startswith("["):
        return f"hsl({200 + number % 30} 60% {72 + number % 8}%)"
    return f"hsl({18 + number % 36} 85% {68 + number % 10}%)"
