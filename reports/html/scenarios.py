"""The table of scenarios, and below it what was made of those histories that are better looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from reports.html.claims import MARKS

HEADS = ("Verdict", "Id", "Scenario", "Adapter", "Level", "Faults", "Operations", "Seed", "Took")
LARGEST = 200_000
"""Bytes of a file that go into the page; of a longer one the end."""


def scenarios(results: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """The section; *folder* has the files that were made of histories."""
    if not results:
        return ""
    rows = "".join(
        f'<tr class="{each["verdict"]}"><td><span class="state"><span class="shape" aria-hidden="true">{MARKS[each["verdict"]]}</span> '
        f'{each["verdict"]}</span></td><th scope="row">{escape(each["id"])}</th><td>{escape(each["title"])}'
        f"{'<p>' + escape(each['why']) + '</p>' if each['why'] else ''}</td><td>{escape(each['adapter'])}</td><td>{escape(each['level'])}</td>"
        f"<td>{escape(_listed(each['faults']))}</td><td>{_count(each['operations'])}</td><td>{each['seed']}</td><td>{each['duration_s']:.1f} s</td></tr>"
        for each in results
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in HEADS)
    return (
        f'<section class="scenarios"><h2><span class="letter">S</span> Scenarios</h2><div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{''.join(_made(each, folder) for each in results)}</section>"
    )


def _made(result: Mapping[str, Any], folder: Path) -> str:
    """Pictures, and texts that can be opened, of one of them; empty where there are none."""
    place = folder / str(result["id"]) / str(result["adapter"])
    found = sorted(place.glob("*")) if place.is_dir() else []
    pictures = "".join(_picture(each) for each in found if each.suffix == ".svg")
    texts = "".join(
        f"<details><summary>{escape(each.name)}</summary><pre>{escape(_end_of(each))}</pre></details>"
        for each in found
        if each.suffix in (".txt", ".log")
    )
    if not pictures and not texts:
        return ""
    return (
        f'<article class="made" id="{escape(result["id"])}-{escape(result["adapter"])}"><h3>{escape(result["id"])} on {escape(result["adapter"])} '
        f"<small>{escape(result['verdict'])}</small></h3><p>{escape(result['why'])}</p>{pictures}{texts}</article>"
    )


def _picture(path: Path) -> str:
    """An SVG of our own making, as it is."""
    return f"<figure>{path.read_text(encoding='utf-8')}</figure>"


def _end_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    return text if len(text) <= LARGEST else f"...\n{text[-LARGEST:]}"


def _listed(faults: Any) -> str:
    if isinstance(faults, list):
        return ", ".join(str(each) for each in faults) or "none"
    if isinstance(faults, dict):
        return ", ".join(f"{name} {count}" for name, count in faults.items()) or "none"
    return str(faults)


def _count(operations: Any) -> str:
    return str(
        len(operations)
        if isinstance(operations, list)
        else sum(operations.values())
        if isinstance(operations, dict)
        else operations
    )
