"""`python -m reports.brief`: in a few lines, for the end of CI, which scenarios and attempts did not survive, from verdicts.json.

Decides nothing and always ends with 0: deciding is the gate's. Needs nothing but Python, which is all CI has outside its sessions.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DEFAULT_FILE = Path(__file__).with_name("out") / "verdicts.json"
WIDTH = 100
BAD = ("broken", "falsified", "vacuous")
"""In this order: a broken one says nothing about duende, and something about us."""


def brief(data: Mapping[str, Any]) -> list[str]:
    """Claims and scenarios: how many of which verdict, then each that is bad."""
    lines = []
    for kind in ("claims", "scenarios"):
        entries = data.get(kind, [])
        counts = Counter(str(each["verdict"]) for each in entries)
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())) or "none was run"
        lines.append(f"{kind}: {told}")
        for verdict in BAD:
            for each in entries:
                if each["verdict"] == verdict:
                    where = f" on {each['adapter']}" if "adapter" in each else ""
                    why = " ".join(str(each["why"]).split())
                    text = f"{verdict.upper() if verdict == 'broken' else verdict} {each['id']}{where}: {why}"
                    lines.append(textwrap.shorten(text, WIDTH - 2, placeholder=" ..."))
    return [line if line.startswith(("claims", "scenarios")) else f"  {line}" for line in lines]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="brief", description="Say in a few lines what did not survive.")
    parser.add_argument("file", nargs="?", type=Path, default=DEFAULT_FILE)
    path = parser.parse_args(arguments).file
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        lines = brief(data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        lines = [f"no verdicts that can be read in {path}: {error}"]
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
