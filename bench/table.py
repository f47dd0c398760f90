"""From samples to medians, ratios and a table of at most 100 columns. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Samples = Mapping[str, Mapping[str, Sequence[float]]]
"""Peer, figure, what was measured."""

LIMIT = "C limit"
HERO = "duende"
NARROW = 9
"""Columns of a peer with a short name."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: a statistic over the samples of one figure; less is better in all of them."""

    figure: str
    title: str
    aim: str
    of: Callable[[Sequence[float]], float] = statistics.median


def rows(n: int, few: int) -> tuple[Row, ...]:
    """The lines of a bench with *n* and *few* daemons."""
    return (
        Row(figure=f"start{few}", title=f"start {few}, ms", aim="first"),
        Row(figure=f"start{n}", title=f"start {n}, ms", aim="2x limit"),
        Row(figure="restart", title="restart p50, ms", aim="< 2"),
        Row(figure="restart", title="restart max, ms", aim="p99 < 5", of=max),
        Row(figure="mass", title=f"all {n} die, ms", aim="2x limit"),
        Row(figure=f"stop{n}", title=f"stop {n}, ms", aim="2x limit"),
        Row(figure="cpu", title=f"CPU to start {n}, ms", aim="< 400"),
        Row(figure="pss", title="memory (PSS), MB", aim="< 20"),
        Row(figure="idle", title="idle CPU, ms per s", aim="< 1"),
        Row(figure="one", title="status of one p50, ms", aim="< 0.3"),
        Row(figure="all", title=f"status of {n}, ms", aim="< 10"),
    )


def short(value: float) -> str:
    """Three significant digits, no exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def value(samples: Samples, peer: str, row: Row) -> float | None:
    """The statistic of a row for a peer, None where nothing was measured."""
    found = samples.get(peer, {}).get(row.figure, ())
    return row.of(found) if found else None


def ratio(samples: Samples, row: Row) -> float | None:
    """Ratio of duende to the limit, None where one of the two is missing or the limit is nothing."""
    mine, limit = value(samples, HERO, row), value(samples, LIMIT, row)
    return mine / limit if mine is not None and limit else None


def rank(samples: Samples, row: Row) -> tuple[int, int] | None:
    """Place of duende among all peers but the limit, and how many those are."""
    mine = value(samples, HERO, row)
    if mine is None:
        return None
    others = [
        found
        for peer in samples
        if peer not in (HERO, LIMIT) and (found := value(samples, peer, row)) is not None
    ]
    return 1 + sum(other < mine for other in others), 1 + len(others)


def render(samples: Samples, peers: Sequence[str], lines: Sequence[Row]) -> str:
    """The table. A dash is a figure that a peer does not have or that failed."""
    widths = {peer: max(NARROW, len(peer) + 2) for peer in peers}
    names = "".join(f"{peer:>{widths[peer]}}" for peer in peers)
    head = f"{'median of all rounds':<22}{names}{'ratio':>7}{'rank':>5}"
    out = [head, "-" * len(head)]
    for row in lines:
        cells = [found for peer in peers if (found := value(samples, peer, row)) is not None]
        if not cells:
            continue
        text = f"{row.title:<22}"
        for peer in peers:
            found_value = value(samples, peer, row)
            text += f"{'-' if found_value is None else short(found_value):>{widths[peer]}}"
        over, place = ratio(samples, row), rank(samples, row)
        text += f"{'-' if over is None else f'{over:.1f}x':>7}"
        text += f"{'-' if place is None else f'{place[0]}/{place[1]}':>5}"
        out.append(text)
    out.append("ratio: duende over the C limit; rank: among the supervisors. Less is better everywhere.")
    return "\n".join(out)
