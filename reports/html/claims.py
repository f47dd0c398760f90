"""The board: every claim as a tile that opens to its text, its figures, its saboteurs and its log. Pure, but for reading evidence."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from falsification.kit.board import key_figure, state
from falsification.kit.claim import CATEGORIES, Claim
from falsification.kit.figure import holds, quantity
from falsification.kit.ledger import NOT_TRIED
from falsification.kit.verdict import Level
from reports.html.plot import plot

MARKS = {"survived": "✓", "falsified": "✕", "unattempted": "–", "vacuous": "○", "broken": "!", "flaky": "≈"}
"""A shape for each state, so that colour is never alone."""
LOG_LINES = 160
"""So many lines of a log are shown: the first half and the last half."""
TEXT_BYTES = 8_000
IMAGE_BYTES = 300_000
IMAGES = {"image/png", "image/jpeg", "image/svg+xml", "image/gif"}


def board(entries: Sequence[Mapping[str, Any]], claims: Mapping[str, Claim], evidence: Path) -> str:
    """All categories with their tiles. *evidence* is the folder with the records of attempts."""
    parts = []
    for category, name in CATEGORIES.items():
        members = [entry for entry in entries if claims[entry["id"]].category == category]
        if not members:
            continue
        held = sum(state(entry) == "survived" for entry in members)
        tiles = "".join(tile(entry, claims[entry["id"]], evidence / entry["id"]) for entry in members)
        parts.append(
            f'<section class="category" data-category="{category}"><h2><span class="letter">{category}</span> {escape(name)}'
            f'<small>{held} of {len(members)} survived</small></h2><div class="tiles">{tiles}</div></section>'
        )
    return "".join(parts)


def tile(entry: Mapping[str, Any], claim: Claim, evidence: Path) -> str:
    """One claim: a closed tile, and its panel."""
    what = state(entry)
    strength = Level(entry["level"]).strength if entry["level"] else 0
    figure = key_figure(entry["figures"]) if what in {"survived", "falsified", "flaky"} else ""
    short = figure.split(" (")[-1].rstrip(")") if figure else ""
    decisive = _decisive(entry["figures"])
    shown = (
        f'<span class="key">{escape(quantity(decisive["value"], decisive["unit"]))} <i>{escape(short)}</i></span>'
        if decisive and short
        else ""
    )
    return (
        f'<details class="tile {what} s{strength}" id="{claim.id}" data-state="{what}" data-category="{claim.category}" '
        f'data-text="{escape(f"{claim.id} {claim.title} {claim.criterion}".lower(), quote=True)}">'
        f'<summary><span class="top"><b>{claim.id}</b><span class="state"><span class="shape" aria-hidden="true">{MARKS[what]}</span> {what}</span></span>'
        f'<span class="title">{escape(claim.title)}</span><span class="foot">{_pips(entry, claim)}{_teeth(entry)}{shown}</span></summary>'
        f"{panel(entry, claim, evidence)}</details>"
    )


def _decisive(figures: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    judged = [each for each in figures if each["relation"] is not None]
    failing = [each for each in judged if not holds(each["value"], each["relation"], each["threshold"])]
    return next(iter([*failing, *judged]), None)


def _pips(entry: Mapping[str, Any], claim: Claim) -> str:
    """Six pips from logic to native: filled up to the evidence given, ringed at the level required."""
    given = Level(entry["level"]).strength if entry["level"] and entry["verdict"] == "survived" else -1
    pips = "".join(
        f'<i class="{"on" if level.strength <= given else ""}{" need" if level is claim.requires else ""}"></i>'
        for level in Level
    )
    told = f"evidence: {entry['level'] if given >= 0 else 'none'}, required: {claim.requires.value}"
    return f'<span class="pips" role="img" aria-label="{told}" title="{told}">{pips}</span>'


def _teeth(entry: Mapping[str, Any]) -> str:
    if entry["verdict"] != "survived":
        return ""
    caught = sum(each["caught"] for each in entry["saboteurs"])
    total = len(entry["saboteurs"])
    kind = "sharp" if total and caught == total else "blunt"
    told = f"{caught} of {total} saboteurs caught" if total else "no saboteur: toothless"
    return f'<span class="teeth {kind}" title="{told}" aria-label="{told}">▲ {caught}/{total}</span>'


def panel(entry: Mapping[str, Any], claim: Claim, evidence: Path) -> str:
    """What a tile opens to."""
    facts = [
        ("Attempt", claim.attempt),
        ("Survives when", claim.criterion),
        ("Read as", claim.reading),
        ("Needs", ", ".join(claim.needs)),
        ("Evidence", f"{entry['level'] or 'none'}; required: {claim.requires.value}"),
        ("Seed", "" if entry["seed"] is None else str(entry["seed"])),
        ("Took", f"{entry['duration_s']:.2f} s" if entry["duration_s"] else ""),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts if text)
    why = f'<p class="why">{escape(entry["why"])}</p>' if entry["why"] else ""
    figures = "".join(_figure(each) for each in entry["figures"])
    return (
        f'<div class="panel"><div class="words">{why}<dl>{rows}</dl>{_saboteurs(entry)}</div>'
        f'<div class="figures">{figures}</div>{_log(evidence / "log.txt")}{_files(evidence)}</div>'
    )


def _figure(figure: Mapping[str, Any]) -> str:
    good = holds(figure["value"], figure["relation"], figure["threshold"])
    value = escape(quantity(figure["value"], figure["unit"]))
    judged = figure["relation"] is not None
    bound = (
        f" {MARKS['survived' if good else 'falsified']} {escape(figure['relation'])} {escape(quantity(figure['threshold'], figure['unit']))}"
        if judged
        else ""
    )
    kind = ("good" if good else "bad") if judged else "told"
    count = len(figure["samples"])
    return (
        f'<figure class="{kind}"><figcaption><span>{escape(figure["name"])}</span><strong>{value}</strong><em>{bound}</em>'
        f"<small>{count} sample{'s' if count > 1 else ''}</small></figcaption>{plot(figure)}</figure>"
    )


def _saboteurs(entry: Mapping[str, Any]) -> str:
    if not entry["saboteurs"]:
        return (
            '<p class="none">No saboteur: nothing shows that the attempt can fail.</p>'
            if entry["verdict"] == "survived"
            else ""
        )
    rows = []
    for each in entry["saboteurs"]:
        kind, mark = ("caught", "▲ caught") if each["caught"] else ("missed", "△ missed")
        if each["why"] == NOT_TRIED:
            kind, mark = "untried", "△ not tried"
        rows.append(
            f'<li class="{kind}"><b>{mark}</b> <code>{escape(each["name"])}</code><span>{escape(each["why"])}</span></li>'
        )
    return f'<h3>Saboteurs</h3><ul class="saboteurs">{"".join(rows)}</ul>'


def _log(path: Path) -> str:
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    half = LOG_LINES // 2
    if len(lines) > LOG_LINES:
        lines = [
            *lines[:half],
            f"      ...  {len(lines) - LOG_LINES} lines left out; all of them lie beside verdicts.json",
            *lines[-half:],
        ]
    return f'<details class="log"><summary>Log</summary><pre tabindex="0">{escape(chr(10).join(lines))}</pre></details>'


def _files(evidence: Path) -> str:
    import json

    record = evidence / "record.json"
    if not record.is_file():
        return ""
    parts = [
        _file(evidence / "files" / each["name"], each["mime"])
        for each in json.loads(record.read_text(encoding="utf-8"))["attachments"]
    ]
    return "".join(parts)


def _file(path: Path, mime: str) -> str:
    if not path.is_file():
        return ""
    data = path.read_bytes()
    name = escape(path.name)
    if mime in IMAGES and len(data) <= IMAGE_BYTES:
        body = f'<img alt="{name}" src="data:{mime};base64,{base64.b64encode(data).decode()}">'
    elif mime.startswith("text/") or mime == "application/json":
        cut = f"\n... {len(data) - TEXT_BYTES} bytes left out" if len(data) > TEXT_BYTES else ""
        body = f'<pre tabindex="0">{escape(data[:TEXT_BYTES].decode("utf-8", "replace") + cut)}</pre>'
    else:
        body = f"<p>{len(data)} bytes of {escape(mime)}, beside verdicts.json</p>"
    return f'<details class="log"><summary>{name}</summary>{body}</details>'
