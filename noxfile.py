"""Sessions are verbs. `nox -s falsify report gate` runs several; what stands after `--` goes to each session
that knows it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
HERE = Path(__file__).parent
COVERAGE_FLOOR = 90
"""Percent of branches and lines of duende/ the tests must reach. The one place for it."""
ON_RUNTIMES = tuple(
    f"duende/adapters/{each}/*" for each in ("systemd", "container", "pepita", "wos", "launchd")
)
"""What drives a runtime is tried on the runtime (`nox -s runtimes`), of which a machine may have none: not part of the floor here."""


def install(session: nox.Session, *groups: str) -> None:
    """Install the library's own dependencies and the *groups*.

    The library itself is imported from the tree, so that a planted defect is.
    """
    wanted = list(PROJECT["project"]["dependencies"])
    for group in groups:
        wanted += PROJECT["dependency-groups"][group]
    session.install(*wanted)


def harness(session: nox.Session) -> str:
    """The interpreter of the environment that all harness sessions share; made when absent or when its
    packages changed.
    """
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["tests"]]
    folder = HERE / ".nox" / "harness"
    python, made_for = folder / "bin" / "python", folder / "made-for.json"
    text = json.dumps([sys.version, wanted])
    if not made_for.is_file() or made_for.read_text(encoding="utf-8") != text:
        session.log(f"making the harness's environment in {folder}: about a minute")
        session.run(sys.executable, "-m", "venv", "--clear", str(folder))
        session.run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
        made_for.write_text(text, encoding="utf-8")
    return str(python)


def options(session: nox.Session, known: dict[str, int], *, ids: str = "") -> list[str]:
    """Those of the words after `--` that this session knows: its options with their values, and ids like F007
    where *ids* is "F".

    Several sessions of one command share these words: each leaves alone those of others.
    """
    chosen: list[str] = []
    words = iter(session.posargs)
    for word in words:
        name, joined, _ = word.partition("=")
        if name in EVERY:
            values = [] if joined else [next(words, "") for _ in range(EVERY[name])]
            chosen += [word, *values] if name in known else []
        elif word[:1] in {"F", "S"} and word[1:].isdigit():
            chosen += [word] if word[:1] == ids else []
        else:
            session.error(
                f"no session knows {word!r}; they know {' '.join(sorted(EVERY))} and ids like F007 and S001"
            )
    return chosen


FALSIFY = {
    "--again": 0,
    "--category": 1,
    "--level": 1,
    "--seed": 1,
    "--retry": 0,
    "--jobs": 1,
    "--lab": 0,
    "--list": 0,
    "--out": 1,
}
SABOTEURS = {"--again": 0, "--category": 1, "--level": 1, "--seed": 1, "--all": 0, "--out": 1}
SCENARIOS = {"--seed": 1, "--adapter": 1}
GATE = {"--profile": 1}
EVERY = {**FALSIFY, **SABOTEURS, **SCENARIOS, **GATE, "--allure": 0}
ELSEWHERE = {"--lab", "--allure", "--again"}
"""Words for other sessions, in the sessions that hand theirs on to another program."""
FLAKY = HERE / "reports" / "out" / "flaky.txt"
"""What came out well only the second time, with `-- --again`."""


def once_more(session: nox.Session, python: str) -> list[str]:
    """What stands before a pytest whose failed tests get a second chance, where `-- --again` asks for it."""
    if "--again" not in session.posargs:
        return []
    return [python, "-m", "falsification.kit.again", "--name", session.name, "--flaky", str(FLAKY)]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the unit, property and repository tests, with branch coverage of duende/.

    Words after `--` go to pytest. With `--again` among them, tests that failed are run once more; the coverage is that of both runs.
    """
    install(session, "tests")
    # Child processes measure themselves too: site runs this line in every interpreter of this environment.
    hook = next(Path(session.virtualenv.location).glob("lib/python*/site-packages")) / "measure_children.pth"
    hook.write_text(
        "import os; os.environ.get('COVERAGE_PROCESS_START') and __import__('coverage').process_startup()\n",
        encoding="ascii",
    )
    session.run("coverage", "erase")
    own = [word for word in session.posargs if word not in ELSEWHERE]
    env = {
        "COVERAGE_PROCESS_START": str(HERE / "pyproject.toml"),
        "COVERAGE_FILE": str(HERE / ".coverage"),  # children run in folders of their own
    }
    line = ["coverage", "run", "-m", "pytest", "-n", "2", *own]
    if first := once_more(session, "python"):  # which is not to be measured itself
        session.run(*first, "env", *(f"{name}={value}" for name, value in env.items()), *line)
    else:
        session.run(*line, env=env)
    session.run("coverage", "combine", "--quiet")
    floor = 0 if own else COVERAGE_FLOOR  # some of the tests cover some of the library
    session.run("coverage", "report", f"--fail-under={floor}", f"--omit={','.join(ON_RUNTIMES)}")


@nox.session(venv_backend="none")
def lab(session: nox.Session) -> None:
    """Install the programs that attempts and bench supervise, the container runtimes, and build the lab's images
    (Debian, root; elsewhere it says what it cannot do and goes on). Starts no service.
    """
    session.run(sys.executable, "-m", "falsification.kit.lab")


@nox.session(venv_backend="none")
def falsify(session: nox.Session) -> None:
    """Try to falsify the claims: `nox -s falsify -- F001 F007`, `-- --category A`, `-- --lab`. Verdicts go to
    reports/out.
    """
    session.run(harness(session), "-m", "falsification", *options(session, FALSIFY, ids="F"))


@nox.session(venv_backend="none")
def saboteurs(session: nox.Session) -> None:
    """Run what survived under its planted defects: each must be noticed."""
    session.run(harness(session), "-m", "falsification", "--saboteurs", *options(session, SABOTEURS, ids="F"))


@nox.session(venv_backend="none")
def scenarios(session: nox.Session) -> None:
    """Run the scenarios: `nox -s scenarios -- S001 --seed 7`."""
    session.run(harness(session), "-m", "scenarios", *options(session, SCENARIOS, ids="S"))


@nox.session(venv_backend="none")
def runtimes(session: nox.Session) -> None:
    """Run the adapters, and the lab itself, on real runtimes: systemd, Docker, Podman, containerd and WOS, private ones, and a stand-in of launchd.
    What is not installed here is skipped with its reason; `nox -s lab` installs it. Words after `--` go to pytest; with `--again`
    among them, tests that failed are run once more.
    """
    own = [word for word in session.posargs if word not in ELSEWHERE]
    python = harness(session)
    session.run(
        *once_more(session, python),
        python,
        "-m",
        "pytest",
        "-c",
        "pyproject.toml",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "--timeout=180",
        "fixtures/tests",
        *own,
    )


@nox.session(venv_backend="none")
def report(session: nox.Session) -> None:
    """Write reports/out/report.html; with `-- --allure` also reports/out/allure, which needs npm."""
    session.run(harness(session), "-m", "reports.html")
    if "--allure" in session.posargs:
        with session.chdir(HERE / "reports"):
            session.run("npm", "install", "--no-fund", "--no-audit", "--no-package-lock")
            session.run(
                "npx", "--no-install", "allure", "generate", "out/allure-results", "-c", "allurerc.mjs"
            )


@nox.session
def bench(session: nox.Session) -> None:
    """Compare with other supervisors, and what limits and policy cost with their peers. Words after `--` go to the first of these, and leave the
    others out.
    """
    install(session, "tests", "bench")
    words = [word for word in session.posargs if word not in ELSEWHERE]
    session.run("python", "-m", "bench", *words)
    if not words:
        for each in ("start", "limit", "policy", "observe", "state", "trace", "block"):
            session.run("python", "-m", f"bench.{each}_cost")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the parsers with atheris: `nox -s fuzz -- 60` for a minute each (default: 10 seconds)."""
    install(session, "tests", "fuzz")
    session.run("python", "-m", "falsification.fuzz", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format. The rules of the repository are among the tests."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types strictly: everything for Linux, the library for macOS too."""
    install(session, "tests", "types")
    session.run("mypy", "--platform", "linux", *_existing(PROJECT["tool"]["mypy"]["files"]))
    # The native adapter is Linux's (its probe says so); calls that only Linux has are let pass here, everything else is checked.
    linux_only = (
        "--disable-error-code=attr-defined",
        "--disable-error-code=no-any-return",
        "--no-warn-unreachable",
    )
    session.run("mypy", "--platform", "darwin", *linux_only, "duende")


def _existing(names: Iterable[str]) -> list[str]:
    return [
        name
        for name in names
        if ((HERE / name).is_dir() and any((HERE / name).rglob("*.py"))) or (HERE / name).is_file()
    ]


# Last, so that whatever runs in the same command has run: it ends nox with the gate's own code.
@nox.session(venv_backend="none")
def gate(session: nox.Session) -> None:
    """Decide about a release: `nox -s gate -- --profile linux-containers`. nox ends with the gate's exit code."""
    done = subprocess.run(
        [harness(session), "-m", "reports.gate", *options(session, GATE)], cwd=HERE, check=False
    )
    if done.returncode:
        raise SystemExit(done.returncode)  # session.run would turn every failure into nox's own 1
