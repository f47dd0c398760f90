"""Output of daemons: captured, or counted as lost, and never in the daemon's way."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.checks.core import Checker, Result, false, true, vacuous
from scenarios.history import Operation, observed


def writes_never_block(seconds: float) -> Checker:
    """The daemon's own stop watch never saw a write take longer."""

    def writes_never_block_check(history: Sequence[Operation]) -> Result:
        told = observed(history, "written")
        if not told:
            return vacuous("the daemon never said how long its writes take")
        slowest = max(operation.value["slowest_s"] for operation in told)
        lines = max(operation.value["lines"] for operation in told)
        if slowest > seconds:
            return false(f"a write blocked for {slowest:.3f} s, limit {seconds:g} s")
        return true(f"{lines} lines written, the slowest in {slowest * 1000:.1f} ms")

    return writes_never_block_check


def every_line_accounted() -> Checker:
    """What was written is in the log or reported as lost: missing bytes never exceed the reported ones."""

    def every_line_accounted_check(history: Sequence[Operation]) -> Result:
        audits = observed(history, "audit")
        if not audits:
            return vacuous("the log was never compared with what was written")
        for audit in audits:
            value = audit.value
            if value["missing_bytes"] > value["reported_bytes"] + value["removed_bytes"]:
                return false(
                    f"{value['missing_bytes']} bytes missing, {value['reported_bytes']} reported as lost"
                )
        missing = sum(audit.value["missing_bytes"] for audit in audits)
        return true(f"{missing} bytes missing, all reported" if missing else "nothing is missing")

    return every_line_accounted_check


def last_line_captured(text: str) -> Checker:
    """Whenever a daemon was stopped, the last line it printed is the last line of its log."""

    def last_line_captured_check(history: Sequence[Operation]) -> Result:
        looks = observed(history, "last-line")
        for look in looks:
            if look.value["line"] != text:
                return false(f"the last line is {look.value['line']!r}, not {text!r}")
        return true(f"{len(looks)} last lines captured") if looks else vacuous("no log was looked at")

    return last_line_captured_check
