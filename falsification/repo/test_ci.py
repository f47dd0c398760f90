"""The script that judges every change: what fails it, what does not, and what its summary tells."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from falsification.repo.sources import ROOT

PYTHON = """\
#!/bin/bash
# Instead of python3: a virtual environment whose nox does as it is told, and reports.brief as it is.
case "$2" in
venv) mkdir -p .venv-ci/bin && cp fake-nox .venv-ci/bin/nox && ln -sf /bin/true .venv-ci/bin/python ;;
*) exec {python} "$@" ;;
esac
"""
NOX = """\
#!/bin/bash
# Says what it was asked for, writes what a session would leave, and ends as the test wants.
echo "nox $*" >> asked
case "$*" in *"-s tests"*) if [[ -e flaky ]]; then mkdir -p reports/out; cat flaky >> reports/out/flaky.txt; fi ;; esac
while read -r words code; do
  case "$*" in *"${words//+/ }"*) exit "$code" ;; esac
done < codes
exit 0
"""
SCENARIOS = [
    {"id": "S001", "adapter": "native", "verdict": "survived", "why": ""},
    {"id": "S002", "adapter": "native", "verdict": "broken", "why": "the workload did not start"},
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the script touches, in a folder of its own."""
    for name in (".ci/run", "reports/__init__.py", "reports/brief.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "reports" / "profiles", tmp_path / "reports" / "profiles")
    (tmp_path / "bin").mkdir()
    for path, text in ((tmp_path / "bin" / "python3", PYTHON), (tmp_path / "fake-nox", NOX)):
        path.write_text(text.replace("{python}", sys.executable), encoding="utf-8")
        path.chmod(0o755)
    return tmp_path


def run(
    tree: Path, codes: dict[str, int], flaky: str = "", verdicts: Any = None
) -> tuple[int, str, list[str]]:
    """Exit code, output, and what nox was asked for."""
    lines = [f"{words.replace(' ', '+')} {code}\n" for words, code in codes.items()]
    (tree / "codes").write_text("".join(lines), encoding="utf-8")
    if flaky:
        (tree / "flaky").write_text(flaky, encoding="utf-8")
    if verdicts is not None:
        (tree / "reports" / "out").mkdir(parents=True)
        (tree / "reports" / "out" / "verdicts.json").write_text(json.dumps(verdicts), encoding="utf-8")
    done = subprocess.run(
        [str(tree / ".ci" / "run")],
        env={**os.environ, "PATH": f"{tree / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    return done.returncode, done.stdout + done.stderr, (tree / "asked").read_text().splitlines()


def test_all_is_well(tree: Path) -> None:
    """Every session runs once, the gate once for each profile, and what may be run once more is told so."""
    code, said, asked = run(tree, {})
    assert code == 0, said
    sessions = [line.split("-s ")[1] for line in asked]
    again = {"tests", "runtimes", "falsify", "saboteurs"}
    profiles = [
        f"gate -- --profile {path.stem}" for path in sorted((ROOT / "reports" / "profiles").glob("*.toml"))
    ]
    plain = ["lab", "scenarios", "report", "lint", "types"]
    assert sorted(sessions) == sorted([*plain, *profiles, *(f"{each} -- --again" for each in again)])
    assert "FLAKY" not in said
    assert "== failed" not in said


@pytest.mark.parametrize(
    "session", ["lab", "tests", "falsify", "saboteurs", "runtimes", "report", "lint", "types"]
)
def test_a_failing_session_fails_it(tree: Path, session: str) -> None:
    """And is named; the others run all the same."""
    code, said, asked = run(tree, {f"-s {session}": 1})
    assert code == 1
    assert said.endswith(f"== failed: {session}\n")
    assert len(asked) == 9 + len(list((ROOT / "reports" / "profiles").glob("*.toml")))


@pytest.mark.parametrize(
    ("codes", "fails"),
    [
        ({"linux-native": 1, "linux-systemd": 2}, False),
        ({"linux-containers": 3}, True),
        ({"linux-systemd": 4}, True),
        ({"linux-containers": 4, "linux-systemd": 0}, True),
    ],
)
def test_the_gate_fails_it_only_for_our_own_faults(tree: Path, codes: dict[str, int], fails: bool) -> None:
    """Toothless or malformed, in whichever profile."""
    code, said, _ = run(tree, {f"--profile {name}": value for name, value in codes.items()})
    assert (code == 1) == fails, said
    for name, value in codes.items():
        assert f"gate: {name} {value}\n" in said


def test_the_summary_tells_flakes_and_what_broke(tree: Path) -> None:
    """Neither fails it, and both stand at its end."""
    verdicts = {"claims": [{"id": "F001", "verdict": "falsified", "why": "too slow"}], "scenarios": SCENARIOS}
    code, said, _ = run(tree, {"-s scenarios": 1}, flaky="tests: a.py::test_b\n", verdicts=verdicts)
    assert code == 0
    summary = said[said.index("== summary") :]
    assert "FLAKY: tests: a.py::test_b\n" in summary
    assert "scenarios: 1 broken, 1 survived\n  BROKEN S002 on native: the workload did not start\n" in summary
    assert "falsified F001: too slow" in summary


def test_flakes_of_an_earlier_run_are_not_told(tree: Path) -> None:
    """The file starts anew."""
    (tree / "reports" / "out").mkdir(parents=True)
    (tree / "reports" / "out" / "flaky.txt").write_text("tests: old\n", encoding="utf-8")
    assert "FLAKY" not in run(tree, {})[1]
