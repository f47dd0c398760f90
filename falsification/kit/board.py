"""What a person sees in the terminal: a line for each finished claim, and the board of all of them in 80
columns.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from falsification.kit.claim import CATEGORIES, Claim
from falsification.kit.figure import holds, quantity
from falsification.kit.ledger import NOT_TRIED

WIDTH = 80
SIGNS = {"survived": "+", "falsified": "X", "unattempted": ".", "vacuous": "o", "broken": "!", "flaky": "~"}
"""One character for each state: the board reads without colour."""
STYLES = {
    "survived": "green",
    "falsified": "bold red",
    "unattempted": "dim",
    "vacuous": "yellow",
    "broken": "bold magenta",
    "flaky": "bold yellow",
    "caught": "green",
    "missed": "bold red",
}
"""Colours, for terminals that have them."""
PER_ROW = 10


def state(entry: Mapping[str, Any]) -> str:
    """The state to show: the verdict, or flaky."""
    return "flaky" if entry["flaky"] and entry["verdict"] == "survived" else str(entry["verdict"])


def key_figure(figures: Sequence[Mapping[str, Any]]) -> str:
    """The figure that decides: the first that fails, else the first that is judged, else the first; empty
    without figures.
    """
    if not figures:
        return ""
    judged = [each for each in figures if each["relation"] is not None]
    failing = [each for each in judged if not holds(each["value"], each["relation"], each["threshold"])]
    chosen = (failing or judged or list(figures))[0]
    text = f"{chosen['name']} {quantity(chosen['value'], chosen['unit'])}"
    if chosen["relation"] is None:
        return text
    return f"{text} ({chosen['relation']} {quantity(chosen['threshold'], chosen['unit'])})"


def claim_line(entry: Mapping[str, Any], number: int, total: int) -> str:
    """One line for a finished claim: place, id, verdict, title, key figure or reason, duration."""
    what = state(entry)
    told = (
        key_figure(entry["figures"]) if what == "survived" else entry["why"] or key_figure(entry["figures"])
    )
    head = f"[{number:>{len(str(total))}}/{total}] {entry['id']} {what:<11} {entry['title']}"
    return (
        f"{head} - {told}  [{entry['duration_s']:.1f} s]"
        if told
        else f"{head}  [{entry['duration_s']:.1f} s]"
    )


def saboteur_line(claim: str, name: str, *, caught: bool, why: str, number: int, total: int) -> str:
    """One line for a finished saboteur run."""
    return (
        f"[{number:>{len(str(total))}}/{total}] {claim} {'caught' if caught else 'MISSED':<7} {name} - {why}"
    )


def board(entries: Iterable[Mapping[str, Any]], claims: Mapping[str, Claim]) -> list[tuple[str, str]]:
    """The final board as (text, style) lines of at most 80 columns."""
    known = list(entries)
    lines: list[tuple[str, str]] = [("", "")]
    for category in sorted({claim.category for claim in claims.values()}):
        members = [entry for entry in known if claims[entry["id"]].category == category]
        lines.append((f"{category}  {CATEGORIES.get(category, '')}", "bold"))
        for start in range(0, len(members), PER_ROW):
            cells = (f"{entry['id']} {SIGNS[state(entry)]}" for entry in members[start : start + PER_ROW])
            lines.append((f"   {' '.join(cells)}", ""))
    lines.append(("", ""))
    counts = Counter(state(entry) for entry in known)
    lines.append(
        ("   ".join(f"{SIGNS[name]} {counts[name]} {name}" for name in SIGNS if counts[name]), "bold")
    )
    for entry in known:
        what = state(entry)
        if what in {"falsified", "broken", "vacuous", "flaky"}:
            text = f"{entry['id']} {what}: {entry['why'] or key_figure(entry['figures'])}"
            lines += [(line, STYLES[what]) for line in textwrap.wrap(text, WIDTH, subsequent_indent="     ")]
    for entry in known:
        tried = [each for each in entry["saboteurs"] if each["why"] != NOT_TRIED]
        missed = [each["name"] for each in tried if not each["caught"]]
        if entry["verdict"] == "survived" and (missed or not entry["saboteurs"]):
            reason = f"not caught: {', '.join(missed)}" if missed else "it has no saboteur"
            lines += [
                (line, STYLES["missed"])
                for line in textwrap.wrap(
                    f"{entry['id']} toothless: {reason}", WIDTH, subsequent_indent="     "
                )
            ]
    waiting = sum(each["why"] == NOT_TRIED for entry in known for each in entry["saboteurs"])
    if waiting:
        lines.append((f"{waiting} planted defects not tried yet: python -m falsification --saboteurs", ""))
    return lines
