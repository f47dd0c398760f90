"""`python -m falsification`: the command that runs attempts and saboteurs and writes the ledger."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from falsification.kit import lab, saboteur
from falsification.kit.again import note
from falsification.kit.board import board
from falsification.kit.claim import ClaimsError
from falsification.kit.falsify import FalsifyRun
from falsification.kit.ledger import Ledger
from falsification.kit.plan import Plan, RefusedError, make_plan, select
from falsification.kit.progress import Progress, progress
from falsification.kit.sabotage import SaboteurRun
from falsification.kit.seeds import DEFAULT_SEED
from falsification.kit.suite import DEFAULT_SUITE, KIT_ROOT, Suite
from falsification.kit.verdict import Verdict

FLAKY = "flaky.txt"
"""In the folder of results: what came out well only the second time, for the summary at the end of CI."""
EXIT_OK = 0
"""The harness worked; what the verdicts are is the gate's matter."""
EXIT_BROKEN = 1
"""The harness itself failed somewhere: an attempt without a record, a saboteur that cannot be planted."""
EXIT_REFUSED = 2
"""Nothing was started: claims, bindings, attempts or options are not as they must be."""


def parser() -> argparse.ArgumentParser:
    """The options of `python -m falsification`."""
    made = argparse.ArgumentParser(
        prog="falsification", description="Try in earnest to prove the claims wrong, and keep the evidence."
    )
    made.add_argument("ids", nargs="*", metavar="ID", help="claims to attempt, like F001 F007 (default: all)")
    made.add_argument(
        "--category",
        action="append",
        default=[],
        metavar="A-E",
        help="only claims of this category; may be repeated",
    )
    made.add_argument(
        "--level",
        action="append",
        default=[],
        help="only claims that require this evidence level; may be repeated",
    )
    made.add_argument(
        "--saboteurs", action="store_true", help="run the attempts that survived under their planted defects"
    )
    made.add_argument(
        "--all", action="store_true", help="with --saboteurs: also for attempts that did not survive"
    )
    made.add_argument(
        "--seed",
        default=str(DEFAULT_SEED),
        help=f"seed of the run, a number or 'random' (default: {DEFAULT_SEED})",
    )
    made.add_argument(
        "--retry", action="store_true", help="try what did not survive once more; a pass is then flaky"
    )
    made.add_argument(
        "--again",
        action="store_true",
        help="try what broke, and so said nothing, once more; what then comes out well is flaky, and noted in OUT/flaky.txt",
    )
    made.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="attempts side by side (default: processors)"
    )
    made.add_argument(
        "--lab", action="store_true", help="first install the programs the attempts supervise (Debian, root)"
    )
    made.add_argument("--list", action="store_true", help="show what would run, and stop")
    made.add_argument("--suite", type=Path, default=DEFAULT_SUITE, help=argparse.SUPPRESS)
    made.add_argument(
        "--out",
        type=Path,
        default=KIT_ROOT / "reports" / "out",
        help="where results go (default: reports/out)",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parser().parse_args(arguments)
    if options.lab:
        lab.install()
    try:
        seed = secrets.randbelow(2**31) if options.seed == "random" else int(options.seed)
        return asyncio.run(_main(options, seed))
    except (ClaimsError, RefusedError, saboteur.SaboteurError, ValueError) as error:
        print(f"refused to start: {error}")
        return EXIT_REFUSED
    except KeyboardInterrupt:
        print("interrupted; what had ended is in the ledger")
        return 130


async def _main(options: argparse.Namespace, seed: int) -> int:
    out: Path = options.out.resolve()
    suite = Suite.read(options.suite)
    if str(suite.root) not in sys.path:
        sys.path.insert(0, str(suite.root))  # the saboteurs are imported from there
    claims = suite.claims()
    ids = select(claims, ids=options.ids, categories=options.category, levels=options.level)
    plan = await make_plan(suite, out)
    if options.list:
        _list(ids, plan)
        return EXIT_OK
    ledger = Ledger.open(
        out / "verdicts.json", claims, root=suite.root, seed=seed, unattempted=suite.unattempted()
    )
    if ledger.fresh:
        for stale in ("attempts", "saboteurs", "allure-results"):
            shutil.rmtree(out / stale, ignore_errors=True)
    ledger.save()
    changes = " with changes" if ledger.tree.dirty else ""
    print(f"seed {seed}, commit {ledger.tree.commit[:12]}{changes}, results in {_short(out)}", flush=True)
    if options.saboteurs:
        survivors = [name for name in ids if options.all or ledger.claim(name)["verdict"] == "survived"]
        with progress("saboteurs") as shown:
            sabotage = SaboteurRun(suite, plan, ledger, out, shown, seed=seed)
            await sabotage.run(survivors, again=options.again)
        _summary(ledger, survivors, shown)
        note(out / FLAKY, "saboteurs", sabotage.flaky)
        return EXIT_BROKEN if sabotage.broken else EXIT_OK
    with progress("attempts") as shown:
        run = FalsifyRun(suite, plan, ledger, out, shown, seed=seed, jobs=max(1, options.jobs))
        await run.run(ids, retry=_retried(options))
    for text, style in board(ledger.data["claims"], claims):
        shown.line(text, style)
    note(out / FLAKY, "falsify", run.flaky)
    return EXIT_BROKEN if run.lost else EXIT_OK


def _retried(options: argparse.Namespace) -> set[Verdict]:
    """The verdicts that are tried once more."""
    if options.retry:
        return {Verdict.FALSIFIED, Verdict.BROKEN}
    return {Verdict.BROKEN} if options.again else set()


def _list(ids: Sequence[str], plan: Plan) -> None:
    for name in ids:
        if name in plan.attempts:
            each = plan.attempts[name]
            how = "alone" if each.alone else "side by side"
            defects = ", ".join(each.saboteurs) or "none"
            print(f"{name} {how:<12} {each.level:<9} {each.nodeid}  saboteurs: {defects}")


def _summary(ledger: Ledger, ids: Sequence[str], shown: Progress) -> None:
    tried = [(name, each) for name in ids for each in ledger.claim(name)["saboteurs"]]
    missed = [f"{name} {each['name']}: {each['why']}" for name, each in tried if not each["caught"]]
    bare = [name for name in ids if not ledger.claim(name)["saboteurs"]]
    shown.line(
        f"{len(tried) - len(missed)} of {len(tried)} saboteurs caught, for {len(ids)} claims that survived",
        "bold",
    )
    for line in missed:
        shown.line(f"missed: {line}", "bold red")
    if bare:
        shown.line(f"without a saboteur: {' '.join(bare)}", "bold red")


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
