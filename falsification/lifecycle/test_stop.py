"""Attempts on stopping: in time, at once, twice, and what it leaves; and on telling the state in every phase."""

from __future__ import annotations

import asyncio
import os
import sys
import time

import msgspec

from duende.config.model import DaemonConfig, ReadinessConfig, ReadinessKind, RestartConfig, RestartPolicy
from duende.errors import DuendeError
from duende.manager.control import Control
from duende.signals import Signal
from duende.states import Phase
from falsification.kit import Trial, attempt
from falsification.workbench import (
    SCRIPTS,
    adapter_for,
    alive,
    bearing,
    daemon_class,
    manager_for,
    never,
    request,
)
from fixtures.programs import available, set_up

LOG_LINE = ReadinessConfig(kind=ReadinessKind.LOG_LINE, pattern="^ready", timeout=20)


def script(which: str, **fields: object) -> DaemonConfig:
    """The configuration of a tiny program of fixtures/daemons."""
    base = DaemonConfig(
        name=which,
        binary_path=sys.executable,
        args=("-I", "-S", str(SCRIPTS / f"{which}.py")),
        readiness=LOG_LINE,
    )
    return msgspec.structs.replace(base, **fields)


@attempt("F006", alone=True, timeout=150, saboteurs=["term-is-not-sent", "kill-is-skipped"])
async def test_graceful_stop_respects_its_deadline(trial: Trial) -> None:
    """A daemon that gets TERM is gone within its shutdown timeout: servers under load, one with work in flight, one that ignores it."""
    trial.situation("a program was serving when it was stopped", at_least=2)
    trial.situation("a daemon ignored TERM", at_least=1)
    manager = await manager_for(trial)
    ratios = []
    allowed = float(trial.rounds(20, 5))
    for kind in available():
        program = set_up(kind, trial.tmp / kind)
        manager.register(msgspec.structs.replace(program.config, shutdown_timeout=allowed))
        await manager.start(program.config.name)
        load = asyncio.create_task(_load(program.works))
        await trial.until(program.works, within=20, what=f"{kind} answers", every=0.05)
        began = time.monotonic()
        proof = await manager.stop(program.config.name)
        seconds = time.monotonic() - began
        load.cancel()
        ratios.append(seconds / allowed)
        trial.figure(f"stop of {kind}", seconds, unit="s", relation="<=", threshold=allowed)
        trial.check(proof.proven, f"{kind} is gone: {proof.proof}")
        trial.expect(not proof.escalated, f"{kind} ends on TERM, without KILL")
        trial.reached("a program was serving when it was stopped")
    manager.register(daemon_class("Finisher", shutdown_timeout=5.0))
    await manager.start("finisher")
    proof = await manager.stop("finisher")
    trial.reached("a program was serving when it was stopped")
    trial.check(
        proof.proven and not proof.escalated and proof.duration <= 5.0,
        f"work in flight is finished in time ({proof.duration:.3f} s)",
    )
    trial.check(
        "finished what was in flight" in await manager.logs("finisher"), "it says that it has finished"
    )
    trial.check(proof.exit is not None and proof.exit.code == 0, f"it exits with 0: {proof.exit}")
    for timeout in (0.5, 1.0, 2.0):
        name = f"stubborn-{timeout:g}".replace(".", "-")
        manager.register(script("stubborn", name=name, shutdown_timeout=timeout))
        view = await manager.start(name)
        began = time.monotonic()
        try:
            proof = await asyncio.wait_for(manager.stop(name), timeout * 3 + 4)
        except TimeoutError:
            trial.check(False, f"a daemon that ignores TERM is gone within {timeout} s")
            raise
        seconds = time.monotonic() - began
        ratios.append(seconds / timeout)
        trial.check(proof.proven, f"a daemon that ignores TERM is gone: {proof.proof}")
        trial.check(not alive(view.pid), "its process does not exist any more")
        trial.reached("a daemon ignored TERM", proof.escalated)
    trial.figure(
        "time to be gone, of the timeout", ratios, unit="share", statistic="max", relation="<=", threshold=1.0
    )


async def _load(works: object) -> None:
    while True:
        await asyncio.to_thread(works)  # type: ignore[arg-type]
        await asyncio.sleep(0.01)


@attempt("F007", alone=True, timeout=120, saboteurs=["kill-is-lazy"])
async def test_forced_stop_is_immediate(trial: Trial) -> None:
    """SIGKILL ends a running daemon within 10 ms, measured until waitid returns."""
    rounds = trial.rounds(200, 20)
    trial.situation("a running daemon was killed", at_least=rounds)
    adapter = await adapter_for(trial)
    samples = []
    for number in range(rounds):
        config = (
            never(daemon_class("Waiter"))
            if number % 2
            else never(DaemonConfig(name="sleeper", binary_path="sleep", args=("600",)))
        )
        handle = await adapter.launch(request(config))
        trial.check(alive(handle.pid), "the daemon runs")
        began = time.monotonic()
        await adapter.kill(handle)
        seen = await adapter.wait(handle)
        trial.check(seen.signal == Signal.KILL.number(), f"it died of KILL: {seen}")
        samples.append((seen.at - began) * 1000)
        trial.reached("a running daemon was killed")
        adapter.forget([handle.daemon_id])
    trial.judge(samples)
    trial.figure("SIGKILL until waitid returned, median", samples, unit="ms", statistic="p50")


@attempt("F013", saboteurs=["pid-file-stays"])
async def test_pid_file_is_removed(trial: Trial) -> None:
    """Stop removes the PID file, and so does a crash that is not restarted."""
    manager = await manager_for(trial)
    config = never(daemon_class("Waiter"))
    manager.register(config)
    path = manager.folders.pid_path(config)
    for end in ("stop", "crash"):
        view = await manager.start("waiter")
        trial.check(os.path.exists(path), "the PID file was there")
        if end == "stop":
            await manager.stop("waiter")
        else:
            await manager.signal("waiter", Signal.KILL)
            await trial.until(
                lambda: manager.status("waiter").status.is_terminal, within=10, what="the crash is seen"
            )
        trial.check(not alive(view.pid), "the daemon is gone")
        trial.check(not os.path.exists(path), f"{path} is gone after a {end}")
        trial.reached("a daemon with a PID file ended", at_least=2)


@attempt("F015", saboteurs=["second-stop-raises"])
async def test_second_stop_is_harmless(trial: Trial) -> None:
    """Stopping what is stopped is no error, one after another and both at once."""
    manager = await manager_for(trial)
    manager.register(daemon_class("Waiter"))
    manager.register(never(DaemonConfig(name="never-started", binary_path="true")))
    with trial.claimed("stopping what never ran is no error"):
        trial.check((await manager.stop("never-started")).proven, "nothing is left of what never ran")
    view = await manager.start("waiter")
    with trial.claimed("two stops at once are no error"):
        first, second = await asyncio.gather(manager.stop("waiter"), manager.stop("waiter"))
    trial.check(first.proven and second.proven, "both say that nothing is left")
    for _ in range(3):
        with trial.claimed("a further stop is no error"):
            again = await manager.stop("waiter")
        trial.check(again.proven, "it still says that nothing is left")
        trial.reached("a stopped daemon was stopped again", at_least=3)
    trial.check(
        manager.status("waiter").status.phase is Phase.STOPPED and not alive(view.pid),
        "it is Stopped and stays so",
    )
    adapter = await adapter_for(trial)
    handle = await adapter.launch(
        request(never(DaemonConfig(name="sleeper", binary_path="sleep", args=("600",))))
    )
    with trial.claimed("the adapter's second stop is no error either"):
        proofs = [await adapter.stop(handle, 5.0) for _ in range(2)]
    trial.check(all(proof.proven for proof in proofs) and not bearing(handle), "nothing is left of it")


@attempt("F016", timeout=90, saboteurs=["pause-goes-untold", "failure-looks-stopped"])
async def test_status_is_answerable_in_every_phase(trial: Trial) -> None:
    """In each of the seven states a status query over the control socket gives that state, quickly."""
    manager = await manager_for(trial)
    control = Control(manager, _nothing)
    await control.open()
    trial.defer(control.close)
    trial.situation("a state was asked for while it lasted", at_least=7)
    seen: set[str] = set()
    waits: list[float] = []

    async def ask(name: str, wanted: Phase) -> None:
        began = time.perf_counter()
        reader, writer = await asyncio.open_unix_connection(f"{manager.folders.runtime_dir}/control.sock")
        writer.write(msgspec.json.encode({"op": "status", "name": name}) + b"\n")
        answer = msgspec.json.decode(await asyncio.wait_for(reader.readline(), 10))
        writer.close()
        waits.append((time.perf_counter() - began) * 1000)
        trial.check(answer.get("ok"), f"the query is answered: {answer}")
        trial.check(
            answer["result"]["status"] == wanted.value,
            f"{name} is {wanted.value}, the answer says {answer['result']['status']}",
        )
        seen.add(wanted.value)
        trial.reached("a state was asked for while it lasted")

    slow = ReadinessConfig(kind=ReadinessKind.LOG_LINE, pattern="never printed", timeout=30)
    manager.register(never(DaemonConfig(name="slow", binary_path="sleep", args=("600",), readiness=slow)))
    await ask("slow", Phase.CREATED)
    starting = asyncio.create_task(manager.start("slow"))
    await trial.until(lambda: manager.status("slow").pid, within=10, what="the slow one has a process")
    await ask("slow", Phase.STARTING)
    await manager.stop("slow")
    await asyncio.gather(starting, return_exceptions=True)
    await ask("slow", Phase.STOPPED)
    manager.register(
        script("stubborn", shutdown_timeout=1.5, restart=RestartConfig(policy=RestartPolicy.NEVER))
    )
    await manager.start("stubborn")
    await ask("stubborn", Phase.RUNNING)
    await manager.signal("stubborn", Signal.STOP)
    await ask("stubborn", Phase.PAUSED)
    await manager.signal("stubborn", Signal.CONT)
    await ask("stubborn", Phase.RUNNING)
    stopping = asyncio.create_task(manager.stop("stubborn"))
    await asyncio.sleep(0)
    await ask("stubborn", Phase.STOPPING)
    await stopping
    manager.register(never(DaemonConfig(name="crasher", binary_path="false")))
    try:
        await manager.start("crasher")
    except DuendeError as error:
        trial.log(f"crasher: {error}")
    await ask("crasher", Phase.FAILED)
    trial.check(
        seen == {phase.value for phase in Phase}, f"all seven states were seen, not only {sorted(seen)}"
    )
    trial.figure("status query", waits, unit="ms", statistic="max")


async def _nothing() -> None:
    """A shutdown that is not asked for."""
