"""What is answered: which operations succeed, which are refused, and what a command's exit code says."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.checks.core import Checker, Result, false, true, vacuous
from scenarios.history import Kind, Operation, observed, pairs


def _ends(history: Sequence[Operation], f: str, name: str) -> list[Operation | None]:
    found = []
    for begun, end in pairs(history):
        if begun.f == f and isinstance(begun.value, dict) and begun.value.get("name", "") == name:
            found.append(end)
    return found


def succeeds(f: str, name: str = "") -> Checker:
    """Every *f* of *name* is ok, and there was one."""

    def succeeds_check(history: Sequence[Operation]) -> Result:
        ends = _ends(history, f, name)
        for end in ends:
            if end is None or end.kind is not Kind.OK:
                return false(f"{f} {name} did not succeed: {end.value if end else 'it never ended'}")
        return true(f"{len(ends)} times {f} {name} succeeded") if ends else vacuous(f"no {f} of {name}")

    return succeeds_check


def refused(f: str, name: str) -> Checker:
    """Every *f* of *name* is refused with an error that has a text, and there was one."""

    def refused_check(history: Sequence[Operation]) -> Result:
        ends = _ends(history, f, name)
        for end in ends:
            if end is None or end.kind is not Kind.FAIL or not end.value.get("message"):
                return false(f"{f} {name} was not refused: {end.value if end else 'it never ended'}")
        return true(f"{len(ends)} times {f} {name} was refused") if ends else vacuous(f"no {f} of {name}")

    return refused_check


def interrupted(total: int | None = None) -> Checker:
    """The manager ends well each time; at least once with some daemons started, and with *total* not all."""

    def interrupted_check(history: Sequence[Operation]) -> Result:
        lives = [(begun, end) for begun, end in pairs(history) if begun.f == "terminate"]
        for begun, end in lives:
            if end is None or end.kind is not Kind.OK:
                return false(f"the manager did not end well: {end.value if end else begun.value}")
        counts = [begun.value["present"] for begun, _ in lives]
        if not any(count > 0 and (total is None or count < total) for count in counts):
            return vacuous(f"never interrupted in the middle: {counts} daemons were there")
        return true(f"interrupted {len(lives)} times, with {min(counts)} to {max(counts)} daemons there")

    return interrupted_check


def command_tells(**codes: tuple[str, int]) -> Checker:
    """The command answers JSON with that status, and with that exit code, for each daemon."""

    def command_tells_check(history: Sequence[Operation]) -> Result:
        for name, (status, code) in codes.items():
            looks = observed(history, "command", name=name)
            if not looks:
                return vacuous(f"the command was never asked about {name}")
            for look in looks:
                told = (look.value["status"], look.value["code"])
                if told != (status, code):
                    return false(f"{name} is told as {told}, not {(status, code)}")
        return true("; ".join(f"{status} is exit code {code}" for status, code in codes.values()))

    return command_tells_check


def errors_tell(shortest: int = 20) -> Checker:
    """Every operation that failed says why, in a sentence: what could not be done, and because of what."""

    def errors_tell_check(history: Sequence[Operation]) -> Result:
        failed = [
            end
            for begun, end in pairs(history)
            if end is not None and end.kind is not Kind.OK and begun.process not in ("nemesis", "engine")
        ]
        for end in failed:
            text = str(end.value.get("message") or "")
            if len(text) < shortest or " " not in text:
                return false(f"{end.f} failed and told {text!r}")
        return true(f"{len(failed)} errors, each with its reason") if failed else vacuous("nothing failed")

    return errors_tell_check
