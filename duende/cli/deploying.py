"""`duende gate` and `duende deploy`: code is judged before anything is replaced."""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial

import msgspec

from duende.cli import exits, output
from duende.config import DaemonConfig, load_fleet
from duende.errors import ConfigError, DaemonIOError, PolicyViolationError
from duende.manager.kept import write_whole
from duende.policy.jidoka import Evidence, JidokaGate, Kind, Outcome
from duende.policy.quality import QualityGate, QualityReport

HEADS = ("DAEMON", "FILES", "LINES", "COMPLEXITY", "DEBTS", "DEAD", "SCORE", "VERDICT")


def do_gate(options: argparse.Namespace) -> int:
    """Judge the code of the daemons of a file, and do nothing else."""
    reports: list[QualityReport] = []
    outcome, evidence = judge(load_fleet(options.file), reports, every=True, all_checks=True)
    _show(options, reports, outcome, evidence)
    return exits.OK if outcome.passed else exits.FAILED


def do_deploy(options: argparse.Namespace) -> int:
    """Judge the daemons of a file that want it, then apply the file; where one is refused nothing is applied.

    Raises:
        PolicyViolationError: the line was stopped.
    """
    from duende.cli.verbs import do_start

    began = time.time()
    reports: list[QualityReport] = []
    if options.rehearse is not None:
        from duende.cli.rehearsing import refuse_forbidden

        refuse_forbidden(options.what, options.rehearse)
    outcome, evidence = judge(load_fleet(options.what), reports)
    path = _keep(options.state_dir, options.what, began, reports, outcome, evidence)
    if not outcome.passed:
        if not options.json:
            _show(options, reports, outcome, evidence)
        first = outcome.violations[0]
        raise PolicyViolationError(
            f"nothing of {options.what} was deployed: stopped by {first.check}{f': {first.message}' if options.json else ''}",
            remedy=f"{outcome.recommendation}; the evidence is in {path}",
        )
    if not options.json:
        _show(options, reports, outcome, evidence)
    return do_start(options)


def judge(
    fleet: list[tuple[str, DaemonConfig | ConfigError]],
    reports: list[QualityReport],
    *,
    every: bool = False,
    all_checks: bool = False,
) -> tuple[Outcome, Evidence]:
    """Run the gate over a fleet: its configurations first, then the code of each daemon with quality.enabled, or of *every* one.

    What was measured is added to *reports*.
    """
    gate, evidence = JidokaGate(stop_on_first=not all_checks), Evidence()
    for name, config in fleet:
        if isinstance(config, ConfigError):
            gate.add_check(f"configuration of {name}", Kind.PRECONDITION, partial(_say, str(config)))
    for name, config in fleet:
        if not isinstance(config, ConfigError) and (every or config.quality.enabled):
            gate.add_check(f"quality of {name}", Kind.PRECONDITION, partial(_quality, config, reports))
    return gate.check(evidence), evidence


def _say(problem: str, evidence: Evidence) -> str:
    del evidence
    return problem


def _quality(config: DaemonConfig, reports: list[QualityReport], evidence: Evidence) -> str | None:
    report = QualityGate(config.quality).analyze(config)
    reports.append(report)
    for violation in report.violations:
        evidence.add(f"{config.name}: quality.{violation.key}", False, str(violation))
    if report.passed:
        return None
    return "; ".join(str(violation) for violation in report.violations)


def _keep(
    state_dir: str,
    source: str,
    began: float,
    reports: list[QualityReport],
    outcome: Outcome,
    evidence: Evidence,
) -> str:
    """Write the evidence beside the journal, whole or not at all; the path."""
    folder = os.path.join(state_dir, "gates")
    path = os.path.join(folder, f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(began))}-{os.getpid()}.json")
    what = {
        "source": os.path.abspath(source),
        "at": began,
        "passed": outcome.passed,
        "violations": outcome.violations,
        "recommendation": outcome.recommendation,
        "unchecked": outcome.unchecked,
        "evidence": evidence.items,
        "reports": reports,
    }
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        write_whole(path, [msgspec.json.format(msgspec.json.encode(what), indent=2), b"\n"])
    except OSError as error:
        raise DaemonIOError.of("write the evidence to", path, error, "give another --state-dir") from error
    return path


def _show(
    options: argparse.Namespace, reports: list[QualityReport], outcome: Outcome, evidence: Evidence
) -> None:
    if options.json:
        result = {
            "passed": outcome.passed,
            "violations": outcome.violations,
            "recommendation": outcome.recommendation,
            "reports": reports,
            "evidence": evidence.items,
        }
        output.json({"ok": outcome.passed, "result": msgspec.to_builtins(result)})
        return
    if reports:
        output.table(HEADS, [_row(each) for each in reports])
    for stop in outcome.violations:
        sys.stderr.write(f"duende: stopped by {stop.check}:\n")
        for line in stop.message.split("; "):
            sys.stderr.write(f"  {line}\n")
    if outcome.violations and outcome.unchecked:
        sys.stderr.write(f"duende: not looked at any more: {', '.join(outcome.unchecked)}\n")


def _row(report: QualityReport) -> tuple[str, ...]:
    found = report.measures
    return (
        report.name,
        str(len(found.files)),
        str(found.lines),
        f"{found.max_complexity:.0f}",
        str(len(found.satd)),
        f"{found.dead_percent:.1f} %",
        f"{report.score:.1f}",
        "passed" if report.passed else "stopped",
    )
