"""`python -m scenarios [S001 ...] [--adapter docker] [--seed N] [--list]`: runs scenarios, each on all its
platforms, prints a table, hands the verdicts to the gate.
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
from scenarios.platforms import LEVELS, Shared
from scenarios.scenario import Scenario
from scenarios.schedule import Schedule
from scenarios.shrink import shrink

WIDTH = 110


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every scenario survived, 1 when one was falsified, 2 when one was not really tried."""
    parser = argparse.ArgumentParser(prog="scenarios", description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="S001", help="which; all when none is named")
    parser.add_argument(
        "--adapter",
        action="append",
        choices=list(LEVELS),
        help="only on this platform; may be given again; all of each scenario when none is named",
    )
    parser.add_argument(
        "--seed", default=str(DEFAULT_SEED), help="a number or random; the same seed, the same schedule"
    )
    parser.add_argument("--list", action="store_true", help="name them, their invariants and their platforms")
    parser.add_argument("--shrink", action="store_true", help="make the schedule of a falsified one smaller")
    options = parser.parse_args(arguments)
    try:
        runs = chosen(load(options.ids), options.adapter or list(LEVELS))
    except KeyError as error:
        print(f"scenarios: {error.args[0]}", file=sys.stderr)
        return 2
    if options.list:
        for scenario in dict.fromkeys(scenario for scenario, _ in runs):
            print(f"{scenario.id}  {scenario.title} (on {', '.join(scenario.adapters)})")
            print(f"      must hold: {scenario.invariant} ({scenario.seen_in})")
        return 0
    seed = secrets.randbelow(1 << 31) if options.seed == "random" else int(options.seed)
    print(f"seed {seed}")
    reports = []
    with Shared() as shared:
        for scenario, adapter in runs:
            print(f"{scenario.id} on {adapter}: {scenario.title} ...", flush=True)
            if not scenario.breaks_runtime:
                shared.keep(adapter)
            report = asyncio.run(run(scenario, seed, adapter=adapter, out=OUT / "scenarios"))
            reports.append(report)
            merge([report], seed=seed)
            told = f"{report.verdict} in {report.duration:.1f} s: {report.why}"
            print(f"{scenario.id} on {adapter} {told}", flush=True)
            if options.shrink and report.verdict == "falsified" and report.schedule:
                _shrink(scenario, seed, adapter, report.schedule)
    print()
    print(table(reports))
    verdicts = {report.verdict for report in reports}
    if "falsified" in verdicts:
        return 1
    return 0 if verdicts <= {"survived"} else 2


def chosen(scenarios: Sequence[Scenario], adapters: Sequence[str]) -> list[tuple[Scenario, str]]:
    """What to run where: each scenario on those of its platforms that are wanted, in its own order.

    Raises:
        KeyError: none of them runs there; the text says where they do.
    """
    found = [(each, name) for each in scenarios for name in each.adapters if name in adapters]
    if not found:
        told = "; ".join(f"{each.id} runs on {', '.join(each.adapters)}" for each in scenarios)
        raise KeyError(f"nothing to run on {', '.join(adapters)}: {told}")
    return found


def _shrink(scenario: Scenario, seed: int, adapter: str, schedule: Schedule) -> None:
    async def fails(candidate: Schedule) -> bool:
        report = await run(scenario, seed, adapter=adapter, schedule=candidate)
        return report.verdict == "falsified"

    small = asyncio.run(shrink(schedule, fails))
    print(f"{scenario.id} on {adapter} fails with {len(small)} of {len(schedule)} faults:")
    for step in small:
        print(f"  at {step.at:.3f} s {step.fault} for {step.hold:.3f} s (pick {step.pick})")


def table(reports: Sequence[Report]) -> str:
    """One line each: verdict, time, operations, faults, reason."""
    heads = f"{'id':<5} {'adapter':<8} {'verdict':<12} {'s':>6} {'ops':>6} {'faults':>6}  why"
    lines = [heads, "-" * WIDTH]
    for report in reports:
        head = f"{report.scenario.id:<5} {report.adapter:<8} {report.verdict:<12} {report.duration:>6.1f}"
        line = f"{head} {report.operations:>6} {len(report.faults):>6}  {report.why}"
        lines.append(line if len(line) <= WIDTH else line[: WIDTH - 3] + "...")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
