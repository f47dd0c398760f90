"""Attempts on deployment: code that is beyond a threshold must not replace a daemon that runs, through the real command and manager."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from falsification.kit import Trial, attempt
from falsification.workbench import ROOT

CLEAN = '''"""A daemon."""
from duende import Daemon, DaemonContext, ExitReason


class Web(Daemon):
    """Waits."""

    name = "web"

    async def run(self, ctx: DaemonContext) -> ExitReason:
        """Wait."""
        await ctx.wait_shutdown()
        return ExitReason.graceful()
'''
BRANCHES = "".join(f"    if x == {number}:\n        return {number + 1}\n" for number in range(21))
COMPLEX = f"{CLEAN}\n\ndef choose(x: int) -> int:\n{BRANCHES}    return 0\n\n\nprint(choose(1))\n"
DEBTS = {word: f"{CLEAN}\n\nSIZE = 1  # {word}: choose one\nprint(SIZE)\n" for word in ("TODO", "FIXME")}
DEAD = f"{CLEAN}\n\ndef forgotten() -> int:\n    print('never')\n    print('called')\n    return 1\n"
UNREACHABLE = CLEAN.replace(
    "        return ExitReason.graceful()\n",
    "        return ExitReason.graceful()\n" + "        print('never')\n" * 3,
)
POOR = (
    CLEAN.replace('"""A daemon."""', "")
    + "\n\ndef f(x: int) -> int:\n"
    + "".join(f"    if x == {number}:\n        return {number}\n" for number in range(18))
    + "    return 0\n\n\nprint(f(1))\n\n\ndef g() -> int:\n    return 1\n\n\ndef h() -> int:\n    return 1\n"
)
"""Beyond no threshold but that of the score: complexity 19 of 20, no debt, dead code just below a tenth."""


class Site:
    """A folder with a daemon's code, and a manager of the real command that runs it."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.folder = trial.tmp / "site"
        self.folder.mkdir()
        trial.defer(self.run, "shutdown")

    def run(self, verb: str, *words: str) -> tuple[int, dict[str, Any]]:
        """A `duende` command; its exit code and what it says."""
        places = ["--state-dir", str(self.folder / "s"), "--runtime-dir", str(self.folder / "r"), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "duende", verb, *words, *places],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.trial.log(f"{verb} {' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.returncode, json.loads(done.stdout or "{}")

    def write(self, name: str, code: str, version: str) -> None:
        """The code and the configuration of one daemon."""
        (self.folder / f"{name}.py").write_text(code, encoding="utf-8")
        fleet = self.folder / "fleet"
        fleet.mkdir(exist_ok=True)
        (fleet / f"{name}.toml").write_text(
            f'name = "{name}"\nversion = "{version}"\ndaemon = "{self.folder}/{name}.py:Web"\n[quality]\nenabled = true\n',
            encoding="utf-8",
        )

    def deploy(self) -> tuple[int, dict[str, Any]]:
        """Deploy the fleet."""
        return self.run("deploy", str(self.folder / "fleet"))

    def instance(self, name: str = "web") -> tuple[int, str]:
        """The pid of a daemon, and its state."""
        _, said = self.run("status", name)
        view = said.get("result", {})
        return int(view.get("pid", 0)), str(view.get("status", "none"))

    def evidence(self) -> dict[str, Any]:
        """What the last gate left."""
        paths = sorted((self.folder / "s" / "gates").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        found: dict[str, Any] = json.loads(paths[-1].read_text(encoding="utf-8"))
        return found


def running(trial: Trial) -> tuple[Site, tuple[int, str]]:
    """A site whose clean daemon was deployed and runs."""
    site = Site(trial)
    site.write("web", CLEAN, "1.0.0")
    code, said = site.deploy()
    trial.check(code == 0, f"clean code is deployed: {said}")
    before = site.instance()
    trial.check(before[0] > 1 and before[1] == "Running", f"and runs: {before}")
    return site, before


def refused(trial: Trial, site: Site, code: str, key: str, before: tuple[int, str]) -> dict[str, Any]:
    """Deploying *code* is refused for *key*, and the daemon that runs is left alone; the violation's evidence."""
    site.write("web", code, "2.0.0")
    exit_code, said = site.deploy()
    trial.check(exit_code != 0 and not said.get("ok", True), f"deployment is rejected: {said}")
    violated = [
        item
        for item in site.evidence()["evidence"]
        if item["name"].endswith(f"quality.{key}") and not item["passed"]
    ]
    trial.check(violated, f"for {key}: {site.evidence()['evidence']}")
    trial.check(site.instance() == before, f"the daemon that ran runs on: {before}, {site.instance()}")
    trial.reached("a violation was submitted")
    return dict(violated[0])


def allowed(trial: Trial, site: Site, before: tuple[int, str]) -> None:
    """The same daemon in clean code replaces the one that runs: what was refused was the code, and nothing else."""
    site.write("web", CLEAN, "3.0.0")
    exit_code, said = site.deploy()
    after = site.instance()
    trial.check(
        exit_code == 0 and after[0] not in (0, before[0]),
        f"clean code replaces it: {said}, {before}, {after}",
    )
    trial.reached("clean code was deployed instead")


def both(trial: Trial) -> None:
    """What every attempt must have come to."""
    trial.situation("a violation was submitted")
    trial.situation("clean code was deployed instead")


@attempt("F061", timeout=120, saboteurs=["gate-counts-no-branches", "deploy-asks-no-gate"])
def test_complex_code_is_rejected(trial: Trial) -> None:
    """Code with a function of complexity 22, 20 being allowed, is not deployed."""
    both(trial)
    site, before = running(trial)
    said = refused(trial, site, COMPLEX, "max_complexity", before)
    trial.check(
        "complexity 22" in said["message"] and "web.py:16" in said["message"],
        f"figure and place are told: {said}",
    )
    trial.figure("complexity", 22, unit="paths")
    allowed(trial, site, before)


@attempt("F062", timeout=120, saboteurs=["gate-reads-no-comments"])
def test_admitted_debts_are_reported(trial: Trial) -> None:
    """TODO and FIXME in comments are reported with their place, and the same words in a string are not."""
    both(trial)
    site, before = running(trial)
    for word, text in DEBTS.items():
        said = refused(trial, site, text, "satd_tolerance", before)
        trial.check(
            f"{word}: choose one" in said["message"] and "web.py:16" in said["message"],
            f"word and place are told: {said}",
        )
    site.write("web", f"{CLEAN}\n\nprint('# TODO: FIXME')\n", "2.5.0")
    code, said = site.run("gate", str(site.folder / "fleet"))
    trial.check(code == 0, f"words in a string are no debt: {said}")
    allowed(trial, site, before)


@attempt("F063", timeout=120, saboteurs=["gate-finds-nothing-dead"])
def test_dead_code_is_reported(trial: Trial) -> None:
    """A function that nobody calls, and lines that cannot be reached, beyond a tenth of the code, are reported."""
    both(trial)
    site, before = running(trial)
    said = refused(trial, site, DEAD, "dead_code_max_percent", before)
    trial.check("unused function 'forgotten'" in said["message"], f"what is dead is told: {said}")
    said = refused(trial, site, UNREACHABLE, "dead_code_max_percent", before)
    trial.check("unreachable" in said["message"], f"why it is dead is told: {said}")
    trial.figure("dead code", site.evidence()["reports"][0]["measures"]["dead"][0]["value"], unit="lines")
    allowed(trial, site, before)


@attempt("F064", timeout=120, saboteurs=["gate-gives-full-marks"])
def test_a_low_score_is_rejected(trial: Trial) -> None:
    """Code that is beyond no other threshold, but scores below 80, is not deployed."""
    both(trial)
    site, before = running(trial)
    refused(trial, site, POOR, "min_quality_score", before)
    found = site.evidence()
    names = [item["name"] for item in found["evidence"] if "quality." in item["name"]]
    trial.check(names == ["web: quality.min_quality_score"], f"for its score alone: {names}")
    trial.figure("score", found["reports"][0]["score"], unit="points")
    trial.check(found["reports"][0]["score"] < 80, "it is below 80")
    allowed(trial, site, before)


@attempt("F079", timeout=120, saboteurs=["deploy-goes-on-after-a-stop", "jidoka-lets-the-line-run"])
def test_a_violation_stops_the_line(trial: Trial) -> None:
    """One violation in a fleet of three halts the whole deployment: no daemon is replaced or started, and what was not looked at is told."""
    both(trial)
    site, before = running(trial)
    site.write("aaa", CLEAN, "1.0.0")  # new, clean, and first in order
    site.write("zzz", CLEAN, "1.0.0")  # new, clean, and never looked at
    refused(trial, site, DEBTS["TODO"], "satd_tolerance", before)
    found = site.evidence()
    trial.check(
        [stop["check"] for stop in found["violations"]] == ["quality of web"],
        f"one stop: {found['violations']}",
    )
    trial.check(
        found["unchecked"] == ["quality of zzz"], f"nothing after it was looked at: {found['unchecked']}"
    )
    trial.check(found["recommendation"] != "", "a recommendation is given")
    for name in ("aaa", "zzz"):
        code, _ = site.run("status", name)
        trial.check(code == 4, f"{name} was not started: status says {code}")
    allowed(trial, site, before)
    trial.check(site.instance("aaa")[1] == site.instance("zzz")[1] == "Running", "and with it the others")
