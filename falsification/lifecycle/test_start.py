"""Attempts on starting: how fast, how many, how often, and what a start leaves on disk."""

from __future__ import annotations

import asyncio
import sys
import time

from duende.adapters.native.adapter import NativeAdapter
from duende.config.model import DaemonConfig
from duende.errors import AlreadyRunningError, DuendeError
from duende.host import exitcodes
from duende.manager.health import ask_health
from duende.states import Phase
from falsification.kit import Trial, attempt
from falsification.workbench import (
    ROOT,
    Arrivals,
    adapter_for,
    bearing,
    daemon_class,
    exec_path,
    manager_for,
    never,
    request,
)


async def time_starts(trial: Trial, adapter: NativeAdapter, config: DaemonConfig, rounds: int) -> list[float]:
    """Milliseconds from the call until READY, one daemon after another, each a new process."""
    arrivals = Arrivals(adapter)
    samples = []
    for _ in range(rounds):
        asked = request(config)
        began = time.monotonic()
        handle = await adapter.launch(asked)
        await trial.until(
            lambda wanted=asked.daemon_id: arrivals.at.get(wanted),  # type: ignore[misc]
            within=20,
            what="READY arrives",
            every=0.0005,
        )
        samples.append((arrivals.at[asked.daemon_id] - began) * 1000)
        await adapter.kill(handle)
        await adapter.wait(handle)
        adapter.forget([handle.daemon_id])
    return samples


@attempt("F001", alone=True, timeout=400, saboteurs=["host-dawdles-before-ready"])
async def test_native_start_is_quick(trial: Trial) -> None:
    """A Python daemon started natively reports ready within 100 ms at p99 over 1000 cold starts."""
    trial.situation("a new process reported ready", at_least=trial.rounds(1000, 40))
    adapter = await adapter_for(trial)
    await adapter.prepare(python=True)
    await time_starts(trial, adapter, never(daemon_class("Waiter")), 1)
    samples = await time_starts(trial, adapter, never(daemon_class("Waiter")), trial.rounds(1000, 40))
    trial.reached("a new process reported ready", len(samples))
    trial.judge(samples)
    trial.figure("start until ready, median", samples, unit="ms", statistic="p50")
    slow = await time_starts(trial, adapter, exec_path(never(daemon_class("Waiter"))), trial.rounds(100, 3))
    trial.figure("start by exec, without the preloaded interpreter", slow, unit="ms", statistic="p99")
    trial.figure("start by exec, median", slow, unit="ms", statistic="p50")


@attempt("F011", alone=True, timeout=240, saboteurs=["only-the-first-part-is-forked"])
async def test_many_run_side_by_side(trial: Trial) -> None:
    """A hundred daemons run side by side and each answers for itself; so do a thousand."""
    trial.situation("a daemon answered about its own health", at_least=100)
    for count in (100,) if trial.sabotaged else (100, 1000):
        manager = await manager_for(trial, f"m{count}")
        names = [f"w-{number}" for number in range(count)]
        for name in names:
            manager.register(never(daemon_class("Waiter", name)))
        began = time.monotonic()
        with trial.claimed(f"{count} daemons start"):
            results = await manager.start_many(names)
        seconds = time.monotonic() - began
        failed = [f"{name}: {error}" for name, error in results.items() if error is not None]
        trial.check(not failed, f"all {count} start; failed: {failed[:3]}")
        views = manager.list()
        running = sum(view.status.phase is Phase.RUNNING for view in views)
        trial.check(len({view.pid for view in views}) == count, "each is a process of its own")
        own_word = 0
        for view in views:
            with trial.claimed(f"{view.name} answers for itself"):
                found = await ask_health(f"{manager.folders.runtime_dir}/{view.daemon_id[:13]}.sock")
            own_word += found.is_healthy
        if count == 100:
            trial.judge(float(running))
            trial.reached("a daemon answered about its own health", own_word)
        else:
            trial.figure(
                "Running of a thousand", float(running), unit="daemons", relation="==", threshold=count
            )
        trial.figure(f"seconds until all {count} were ready", seconds, unit="s")
        proofs = await manager.shutdown_all()
        trial.check(all(proof.proven for proof in proofs), "all are gone afterwards")


@attempt("F012", saboteurs=["pid-file-holds-the-managers-pid"])
async def test_pid_file_is_written(trial: Trial) -> None:
    """Start writes a PID file that holds the PID of the main process."""
    manager = await manager_for(trial)
    name = f"w{trial.rng.randrange(10**9)}"
    for config in (
        daemon_class("Waiter", name),
        DaemonConfig(
            name="http",
            binary_path=sys.executable,
            args=("-m", "http.server", "0"),
            pid_file=str(trial.tmp / "own.pid"),
        ),
    ):
        manager.register(config)
        view = await manager.start(config.name)
        path = manager.folders.pid_path(config)
        with (
            trial.claimed("the PID file can be read", OSError, ValueError),
            open(path, encoding="ascii") as file,
        ):
            written = int(file.read())
        trial.check(written == view.pid, f"{path} holds {view.pid}, not {written}")
        trial.check(bearing(view.daemon_id, config.name) == [written], "that PID is the daemon's own process")
        trial.reached("a started daemon's PID file was read", at_least=2)


@attempt("F014", timeout=90, saboteurs=["pid-file-lock-is-shared", "second-start-is-obeyed"])
async def test_second_start_is_refused(trial: Trial) -> None:
    """A second start of the same daemon is an error, and one instance stays."""
    trial.situation("a second start was tried", at_least=3)
    manager = await manager_for(trial)
    name = f"w{trial.rng.randrange(10**9)}"
    manager.register(daemon_class("Waiter", name))
    view = await manager.start(name)
    for _ in range(2):
        try:
            await manager.start(name)
            trial.check(False, "the second start raises AlreadyRunningError")
        except AlreadyRunningError as error:
            trial.log(f"refused: {error}")
        except DuendeError as error:
            trial.check(False, f"it is refused because one runs, not: {error}")
        trial.reached("a second start was tried")
        found = bearing(view.daemon_id, name)
        trial.check(found == [view.pid], f"one instance runs, the first one ({view.pid}), not {found}")
    pid_file = trial.tmp / "one.pid"
    argv = ["-m", "duende", "run", "fixtures.classes:Waiter", "--pid-file", str(pid_file)]
    first = await asyncio.create_subprocess_exec(sys.executable, *argv, cwd=ROOT)
    trial.defer(lambda: first.kill() if first.returncode is None else None)
    await trial.until(
        lambda: pid_file.exists() and pid_file.read_text().strip() == str(first.pid),
        within=20,
        what="the first instance runs",
    )
    second = await asyncio.create_subprocess_exec(
        sys.executable, *argv, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    trial.reached("a second start was tried")
    try:
        _, complaint = await asyncio.wait_for(second.communicate(), 20)
    except TimeoutError:
        second.kill()
        trial.check(False, "the second `duende run` ends")
        raise
    trial.check(
        second.returncode == exitcodes.ALREADY_RUNNING,
        f"it ends with {exitcodes.ALREADY_RUNNING}, not {second.returncode}",
    )
    trial.check(
        str(first.pid).encode() in complaint, f"it names the running instance: {complaint.decode()!r}"
    )
    trial.check(first.returncode is None, "the first instance goes on")
    first.terminate()
    trial.check(await asyncio.wait_for(first.wait(), 20) == 0, "the first instance ends gracefully")
