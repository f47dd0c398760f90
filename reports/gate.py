"""The gate: decides about a release from verdicts.json and a profile. `python -m reports.gate [--profile NAME] [FILE]`.

Exit codes: 0 pass; 1 a needed claim is falsified or flaky; 2 a needed claim is unattempted, vacuous, broken or its evidence too
weak; 3 a needed claim is toothless; 4 the verdicts are malformed or about other sources. The first that applies, in the order
4, 1, 2, 3.
"""

from __future__ import annotations

import argparse
import enum
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from falsification.kit.claim import ClaimsError
from falsification.kit.figure import holds, quantity
from falsification.kit.ledger import Tree
from falsification.kit.suite import DEFAULT_SUITE, Suite
from falsification.kit.verdict import Level
from reports import profile as profiles
from reports import verdicts

DEFAULT_PROFILE = "linux-native"


class Code(enum.IntEnum):
    """The exit codes of the gate."""

    PASS = 0
    FALSIFIED = 1
    MISSING = 2
    TOOTHLESS = 3
    MALFORMED = 4


MEANINGS = {
    Code.PASS: "pass",
    Code.FALSIFIED: "falsified or flaky",
    Code.MISSING: "needed, but unattempted, vacuous, broken or too weak",
    Code.TOOTHLESS: "toothless",
    Code.MALFORMED: "malformed, or about other sources",
}


@dataclass(frozen=True, kw_only=True)
class Objection:
    """One reason not to release."""

    id: str
    """The claim or scenario, or empty for the file as a whole."""
    code: Code
    """Its exit code."""
    why: str
    """In words."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the gate decided, and why."""

    profile: str
    """The profile it was decided by."""
    objections: tuple[Objection, ...]
    """Reasons against; none means pass."""
    needed: int = 0
    """How many claims the profile needs, withdrawn ones included."""
    notes: tuple[str, ...] = field(default=())
    """What does not decide and must be seen: withdrawn claims, failures outside the profile."""

    @property
    def code(self) -> Code:
        """The exit code: malformed first, as nothing else can then be said, and otherwise the worst finding."""
        found = {each.code for each in self.objections}
        return next(
            (
                code
                for code in (Code.MALFORMED, Code.FALSIFIED, Code.MISSING, Code.TOOTHLESS)
                if code in found
            ),
            Code.PASS,
        )


def decide(data: Mapping[str, Any], profile: profiles.Profile, tree: Tree | None) -> Decision:
    """Decide by verdicts that were checked already. *tree* is the state of the sources at hand; None where it does not matter."""
    objections: list[Objection] = []
    if tree is not None:
        objections += _other_sources(data, tree)
    entries = {entry["id"]: entry for entry in data["claims"]}
    for name, level in profile.needs.items():
        if name not in profile.withdrawn:
            objections += _judge_claim(entries[name], level)
    objections += _judge_scenarios(data["scenarios"], profile.scenarios)
    return Decision(
        profile=profile.name,
        objections=tuple(objections),
        needed=len(profile.needs),
        notes=tuple(_notes(data, profile)),
    )


def _other_sources(data: Mapping[str, Any], tree: Tree) -> list[Objection]:
    if data["commit"] == "unknown" or data["commit"] != tree.commit:
        why = f"the verdicts are about commit {data['commit'][:12]}, the sources at hand are {tree.commit[:12]}; run `nox -s falsify`"
        return [Objection(id="", code=Code.MALFORMED, why=why)]
    if data["dirty"] != tree.dirty:
        was, now = ("changed", "unchanged") if data["dirty"] else ("unchanged", "changed")
        why = f"the verdicts are about {was} sources of commit {tree.commit[:12]}, those at hand are {now}; run `nox -s falsify`"
        return [Objection(id="", code=Code.MALFORMED, why=why)]
    return []


def _judge_claim(entry: Mapping[str, Any], needed: Level) -> list[Objection]:
    """Everything against one needed claim; each is worth saying, so each is said."""
    name, verdict = entry["id"], entry["verdict"]
    if verdict == "falsified":
        return [Objection(id=name, code=Code.FALSIFIED, why=f"falsified: {entry['why']}")]
    if verdict != "survived":
        return [Objection(id=name, code=Code.MISSING, why=f"{verdict}: {entry['why']}")]
    found: list[Objection] = []
    if entry["flaky"]:
        found.append(
            Objection(
                id=name,
                code=Code.FALSIFIED,
                why=f"flaky: it survived only when retried (seed {entry['seed']})",
            )
        )
    for figure in entry["figures"]:
        if not holds(figure["value"], figure["relation"], figure["threshold"]):
            bound = f"{figure['relation']} {quantity(figure['threshold'], figure['unit'])}"
            why = f"its figure {figure['name']} is {quantity(figure['value'], figure['unit'])}, not {bound}, whatever its verdict says"
            found.append(Objection(id=name, code=Code.FALSIFIED, why=why))
    level = Level(entry["level"])
    if not level.meets(needed):
        found.append(
            Objection(
                id=name, code=Code.MISSING, why=f"evidence too weak: {level.value}, needed is {needed.value}"
            )
        )
    missed = [each for each in entry["saboteurs"] if not each["caught"]]
    if not entry["saboteurs"]:
        found.append(
            Objection(
                id=name, code=Code.TOOTHLESS, why="toothless: no saboteur shows that the attempt can fail"
            )
        )
    found += [
        Objection(
            id=name, code=Code.TOOTHLESS, why=f"toothless: saboteur {each['name']} not caught: {each['why']}"
        )
        for each in missed
    ]
    return found


def _judge_scenarios(results: Sequence[Mapping[str, Any]], needed: Sequence[str]) -> list[Objection]:
    found: list[Objection] = []
    for name in needed:
        mine = [each for each in results if each["id"] == name]
        if not mine:
            found.append(Objection(id=name, code=Code.MISSING, why="the scenario was not run"))
        for each in mine:
            if each["verdict"] != "survived":
                code = Code.FALSIFIED if each["verdict"] == "falsified" else Code.MISSING
                found.append(
                    Objection(
                        id=name, code=code, why=f"{each['verdict']} on {each['adapter']}: {each['why']}"
                    )
                )
    return found


def _notes(data: Mapping[str, Any], profile: profiles.Profile) -> list[str]:
    notes = [
        f"{name} withdrawn: {each.reason}; measured: {each.measured}"
        for name, each in profile.withdrawn.items()
    ]
    for entry in data["claims"]:
        if entry["id"] not in profile.needs and entry["verdict"] in {"falsified", "broken"}:
            notes.append(
                f"{entry['id']} is {entry['verdict']}, which this profile does not ask about: {entry['why']}"
            )
    for each in data["scenarios"]:
        if each["id"] not in profile.scenarios and each["verdict"] in {"falsified", "broken"}:
            notes.append(
                f"{each['id']} on {each['adapter']} is {each['verdict']}, which this profile does not ask about: {each['why']}"
            )
    return notes


def judge_file(path: Path, name: str, *, tree: Tree | None = None) -> Decision:
    """Decide about the verdicts in *path* by the profile *name*; whatever cannot be read is an objection, never a pass."""
    try:
        suite = Suite.read(DEFAULT_SUITE)
        claims = suite.claims()
        profile = profiles.load(name, claims)
        data = verdicts.read(path, claims)
    except (ClaimsError, profiles.ProfileError, verdicts.MalformedError) as error:
        return Decision(profile=name, objections=(Objection(id="", code=Code.MALFORMED, why=str(error)),))
    return decide(data, profile, tree or Tree.of(suite.root))


def explain(decision: Decision) -> str:
    """The decision in words, in 100 columns."""
    lines = [
        f"gate {decision.profile}: {'PASS' if decision.code is Code.PASS else 'FAIL'} ({int(decision.code)}: {MEANINGS[decision.code]})"
    ]
    failing = {each.id for each in decision.objections if each.id}
    if decision.needed:
        lines.append(f"{decision.needed - len(failing)} of {decision.needed} needed claims without objection")
    for each in decision.objections:
        lines += textwrap.wrap(
            f"{each.id or 'verdicts'}  {each.why}", 100, initial_indent="  ", subsequent_indent="        "
        )
    for note in decision.notes:
        lines += textwrap.wrap(f"note: {note}", 100, initial_indent="  ", subsequent_indent="        ")
    return "\n".join(lines)


class _Parser(argparse.ArgumentParser):
    """argparse ends with 2 for a wrong option, which is a finding of the gate's; a wrong option is malformed."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with MALFORMED."""
        self.exit(int(Code.MALFORMED), f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code."""
    parser = _Parser(prog="gate", description="Decide about a release from the verdicts of a run.")
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=verdicts.DEFAULT_FILE,
        help="verdicts (default: reports/out/verdicts.json)",
    )
    parser.add_argument(
        "--profile",
        default=DEFAULT_PROFILE,
        help=f"one of {', '.join(profiles.names())} (default: {DEFAULT_PROFILE})",
    )
    options = parser.parse_args(arguments)
    decision = judge_file(options.file, options.profile)
    print(explain(decision))
    return int(decision.code)


if __name__ == "__main__":
    sys.exit(main())
