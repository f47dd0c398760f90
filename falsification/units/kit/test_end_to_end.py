"""The harness as a whole, run as a person runs it, over a toy product in which every verdict occurs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from falsification.kit.suite import KIT_ROOT

TOY = Path(__file__).parent / "toy"


def command(out: Path, *arguments: str, suite: Path = TOY / "suite.toml") -> subprocess.CompletedProcess[str]:
    """Run `python -m falsification` on the toy suite."""
    line = [
        sys.executable,
        "-m",
        "falsification",
        "--suite",
        str(suite),
        "--out",
        str(out),
        "--jobs",
        "2",
        *arguments,
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_"))}
    return subprocess.run(
        line, cwd=KIT_ROOT, env=env, capture_output=True, text=True, check=False, timeout=60
    )


def claims(out: Path) -> dict[str, dict[str, Any]]:
    """The entries of the ledger by id."""
    return {
        entry["id"]: entry
        for entry in json.loads((out / "verdicts.json").read_text(encoding="utf-8"))["claims"]
    }


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """One run of all attempts, then one of all saboteurs."""
    out = tmp_path_factory.mktemp("out")
    return out, command(out), command(out, "--saboteurs")


Ran = tuple[Path, subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]


def test_every_verdict_occurs(ran: Ran) -> None:
    """Each toy claim comes out as it was built to, and the harness says that it worked."""
    out, falsify, _ = ran
    assert falsify.returncode == 0, falsify.stdout + falsify.stderr
    assert {name: entry["verdict"] for name, entry in claims(out).items()} == {
        "F001": "survived",
        "F002": "survived",
        "F003": "falsified",
        "F004": "vacuous",
        "F005": "broken",
        "F006": "unattempted",
        "F007": "unattempted",
        "F008": "broken",
        "F009": "survived",
    }


def test_reasons_are_told(ran: Ran) -> None:
    """Each claim that did not survive says why."""
    found = claims(ran[0])
    assert found["F003"]["why"].startswith("five is odd")
    assert "somebody went there: 1 of at least 2" in found["F004"]["why"]
    assert "the attempt's own mistake" in found["F005"]["why"]
    assert found["F006"]["why"] == "nobody knows how"
    assert found["F007"]["why"].startswith("unicorn: ")
    assert "did not end within 0.2 s" in found["F008"]["why"]


def test_figures_keep_their_samples(ran: Ran) -> None:
    """The figure is judged by the claim's threshold, with all samples."""
    figure = claims(ran[0])["F002"]["figures"][0]
    assert (figure["relation"], figure["threshold"], len(figure["samples"])) == ("<", 1000.0, 100)


def test_saboteurs_are_caught_and_missed(ran: Ran) -> None:
    """A defect in the copy reaches child processes; an unseen one is missed; one that does not fit, or
    crashes, catches nothing.
    """
    out, _, saboteurs = ran
    assert saboteurs.returncode == 1, "a saboteur that cannot be planted is the harness's fault"
    found = {each["name"]: each for each in claims(out)["F001"]["saboteurs"]}
    assert {name: each["caught"] for name, each in found.items()} == {
        "toy-adds-wrongly": True,
        "toy-patched": True,
        "toy-is-rude": False,
        "toy-fits-nowhere": False,
        "toy-crashes": False,
    }
    assert "in another process" in found["toy-adds-wrongly"]["why"]
    assert "in another process" not in found["toy-patched"]["why"]
    assert "itself is broken" in found["toy-fits-nowhere"]["why"]
    assert "came out broken" in found["toy-crashes"]["why"]


def test_evidence_lies_on_disk(ran: Ran) -> None:
    """Record, log and attachments of each attempt."""
    folder = ran[0] / "attempts" / "F001"
    assert json.loads((folder / "record.json").read_text(encoding="utf-8"))["situations"] == [
        "two numbers were added: 2 of at least 1 times"
    ]
    assert "verdict: survived" in (folder / "log.txt").read_text(encoding="utf-8")
    assert (folder / "files" / "sums.txt").read_text(encoding="utf-8") == "5 5"


def test_the_board_fits(ran: Ran) -> None:
    """The final board has at most 80 columns and every id."""
    board = ran[1].stdout.split("A  Lifecycle")[1].splitlines()
    assert max(len(line) for line in board) <= 80
    assert "F008 !" in board[1]


def test_progress_is_a_line_per_claim(ran: Ran) -> None:
    """Each finished attempt is told with its place, verdict and key figure against its threshold."""
    lines = [line for line in ran[1].stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 8
    assert any(line.startswith("[8/8] F002 survived") and "(< 1000 ms)" in line for line in lines)


def test_a_retried_pass_is_flaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass after a failure is told as flaky, never as a plain survivor."""
    monkeypatch.setenv("TOY_MARKER", str(tmp_path / "marker"))
    done = command(tmp_path / "out", "F009", "--retry")
    entry = claims(tmp_path / "out")["F009"]
    assert (entry["verdict"], entry["flaky"]) == ("survived", True), done.stdout
    assert "F009 flaky" in done.stdout
    assert "F009 falsified" in done.stdout


def test_what_broke_once_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --again a broken attempt has a second chance, a falsified one has none; what it comes to is flaky and noted."""
    monkeypatch.setenv("TOY_MARKER", str(tmp_path / "marker"))
    suite = changed(tmp_path, "attempts_slow.py", "trial.check(False,", 'raise KeyError("unlucky",')
    out = tmp_path / "out"
    done = command(out, "F003", "F005", "F009", "--again", suite=suite)
    found = {name: (entry["verdict"], entry["flaky"]) for name, entry in claims(out).items()}
    assert found["F009"] == ("survived", True), done.stdout
    assert found["F005"] == ("broken", False)
    assert found["F003"] == ("falsified", False)
    tried = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert [sum(name in line for line in tried) for name in ("F003", "F005", "F009")] == [1, 2, 2]
    assert (out / "flaky.txt").read_text(encoding="utf-8") == "falsify: F009\n"


def test_a_saboteur_that_proved_nothing_is_tried_again(ran: Ran, tmp_path: Path) -> None:
    """One under which the attempt broke, but none that went unnoticed; what stays broken stays uncaught."""
    out = tmp_path / "out"
    shutil.copytree(ran[0], out)
    done = command(out, "--saboteurs", "--again", "F001")
    assert "once more: F001/toy-crashes" in done.stdout
    assert done.stdout.count("toy-crashes") > done.stdout.count("toy-is-rude")
    assert not (out / "flaky.txt").exists()


def changed(tmp_path: Path, file: str, old: str, new: str) -> Path:
    """A copy of the toy suite with one change."""
    root = tmp_path / "toy"
    shutil.copytree(TOY, root, ignore=shutil.ignore_patterns("__pycache__", "__init__.py"))
    for package in ("toyproduct", "toy_saboteurs"):
        shutil.copy(TOY / package / "__init__.py", root / package)
    text = (root / file).read_text(encoding="utf-8")
    assert old in text
    (root / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return root / "suite.toml"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("claims.toml", "Adding works", "Adding mostly works", "does not match its hash"),
        ("attempts_toy.py", '@attempt("F003"', '@attempt("F001"', "F001 has 2 attempts"),
        ("attempts_toy.py", "import asyncio", "import asyncio, nothing_of_this_name", "nothing_of_this_name"),
    ],
)
def test_what_is_bound_wrongly_does_not_start(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    """The suite refuses to start, says why, and attempts nothing."""
    done = command(tmp_path / "out", suite=changed(tmp_path, file, old, new))
    assert (done.returncode, message in done.stdout) == (2, True), done.stdout
    assert not (tmp_path / "out" / "verdicts.json").exists()
