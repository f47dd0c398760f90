"""The page around the board: what was tried where, the counts, the gates, the scenarios. Pure, but for its
own style and script.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from falsification.kit.board import state
from falsification.kit.claim import CATEGORIES, Claim
from reports.gate import MEANINGS, Code, Decision
from reports.html.claims import MARKS, board
from reports.html.scenarios import scenarios

HERE = Path(__file__).parent
STATES = ("survived", "flaky", "falsified", "broken", "vacuous", "unattempted")
"""In the order of the bar and the legend."""


def page(
    data: Mapping[str, Any], claims: Mapping[str, Claim], decisions: Sequence[Decision], evidence: Path
) -> str:
    """The whole document."""
    entries = data["claims"]
    counts = Counter(state(entry) for entry in entries)
    style = (HERE / "style.css").read_text(encoding="utf-8")
    script = (HERE / "script.js").read_text(encoding="utf-8")
    commit = f"{data['commit'][:12]}{' + changes' if data['dirty'] else ''}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>duende: {counts["survived"]} of {len(entries)} claims survived ({escape(commit)})</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#board">To the board</a>
<header>
<div class="head">
<p class="kicker">duende &middot; falsification report</p>
<h1>{_headline(counts, len(entries))}</h1>
{_bar(counts)}
{_legend(counts)}
{_facts(data, commit)}
</div>
{_mosaic(entries, claims)}
</header>
<main>
<section class="gates" aria-label="Gate">{"".join(_gate(each) for each in decisions)}</section>
{_filters(counts)}
<div id="board">{board(entries, claims, evidence)}</div>
{scenarios(data["scenarios"], evidence.parent / "scenarios")}
</main>
<footer><p>A claim survives when an attempt in earnest to falsify it failed, at the level of evidence it
requires. A claim whose planted
defects go unnoticed is toothless, and its survival means nothing. Pips show the evidence from logic to
native, the ring the level
required; the triangle counts the saboteurs caught.</p></footer>
<script>{script}</script>
</body>
</html>
"""


def _headline(counts: Mapping[str, int], total: int) -> str:
    wrong = [f"{counts[name]} {name}" for name in ("falsified", "flaky") if counts[name]]
    rest = ", ".join(wrong) or "none was proved wrong"
    return f'<b>{counts["survived"]}</b> of {total} claims survived, <span class="{"bad" if wrong else "calm"}">{rest}</span>'


def _bar(counts: Mapping[str, int]) -> str:
    parts = "".join(f'<i class="{name}" style="flex:{counts[name]}"></i>' for name in STATES if counts[name])
    return f'<div class="counts" aria-hidden="true">{parts}</div>'


def _legend(counts: Mapping[str, int]) -> str:
    items = "".join(
        f'<li class="{name}"><span class="shape" aria-hidden="true">{MARKS[name]}</span><b>{counts[name]}</b> {name}</li>'
        for name in STATES
        if counts[name]
    )
    return f'<ul class="legend">{items}</ul>'


def _facts(data: Mapping[str, Any], commit: str) -> str:
    machine = data["machine"]
    memory = machine.get("memory_mib")
    facts = {
        "Commit": commit,
        "Started": data["started"].replace("T", " ").replace("+00:00", " UTC"),
        "Took": _duration(data["duration_s"]),
        "Seed": data["seed"],
        "System": f"{machine.get('distribution', '')}, {machine.get('system', '')} {machine.get('kernel', '')}".strip(
            ", "
        ),
        "Processor": f"{machine.get('cores', '?')} x {machine.get('processor', '?')}",
        "Memory": f"{memory / 1024:.0f} GiB" if isinstance(memory, int) else "",
        "Python": machine.get("python", ""),
        "Rights": {True: "root", False: "user"}.get(machine.get("root"), ""),
        "cgroup": machine.get("cgroup", ""),
    }
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in facts.items()
        if value != ""
    )
    return f'<dl class="facts">{rows}</dl>'


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _mosaic(entries: Sequence[Mapping[str, Any]], claims: Mapping[str, Claim]) -> str:
    """All claims at one look; each cell leads to its tile."""
    rows = []
    for category in CATEGORIES:
        members = [entry for entry in entries if claims[entry["id"]].category == category]
        cells = "".join(
            f'<a href="#{entry["id"]}" class="{state(entry)}" title="{entry["id"]} {escape(entry["title"], quote=True)}: {state(entry)}">'
            f"<span>{MARKS[state(entry)]}</span></a>"
            for entry in members
        )
        if cells:
            rows.append(
                f'<div class="row"><span class="letter" aria-hidden="true">{category}</span><div class="cells">{cells}</div></div>'
            )
    return f'<nav class="mosaic" aria-label="All claims">{"".join(rows)}</nav>'


def _gate(decision: Decision) -> str:
    passed = decision.code is Code.PASS
    objections = "".join(
        f"<li><b>{_link(each.id)}</b> {escape(each.why)}</li>" if each.id else f"<li>{escape(each.why)}</li>"
        for each in decision.objections
    )
    notes = "".join(f'<li class="note">{escape(note)}</li>' for note in decision.notes)
    listed = f"<details><summary>{len(decision.objections)} objections, {len(decision.notes)} notes</summary><ul>{objections}{notes}</ul></details>"
    failing = len({each.id for each in decision.objections if each.id})
    told = (
        f"{decision.needed - failing} of {decision.needed} needed claims without objection"
        if decision.needed
        else ""
    )
    return (
        f'<article class="gate {"pass" if passed else "fail"}"><h2><span class="shape" aria-hidden="true">{"✓" if passed else "✕"}</span> '
        f"{escape(decision.profile)} <small>{'pass' if passed else 'fail'}, exit code {int(decision.code)}</small></h2>"
        f"<p>{escape(MEANINGS[decision.code])}. {told}</p>{listed if decision.objections or decision.notes else ''}</article>"
    )


def _link(name: str) -> str:
    return f'<a href="#{name}">{name}</a>' if name.startswith("F") else escape(name)


def _filters(counts: Mapping[str, int]) -> str:
    boxes = "".join(
        f'<label class="{name}"><input type="checkbox" value="{name}" checked><span class="shape" aria-hidden="true">{MARKS[name]}</span>{name}</label>'
        for name in STATES
        if counts[name]
    )
    return (
        '<form class="filters" hidden role="search" aria-label="Filter claims">'
        f'<input type="search" placeholder="Search claims" aria-label="Search claims">{boxes}<button type="button" value="toggle">Open all</button>'
        '<output aria-live="polite"></output></form>'
    )
