"""`python -m scenarios [S001 ...] [--seed N] [--list]`: runs scenarios, prints a table, hands the verdicts to
the gate.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from collections.abc import Sequence

from falsification.kit.seeds import DEFAULT_SEED
from scenarios.catalog import load
from scenarios.engine import Report, run
from scenarios.ledger import OUT, merge
from scenarios.scenario import Scenario
from scenarios.schedule import Schedule
from scenarios.shrink import shrink

WIDTH = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every scenario survived, 1 when one was falsified, 2 when one was not really tried."""
    parser = argparse.ArgumentParser(prog="scenarios", description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="S001", help="which; all when none is named")
    parser.add_argument(
        "--seed", default=str(DEFAULT_SEED), help="a number or random; the same seed, the same schedule"
    )
    parser.add_argument("--list", action="store_true", help="name them and their invariants")
    parser.add_argument("--shrink", action="store_true", help="make the schedule of a falsified one smaller")
    options = parser.parse_args(arguments)
    try:
        chosen = load(options.ids)
    except KeyError as error:
        print(f"scenarios: {error.args[0]}", file=sys.stderr)
        return 2
    if options.list:
        for scenario in chosen:
            print(
                f"{scenario.id}  {scenario.title}\n      must hold: {scenario.invariant} ({scenario.seen_in})"
            )
        return 0
    seed = secrets.randbelow(1 << 31) if options.seed == "random" else int(options.seed)
    print(f"seed {seed}")
    reports = []
    for scenario in chosen:
        print(f"{scenario.id} {scenario.title} ...", flush=True)
        report = asyncio.run(run(scenario, seed, out=OUT / "scenarios"))
        reports.append(report)
        merge([report], seed=seed)
        print(f"{scenario.id} {report.verdict} in {report.duration:.1f} s: {report.why}", flush=True)
        if options.shrink and report.verdict == "falsified" and report.schedule:
            _shrink(scenario, seed, report.schedule)
    print()
    print(table(reports))
    verdicts = {report.verdict for report in reports}
    if "falsified" in verdicts:
        return 1
    return 0 if verdicts <= {"survived"} else 2


def _shrink(scenario: Scenario, seed: int, schedule: Schedule) -> None:
    async def fails(candidate: Schedule) -> bool:
        return (await run(scenario, seed, schedule=candidate)).verdict == "falsified"

    small = asyncio.run(shrink(schedule, fails))
    print(f"{scenario.id} fails with {len(small)} of {len(schedule)} faults:")
    for step in small:
        print(f"  at {step.at:.3f} s {step.fault} for {step.hold:.3f} s (pick {step.pick})")


def table(reports: Sequence[Report]) -> str:
    """One line each: verdict, time, operations, faults, reason."""
    lines = [f"{'id':<5} {'verdict':<12} {'s':>6} {'ops':>6} {'faults':>6}  why", "-" * WIDTH]
    for report in reports:
        head = f"{report.scenario.id:<5} {report.verdict:<12} {report.duration:>6.1f} {report.operations:>6}"
        line = f"{head} {len(report.faults):>6}  {report.why}"
        lines.append(line if len(line) <= WIDTH else line[: WIDTH - 3] + "...")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
