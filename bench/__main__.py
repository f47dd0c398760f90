"""`python -m bench`: the comparison with other supervisors and of calls to platforms, as tables and as bench/out/bench.json."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TypeVar

from bench import calls as platform_calls
from bench.build import OUT, compiled, compiler
from bench.calls import CALLS
from bench.figures import Plan
from bench.machine import fingerprint
from bench.peers import PEERS, Peer
from bench.platforms import PLATFORMS, Platform
from bench.platforms.base import Times
from bench.rounds import Outcome, run
from bench.table import Row, rank, ratio, render, rows, value

WIDTH = 100
Kind = TypeVar("Kind", Peer, Platform)


def main(arguments: list[str] | None = None) -> int:
    """Run the bench: 0 when all was measured, 1 when something failed, 2 when it cannot run."""
    options = _parser().parse_args(arguments)
    n, few = (200, 20) if options.quick else (1000, 100)
    rounds = options.rounds or (1 if options.quick else 3)
    known = _names(n, few)
    figures = frozenset(options.figures.split(",")) if options.figures else known
    if unknown := figures - known:
        return _refused(f"no figure {_listed(unknown)}; there are {_listed(known)}")
    chosen = chosen_of(PEERS, options.only) if figures - CALL_NAMES else []
    called = chosen_of(PLATFORMS, options.only)
    called = [kind for kind in called if any(call.platform == kind.name for call in _wanted(figures))]
    missing = {kind.name: why for kind in chosen if (why := kind.missing())}
    missing |= {kind.name: why for kind in called if (why := kind.missing())}
    present = [kind for kind in chosen if kind.name not in missing]
    reachable = [kind for kind in called if kind.name not in missing]
    for name, why in missing.items():
        print(f"{name} is left out: {why}")
    if not present and not reachable:
        return _refused("nothing is left to measure")
    if present:
        if compiler() is None:
            return _refused("no C compiler; install the package gcc")
        compiled("tiny")
    plan = Plan(
        figures=figures - CALL_NAMES, kills=4 if options.quick else 8, idle=2.0 if options.quick else 10.0
    )
    began = time.time()
    machine = fingerprint()
    outcome = run(
        present,
        rounds=rounds,
        few=few,
        n=n,
        plan=plan,
        say=lambda line: print(line, flush=True),
        platforms=reachable,
        calls=figures & CALL_NAMES,
        times=Times(quick=10, starts=2) if options.quick else Times(),
    )
    lines = rows(n, few)
    _show(outcome, present, reachable, lines)
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
        "calls": platform_calls.report(outcome.calls),
        "samples": outcome.samples,
        "call_samples": outcome.calls,
    }
    OUT.mkdir(exist_ok=True)
    (OUT / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
    return 1 if outcome.errors else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one round, 200 daemons: a smoke test, no measurement"
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        default=[],
        help="only this peer or platform (may be repeated)",
    )
    parser.add_argument(
        "--figures", metavar="A,B", default="", help=f"only these figures: {_listed(_names(1000, 100))}"
    )
    parser.add_argument("--rounds", type=int, default=0, help="rounds (3)")
    return parser


def chosen_of(kinds: Sequence[type[Kind]], only: Sequence[str]) -> list[type[Kind]]:
    """Those that are named; all when none is."""
    return [kind for kind in kinds if not only or kind.name in only or kind.__name__.lower() in only]


def _wanted(figures: frozenset[str]) -> list[platform_calls.Call]:
    return [call for call in CALLS if call.figure in figures]


def _show(
    outcome: Outcome, peers: Sequence[type[Peer]], platforms: Sequence[type[Platform]], lines: Sequence[Row]
) -> None:
    if peers:
        print()
        print(render(outcome.samples, [kind.name for kind in peers], lines))
        print(_wrapped("lowest restart delay: " + "; ".join(f"{kind.name}: {kind.delay}" for kind in peers)))
        print(_wrapped("versions: " + "; ".join(f"{kind.name} {kind.version()}" for kind in peers)))
    if table := platform_calls.render(outcome.calls, CALLS):
        print()
        print(table)
        for kind in platforms:
            print(_wrapped(kind.about))


def _refused(why: str) -> int:
    print(f"bench: {why}", file=sys.stderr)
    return 2


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


CALL_NAMES = frozenset(call.figure for call in CALLS)


def _names(n: int, few: int) -> frozenset[str]:
    return frozenset(line.figure for line in rows(n, few)) | CALL_NAMES


if __name__ == "__main__":
    sys.exit(main())
