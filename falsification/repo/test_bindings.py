"""Claims, attempts, thresholds and saboteurs fit together."""

from __future__ import annotations

import ast
import re
from collections import Counter

from falsification.kit import saboteur
from falsification.kit.suite import DEFAULT_SUITE, Suite
from falsification.repo.sources import ROOT

SUITE = Suite.read(DEFAULT_SUITE)


def _decorated() -> list[tuple[str, tuple[str, ...], str]]:
    """Claim, saboteurs and place of every @attempt in the folders of attempts, read without importing anything."""
    found = []
    for folder in SUITE.attempt_paths():
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "attempt":
                    options = {
                        word.arg: ast.literal_eval(word.value)
                        for word in node.keywords
                        if word.arg == "saboteurs"
                    }
                    claim = ast.literal_eval(node.args[0])
                    found.append(
                        (
                            claim,
                            tuple(options.get("saboteurs", ())),
                            f"{path.relative_to(ROOT)}:{node.lineno}",
                        )
                    )
    return found


def test_there_are_110_claims() -> None:
    """F001 to F110, each with its hash."""
    assert list(SUITE.claims()) == [f"F{number:03}" for number in range(1, 111)]


def test_every_claim_is_bound_once() -> None:
    """Each id has exactly one attempt, or a reason for having none."""
    bound = Counter([claim for claim, _, _ in _decorated()] + list(SUITE.unattempted()))
    assert {name for name in SUITE.claims() if bound[name] != 1} == set()
    assert set(bound) <= set(SUITE.claims())


def test_every_attempt_has_a_saboteur() -> None:
    """An attempt without a saboteur is toothless."""
    assert [place for _, names, place in _decorated() if not names] == []


def test_saboteurs_and_attempts_know_each_other() -> None:
    """Every saboteur an attempt names is defined, and every one defined is named by an attempt."""
    defined = {name for name in saboteur.load(SUITE.saboteurs) if not name.startswith("toy-")}
    named = {name for _, names, _ in _decorated() for name in names}
    assert named - defined == set(), "named and not defined"
    assert defined - named == set(), "defined and named by no attempt"


def test_every_mutant_fits() -> None:
    """The text every mutant changes is in the product exactly once, and the result is Python."""
    problems = []
    for each in saboteur.load(SUITE.saboteurs).values():
        for edit in each.edits:
            path = SUITE.root / edit.file
            try:
                if not each.name.startswith("toy-"):
                    edit.apply(path.read_text(encoding="utf-8"))
            except (saboteur.SaboteurError, OSError) as error:
                problems.append(f"{each.name}: {error}")
    assert not problems, "\n".join(problems)


def test_thresholds_are_those_of_the_claims() -> None:
    """Every number of thresholds.toml stands in the criterion of its claim, so none can be weakened there."""
    wrong = []
    for claim in SUITE.claims().values():
        if claim.threshold is not None:
            numbers = {
                float(number.replace(" ", "")) for number in re.findall(r"\d+(?:\.\d+)?", claim.criterion)
            }
            wanted = {claim.threshold.value}
            if claim.id == "F105":  # "no zombie left": the zero is a word
                wanted = {5.0} if claim.threshold.value == 0 else wanted
            if not wanted <= numbers:
                wrong.append(f"{claim.id}: {claim.threshold} but {claim.criterion}")
    assert not wrong, "\n".join(wrong)
