"""The pytest plugin: collects attempts, checks their bindings, runs each with a `Trial` and leaves a record.

It is loaded by the driver (`python -m falsification`), which hands it a `--suite`; without one it only lends
the `trial` fixture.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from falsification.kit import authoring, binding, saboteur
from falsification.kit.claim import ClaimsError
from falsification.kit.conduct import conduct
from falsification.kit.record import Record, write_atomically
from falsification.kit.seeds import derive
from falsification.kit.suite import DEFAULT_SUITE, Suite
from falsification.kit.trial import Trial
from falsification.kit.verdict import Verdict

SUITE = pytest.StashKey[Suite]()
RECORD = pytest.StashKey[Record]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options the driver uses; a person uses those of `python -m falsification`."""
    group = parser.getgroup("falsification")
    group.addoption("--suite", default=str(DEFAULT_SUITE), help="suite file")
    group.addoption("--plan", help="collect only, check every binding, and write the plan to this file")
    group.addoption(
        "--run-seed", type=int, default=1, help="seed of the run; each attempt's is derived from it"
    )
    group.addoption("--records", help="folder for the records of attempts")
    group.addoption("--feed", help="unix datagram socket that hears of each attempt's start and end")
    group.addoption("--saboteur", default="", help="name of the planted defect this run is under")


def pytest_configure(config: pytest.Config) -> None:
    """Read the suite; refuse to start with claims that changed without their hash."""
    config.addinivalue_line("markers", "attempt(claim): a test bound to a claim by @attempt")
    try:
        suite = Suite.read(Path(config.getoption("suite")))
        suite.claims()
    except ClaimsError as error:
        raise pytest.UsageError(str(error)) from error
    found = importlib.util.find_spec(suite.product)
    if found is None or not Path(found.origin or "/").is_relative_to(suite.root):
        # An installed copy would be tried instead of this tree, and a planted defect would never be seen.
        raise pytest.UsageError(
            f"{suite.product} would be imported from {found.origin if found else 'nowhere'}, not {suite.root}"
        )
    config.stash[SUITE] = suite


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the bindings of everything collected; in a planning run also that no claim is left out, and write
    the plan.
    """
    suite = config.stash[SUITE]
    found = [(item, bound) for item in items if (bound := authoring.of(getattr(item, "function", None)))]
    plan = config.getoption("plan")
    if not plan:
        return
    # pytest collects what a module imports as well: one function in two modules is two items, and rightly
    # refused as double.
    problems = [
        f"{item.nodeid} lies among the attempts without @attempt"
        for item in items
        if authoring.of(getattr(item, "function", None)) is None
    ]
    try:
        known = saboteur.load(suite.saboteurs)
    except saboteur.SaboteurError as error:
        raise pytest.UsageError(str(error)) from error
    problems += binding.problems(suite.claims(), [bound for _, bound in found], suite.unattempted(), known)
    if problems:
        raise pytest.UsageError("the claims are not bound as they must be:\n  " + "\n  ".join(problems))
    entries = [{"nodeid": item.nodeid, **asdict(bound), "level": bound.level.value} for item, bound in found]
    defects = {
        name: {"breaks": each.breaks, "mutant": bool(each.edits), "vacuous_is_caught": each.vacuous_is_caught}
        for name, each in known.items()
    }
    write_atomically(Path(plan), json.dumps({"attempts": entries, "saboteurs": defects}))


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> Iterator[Trial]:
    """The trial of the attempt that asks for it, with a folder short enough for unix sockets (their paths end
    at 107 bytes).

    Raises:
        UsageError: the test is no attempt, or is bound to an id that is no claim.
    """
    bound = authoring.of(request.function)
    suite = request.config.stash[SUITE]
    claim = suite.claims().get(bound.claim) if bound else None
    if bound is None or claim is None:
        raise pytest.UsageError(
            f"{request.node.nodeid}: only a test bound to a claim by @attempt gets a trial"
        )
    folder = Path(tempfile.mkdtemp(prefix="df-", dir="/tmp"))
    folder.chmod(0o755)  # daemons of other users must reach their working directory inside
    try:
        yield Trial(
            claim=claim,
            attempt=bound,
            seed=derive(request.config.getoption("run_seed"), claim.id),
            tmp=folder,
            saboteur=request.config.getoption("saboteur"),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Conduct an attempt; leave every other test to pytest.

    Raises:
        AssertionError: the claim was falsified, so that pytest (and Allure) show a failure.
    """
    if authoring.of(pyfuncitem.function) is None:
        return None
    config = pyfuncitem.config
    trial = pyfuncitem.funcargs["trial"]
    if not isinstance(trial, Trial):
        raise pytest.UsageError(f"{pyfuncitem.nodeid}: an attempt takes one argument, `trial`")
    _tell(config, event="start", claim=trial.claim.id)
    planted = trial.saboteur and saboteur.load(config.stash[SUITE].saboteurs)[trial.saboteur]
    if planted:
        with planted.active():
            record = conduct(trial, pyfuncitem.obj)
    else:
        record = conduct(trial, pyfuncitem.obj)
        _label(trial, record)
    pyfuncitem.stash[RECORD] = record
    if config.getoption("records"):
        record.write(Path(config.getoption("records")) / record.claim)
    _tell(config, event="end", claim=record.claim)
    _show(record)
    return True


def _show(record: Record) -> None:
    match record.verdict:
        case Verdict.SURVIVED:
            return
        case Verdict.UNATTEMPTED:
            pytest.skip(record.why)
        case Verdict.FALSIFIED:
            raise AssertionError(record.why)
        case _:
            raise RuntimeError(f"{record.verdict.value}: {record.why}")


def _label(trial: Trial, record: Record) -> None:
    from falsification.kit import allure_labels

    allure_labels.label(trial, record)


def _tell(config: pytest.Config, **message: Any) -> None:
    feed = config.getoption("feed")
    if not feed:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(json.dumps(message).encode(), feed)
        except OSError:
            return  # the driver has gone; the record on disk is what counts
