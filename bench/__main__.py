"""`python -m bench`: the comparison with other supervisors, as a table and as bench/out/bench.json."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time

from bench.build import OUT, compiled, compiler
from bench.figures import Plan
from bench.machine import fingerprint
from bench.peers import PEERS
from bench.rounds import run
from bench.table import rank, ratio, render, rows, value

WIDTH = 100


def main(arguments: list[str] | None = None) -> int:
    """Run the bench: 0 when all was measured, 1 when something failed, 2 when it cannot run."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one round, 200 daemons: a smoke test, no measurement"
    )
    parser.add_argument(
        "--only", metavar="NAME", action="append", default=[], help="only this peer (may be repeated)"
    )
    parser.add_argument(
        "--figures",
        metavar="A,B",
        default="",
        help="only these figures: " + ", ".join(sorted(_names(1000, 100))),
    )
    parser.add_argument("--rounds", type=int, default=0, help="rounds (3)")
    options = parser.parse_args(arguments)
    if compiler() is None:
        print("bench: no C compiler; install the package gcc", file=sys.stderr)
        return 2
    n, few = (200, 20) if options.quick else (1000, 100)
    rounds = options.rounds or (1 if options.quick else 3)
    figures = frozenset(options.figures.split(",")) if options.figures else _names(n, few)
    if unknown := figures - _names(n, few):
        print(
            f"bench: no figure {', '.join(sorted(unknown))}; there are {', '.join(sorted(_names(n, few)))}",
            file=sys.stderr,
        )
        return 2
    chosen = [
        kind
        for kind in PEERS
        if not options.only or kind.name in options.only or kind.__name__.lower() in options.only
    ]
    missing = {kind.name: why for kind in chosen if (why := kind.missing())}
    present = [kind for kind in chosen if kind.name not in missing]
    for name, why in missing.items():
        print(f"{name} is left out: {why}")
    if not present:
        return 2
    compiled("tiny")
    plan = Plan(figures=figures, kills=4 if options.quick else 8, idle=2.0 if options.quick else 10.0)
    began = time.time()
    machine = fingerprint()
    outcome = run(present, rounds=rounds, few=few, n=n, plan=plan, say=lambda line: print(line, flush=True))
    lines = rows(n, few)
    print()
    print(render(outcome.samples, [kind.name for kind in present], lines))
    print(_wrapped("lowest restart delay: " + "; ".join(f"{kind.name}: {kind.delay}" for kind in present)))
    print(_wrapped("versions: " + "; ".join(f"{kind.name} {kind.version()}" for kind in present)))
    report = {
        "schema": 1,
        "started": began,
        "duration_s": outcome.seconds,
        "machine": machine,
        "rounds": rounds,
        "daemons": {"n": n, "few": few},
        "peers": {kind.name: {"version": kind.version(), "delay": kind.delay} for kind in present},
        "missing": missing,
        "errors": outcome.errors,
        "figures": [
            {
                "title": line.title,
                "figure": line.figure,
                "aim": line.aim,
                "values": {kind.name: value(outcome.samples, kind.name, line) for kind in present},
                "ratio": ratio(outcome.samples, line),
                "rank": rank(outcome.samples, line),
            }
            for line in lines
        ],
        "samples": outcome.samples,
    }
    OUT.mkdir(exist_ok=True)
    (OUT / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
    return 1 if outcome.errors else 0


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _names(n: int, few: int) -> frozenset[str]:
    return frozenset(line.figure for line in rows(n, few))


if __name__ == "__main__":
    sys.exit(main())
