"""Attempts on macOS: on launchd itself where this is a Mac, and with the stand-in of `fixtures/launchctl` elsewhere, as `emulated` evidence."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import psutil

from duende.adapters import choose
from duende.adapters.choose import HostView, detect
from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, Found, Platform
from duende.adapters.launchd.adapter import LaunchdAdapter
from duende.config.model import DaemonConfig, RestartConfig, RestartPolicy
from duende.kernel.process import send_signal
from duende.signals import Signal
from duende.states import Phase
from falsification.kit import Trial, attempt
from falsification.kit.verdict import Level
from falsification.workbench import daemon_class, never, request
from fixtures import procs
from fixtures.runtimes.launchd import launchd

STARTS, STARTS_EMULATED = 1000, 60
"""The claim is about 1000 starts on a Mac; of a stand-in's times fewer say as much."""
PYTHON_MACOS = """\
import sys
sys.platform = "darwin"
import os
from duende.adapters import choose
there = os.path.exists
os.path.exists = lambda path: path not in choose.LOOKED_AT and there(path)
def absent(path, **options):
    raise FileNotFoundError(path)
choose.open = absent
print(choose.detect_platform().value)
"""
"""A process that takes itself for one on macOS: its system's name, and none of the files that are looked at."""
KEPT = RestartConfig(
    policy=RestartPolicy.ALWAYS, initial_delay=1.0, multiplier=1.0, max_retries=10_000, delegate=True
)
"""What launchd itself does (launchd.plist(5), KeepAlive and ThrottleInterval)."""


class Host:
    """A launchd, and an adapter on it that notes what it reports."""

    def __init__(self, adapter: LaunchdAdapter, launchctl: Sequence[str], domain: str) -> None:
        self.adapter = adapter
        self.domain = domain
        self._launchctl = launchctl
        self.events: list[tuple[float, AdapterEvent]] = []
        adapter.subscribe(lambda event: self.events.append((time.monotonic(), event)))

    def ctl(self, *words: str) -> str:
        """What launchctl itself says."""
        done = subprocess.run(
            [*self._launchctl, *words], capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout

    def listed(self, label: str) -> list[str]:
        """The row of `launchctl list` about that job: pid, status, label."""
        rows = (line.split("\t") for line in self.ctl("list").splitlines())
        return next((row for row in rows if len(row) == 3 and row[2] == label), [])

    def runs_as(self, label: str) -> int:
        """Its pid in that list, 0 for none."""
        row = self.listed(label)
        return int(row[0]) if row and row[0].isdecimal() else 0

    def came(self, daemon_id: str, kind: EventKind) -> list[float]:
        """When reports of that kind about that daemon came."""
        return [at for at, event in self.events if event.daemon_id == daemon_id and event.kind is kind]


@asynccontextmanager
async def launchd_host(trial: Trial) -> AsyncIterator[Host]:
    """Launchd itself, or the stand-in where the trial has no more to give."""
    folder = str(trial.tmp)
    places: dict[str, Any] = {"runtime_dir": folder, "state_dir": folder, "plist_dir": f"{folder}/plists"}
    if trial.level is Level.EMULATED:
        held = launchd(shared=False)
        trial.defer(held.__exit__, None, None, None)
        private = held.__enter__()
        adapter = LaunchdAdapter(launchctl=private.launchctl, domain=private.domain, **places)
        host = Host(adapter, private.launchctl, private.domain)
    else:
        adapter = LaunchdAdapter(**places)
        host = Host(adapter, ("launchctl",), await adapter.domain())
    try:
        yield host
    finally:
        await adapter.close()


def kill_from_outside(pid: int, born: int) -> bool:
    """SIGKILL to that very process, as an accident would; where there is no /proc to know it by (0), to that number."""
    return procs.send(pid, born, signal.SIGKILL) if born else send_signal(pid, signal.SIGKILL)


@attempt(
    "F002",
    level="native",
    stand_in=["macos"],
    alone=True,
    timeout=600,
    saboteurs=["launchd-start-dawdles"],
)
async def test_start_on_macos_is_quick(trial: Trial) -> None:
    """A Python daemon started as a job of launchd reports ready within 100 ms at p99."""
    rounds = trial.rounds(STARTS if trial.level is Level.NATIVE else STARTS_EMULATED, 12)
    trial.situation("a new process reported ready", at_least=rounds)
    config = never(daemon_class("Waiter"))
    async with launchd_host(trial) as host:
        samples: list[float] = []
        for number in range(rounds + 1):
            asked = request(config)
            began = time.monotonic()
            with trial.claimed("a job starts"):
                handle = await host.adapter.launch(asked)
            await trial.until(
                partial(host.came, asked.daemon_id, EventKind.READY),
                within=20,
                what="READY arrives",
                every=0.0005,
                claimed=True,
            )
            if number:  # the first one loads the adapter's modules
                samples.append((host.came(asked.daemon_id, EventKind.READY)[0] - began) * 1000)
                trial.reached("a new process reported ready")
            await host.adapter.kill(handle)
            await host.adapter.wait(handle)
            await host.adapter.stop(
                handle, 5.0
            )  # unloads it: nothing of it is under way when the next one starts
        trial.judge(samples)
        trial.figure("start until ready, median", samples, unit="ms", statistic="p50")


@attempt("F083", level="native", stand_in=["macos"], timeout=120, saboteurs=["launchd-runs-a-placeholder"])
async def test_launchd_job_is_made(trial: Trial) -> None:
    """A started daemon is a job that launchctl lists as running, and its process is the very program given."""
    async with launchd_host(trial) as host:
        for config in (
            DaemonConfig(name="sleeper", binary_path="/bin/sleep", args=("987",)),
            daemon_class("Waiter"),
        ):
            with trial.claimed("the job starts"):
                handle = await host.adapter.launch(request(never(config)))
            row = host.listed(handle.instance)
            trial.attach("launchctl-list.txt", "\t".join(row))
            trial.check(row[:1] == [str(handle.pid)], f"launchctl lists it with its process: {row}")
            shown = host.ctl("print", f"{host.domain}/{handle.instance}")
            trial.check("\tstate = running\n" in shown, f"it is running: {shown[:300]!r}")
            wanted = "987" if config.binary_path else "Waiter"
            await trial.until(
                partial(_has_word, handle.pid, wanted),
                within=10,
                what="it is the program given",
                claimed=True,
            )
            trial.reached("launchctl was asked for a running job", at_least=2)
            proof = await host.adapter.stop(handle, 10.0)
            trial.check(proof.proven, f"it is gone afterwards: {proof.proof}")
            trial.check(not host.listed(handle.instance), "and so is its job")


def _has_word(pid: int, word: str) -> bool:
    try:
        return any(word in each for each in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


@attempt(
    "F084", level="native", stand_in=["macos"], timeout=120, saboteurs=["launchd-is-told-not-to-restart"]
)
async def test_launchd_keeps_it_alive(trial: Trial) -> None:
    """A daemon whose process is killed is started again by launchd itself, by the policy it was given, which reads back so."""
    async with launchd_host(trial) as host:
        config = DaemonConfig(name="phoenix", binary_path="/bin/sleep", args=("986",), restart=KEPT)
        with trial.claimed("the job starts"):
            handle = await host.adapter.launch(request(config))
        told = {each.key: each for each in await host.adapter.explain(handle, config)}
        entry = told.get("restart.delegate")
        trial.check(entry is not None and entry.outcome is Found.HONOURED, f"it reads back so: {entry}")
        for number in (1, 2, 3):
            await _killed_and_back(trial, host, handle, number)
        trial.check(not host.came(handle.daemon_id, EventKind.EXITED), "no end is reported of what goes on")
        proof = await host.adapter.stop(handle, 10.0)
        trial.check(proof.proven, f"an operator's stop ends it all the same: {proof.proof}")


async def _killed_and_back(trial: Trial, host: Host, handle: DaemonHandle, number: int) -> None:
    before = host.runs_as(handle.instance)
    born = procs.start_time(before) if sys.platform == "linux" else 0
    trial.check(kill_from_outside(before, born), f"there is a process to kill: {before}")
    trial.reached("the daemon's process was killed", at_least=3)
    await trial.until(
        lambda: host.runs_as(handle.instance) not in (0, before),
        within=20,
        what="launchd starts a new process",
        every=0.05,
        claimed=True,
    )
    await trial.until(
        lambda: len(host.came(handle.daemon_id, EventKind.RESTARTED)) == number,
        within=10,
        what=f"restart {number} is reported",
        claimed=True,
    )


@attempt(
    "F096", level="native", stand_in=["macos"], timeout=120, saboteurs=["launchd-is-sent-numbers-of-linux"]
)
async def test_portable_daemon_runs_on_macos(trial: Trial) -> None:
    """The example daemon, unchanged, runs as a job of launchd: it counts, pauses, goes on, and ends gracefully."""
    async with launchd_host(trial) as host:
        config = never(DaemonConfig(name="counter", daemon="duende.examples.daemon:CounterDaemon"))
        with trial.claimed("the job starts"):
            handle = await host.adapter.launch(request(config))
        trial.reached("the example daemon ran under launchd")

        async def counted(number: int) -> bool:
            return any(f"Count: {number} " in line for line in await host.adapter.logs(handle, 100))

        await trial.until(partial(counted, 2), within=20, what="it counts", claimed=True)
        for sent, phase in ((Signal.STOP, Phase.PAUSED), (Signal.CONT, Phase.RUNNING)):
            with trial.claimed(f"{sent.value} is sent"):
                await host.adapter.signal(handle, sent)
            await trial.until(
                partial(_is, host, handle, phase),
                within=5,
                what=f"after {sent.value} it is {phase.value}",
                claimed=True,
            )
        proof = await host.adapter.stop(handle, 20.0)
        lines = await host.adapter.logs(handle, 200)
        trial.attach("example.log", "\n".join(lines))
        trial.check(re.search(r"Count: 1 .*Count: 2 ", "\n".join(lines), re.DOTALL), "it counted in order")
        trial.check(
            proof.proven and not proof.escalated and proof.exit is not None and proof.exit.code == 0,
            f"it ends gracefully: {proof}",
        )
        trial.check(any("[SHUTDOWN]" in line for line in lines), f"by its own shutdown: {lines[-3:]}")


async def _is(host: Host, handle: DaemonHandle, phase: Phase) -> bool:
    return (await host.adapter.status(handle)).phase is phase


@attempt("F099", level="native", stand_in=["macos"], saboteurs=["detection-finds-no-macos"])
def test_macos_is_detected(trial: Trial) -> None:
    """On macOS detection says macOS: in this process, and in one of its own."""
    program = "from duende import detect_platform; print(detect_platform().value)"
    emulated = trial.level is Level.EMULATED
    line = [sys.executable, "-c", PYTHON_MACOS if emulated else program]
    env = {
        key: value for key, value in os.environ.items() if key not in ("container", "KUBERNETES_SERVICE_HOST")
    }
    with trial.claimed("detection answers"):
        done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=30, check=True)
    trial.reached("detection ran where the system says darwin")
    trial.check(done.stdout.strip() == "macos", f"it says {done.stdout.strip()!r}")
    view = HostView(system="darwin", environ=env, paths=frozenset()) if emulated else choose.look()
    trial.check(
        detect(view) is Platform.MACOS, f"of this view of the host: {view.system}, {sorted(view.paths)}"
    )
