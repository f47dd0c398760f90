"""What failed gets one more chance, is told as flaky when it takes it, and nothing else gets one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from falsification.kit.again import note
from falsification.kit.suite import KIT_ROOT

SUITE = """
import pathlib, pytest

def lucky(name):
    marker = pathlib.Path(__file__).with_name(name)
    there = marker.exists()
    marker.touch()
    return there

@pytest.mark.parametrize("n", [1, 2])
def test_flaky(n): assert lucky(f"flaky-{n}")
def test_fine(): pathlib.Path(__file__).with_name("ran").open("a").write("x")
"""
ALWAYS = "def test_wrong(): assert False\n"
LEAKY = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    session.config.cache.set("lab/left-behind", ["process: 4711 sleep"])
"""


def again(folder: Path, *files: tuple[str, str]) -> tuple[int, str, str]:
    """Exit code, output and the file of flakes of a run over these files."""
    for name, text in files:
        (folder / name).write_text(text, encoding="utf-8")
    line = [
        sys.executable,
        "-m",
        "falsification.kit.again",
        "--name",
        "unit",
        "--flaky",
        str(folder / "o" / "f"),
    ]
    line += [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(folder), str(folder)]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_"))}
    done = subprocess.run(
        line,
        cwd=folder,
        env={**env, "PYTHONPATH": str(KIT_ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    noted = folder / "o" / "f"
    return done.returncode, done.stdout + done.stderr, noted.read_text() if noted.exists() else ""


def test_what_passes_the_second_time_is_flaky(tmp_path: Path) -> None:
    """It passes, loudly; what had passed is not run again; what failed in an earlier run is not looked at."""
    cache = tmp_path / ".pytest_cache" / "v" / "cache"
    cache.mkdir(parents=True)
    (cache / "lastfailed").write_text('{"test_gone.py::test_x": true}')
    code, said, noted = again(tmp_path, ("test_a.py", SUITE))
    assert code == 0, said
    assert noted.splitlines() == ["unit: test_a.py::test_flaky[1]", "unit: test_a.py::test_flaky[2]"]
    assert "FLAKY: test_a.py::test_flaky[1]\n" in said
    assert (tmp_path / "ran").read_text() == "x"


def test_a_second_failure_fails(tmp_path: Path) -> None:
    """And no flake is told: the change may have broken both."""
    code, said, noted = again(tmp_path, ("test_a.py", SUITE), ("test_b.py", ALWAYS))
    assert (code, noted) == (1, ""), said
    assert "FLAKY" not in said


@pytest.mark.parametrize(
    ("files", "code", "why"),
    [
        ([("test_a.py", SUITE), ("conftest.py", LEAKY)], 1, "no second try: something was left behind"),
        ([("test_a.py", "import nothing_of_this_name\n")], 2, ""),
        ([("test_a.py", "")], 5, ""),
    ],
)
def test_what_gets_no_second_chance(
    tmp_path: Path, files: list[tuple[str, str]], code: int, why: str
) -> None:
    """Things left behind beside a failure, a collection error, and nothing to run."""
    got, said, noted = again(tmp_path, *files)
    assert (got, noted) == (code, ""), said
    assert why in said
    assert said.count("short test summary") <= 1


def test_nothing_flaky_makes_no_file(tmp_path: Path) -> None:
    """The summary tells only what there is."""
    note(tmp_path / "f", "x", [])
    assert not (tmp_path / "f").exists()
