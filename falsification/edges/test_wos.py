"""Attempts on WOS: a real kernel of its own for each, driven through wos-ctl, with real modules."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind
from duende.adapters.wos.adapter import WosAdapter
from duende.config.model import DaemonConfig, PlatformSection
from duende.errors import DuendeError
from duende.signals import Signal
from duende.states import Phase
from falsification.kit import Trial, attempt
from falsification.workbench import never, request
from fixtures.runtimes.wos import Wos, wos
from fixtures.sharing import LabError
from fixtures.wos import build
from fixtures.wos.limits import MIB, Machine

STARTS = 100
DECISIONS = 1000
"""Of the scheduler, below which the attempts on it say nothing."""
WEAKEST_WAITS = 36
"""Picks of another that a process of level 7 waits for beside one of level 0: seven times five to age to the top, one behind the other."""
HALTED = 5
"""Exit code of wos-ctl."""
Decided = dict[str, int]


def private_wos(trial: Trial, machine: Machine | None = None) -> Wos:
    """A kernel for this attempt alone, of the very tree that is tried."""
    held = wos(shared=False) if machine is None else wos(shared=False, machine=machine)
    trial.defer(held.__exit__, None, None, None)
    return held.__enter__()


class Reports:
    """What the adapter reports, with the time it came."""

    def __init__(self, adapter: WosAdapter) -> None:
        self.all: list[tuple[float, AdapterEvent]] = []
        adapter.subscribe(lambda event: self.all.append((time.monotonic(), event)))

    def of(self, daemon_id: str, kind: EventKind) -> list[float]:
        """When reports of that kind about that daemon came."""
        return [at for at, event in self.all if event.daemon_id == daemon_id and event.kind is kind]


@asynccontextmanager
async def wos_adapter(kernel: Wos) -> AsyncIterator[WosAdapter]:
    """An adapter on the private kernel."""
    adapter = WosAdapter(kernel.command, home=str(kernel.home))
    try:
        yield adapter
    finally:
        await adapter.close()


def daemon(name: str, module: Path, *args: str, priority: int = 4, **fields: Any) -> DaemonConfig:
    """A daemon that is a module."""
    platform = PlatformSection(priority=priority)
    return never(DaemonConfig(name=name, binary_path=str(module), args=args, platform=platform, **fields))


async def started(trial: Trial, adapter: WosAdapter, reports: Reports, config: DaemonConfig) -> DaemonHandle:
    """It runs, and has said that it is ready."""
    asked = request(config)
    with trial.claimed("a module starts"):
        handle = await adapter.launch(asked)
    ready = partial(reports.of, asked.daemon_id, EventKind.READY)
    await trial.until(ready, within=20, what=f"{config.name} is ready", every=0.005, claimed=True)
    return handle


async def decisions(trial: Trial, kernel: Wos, since: int, count: int) -> list[Decided]:
    """The *count* decisions after number *since*, waited for."""

    def total() -> int:
        return int(json.loads(kernel.ctl("trace", "--json", "--last", "1"))["total"])

    await trial.until(
        lambda: total() >= since + count,
        within=40,
        what=f"{count} decisions are made",
        every=0.05,
        claimed=True,
    )
    last = total() - since
    made: list[Decided] = json.loads(kernel.ctl("trace", "--json", "--last", str(last)))["decisions"]
    return [each for each in made if each["number"] > since][:count]


def told(kernel: Wos, *words: str) -> dict[str, Any]:
    """What wos-ctl says, in JSON."""
    return dict(json.loads(kernel.ctl(*words, "--json")))


@attempt("F005", alone=True, timeout=120, saboteurs=["wos-start-dawdles"])
async def test_wos_start_is_quick(trial: Trial) -> None:
    """A module started under WOS reports ready within 50 ms at p99 over 100 starts, wos-ctl and events included."""
    rounds = trial.rounds(STARTS, 20)
    trial.situation("a module reported ready", at_least=rounds)
    kernel = private_wos(trial)
    try:
        module = build.module("sh")
        args: tuple[str, ...] = ("-c", "ready; while :; do sleep 1; done")
    except LabError as error:
        trial.log(f"a module in text format instead of one in C: {error}")
        module, args = build.text_module("parent"), ()
    trial.log(f"module {module.name}, {module.stat().st_size} bytes")
    async with wos_adapter(kernel) as adapter:
        reports = Reports(adapter)
        samples: list[float] = []
        for number in range(rounds + 1):
            asked = request(daemon("quick", module, *args))
            began = time.monotonic()
            with trial.claimed("a module starts"):
                handle = await adapter.launch(asked)
            ready = partial(reports.of, asked.daemon_id, EventKind.READY)
            await trial.until(ready, within=20, what="READY arrives", every=0.0005, claimed=True)
            if number:  # the first one compiles the module
                samples.append((reports.of(asked.daemon_id, EventKind.READY)[0] - began) * 1000)
                trial.reached("a module reported ready")
            await adapter.kill(handle)
            await adapter.wait(handle)
            adapter.forget([handle.daemon_id])
        trial.judge(samples)
        trial.figure("start until ready, median", samples, unit="ms", statistic="p50")


@attempt("F091", timeout=120, saboteurs=["wos-picks-the-weakest", "wos-priority-is-dropped"])
async def test_higher_priority_runs_first(trial: Trial) -> None:
    """Of processes on all eight levels the strongest always runs first, over a thousand decisions: once each, and side by side."""
    trial.situation("decisions were seen with all levels ready", at_least=DECISIONS)
    trial.situation("a child of each level was seen to run", at_least=DECISIONS)
    kernel = private_wos(trial)
    async with wos_adapter(kernel) as adapter:
        reports = Reports(adapter)
        made = await started(
            trial, adapter, reports, daemon("levels", build.text_module("levels"), priority=0)
        )
        seen = await decisions(trial, kernel, 0, 4 * DECISIONS)
        # With its children: one that init has adopted would take itself for the first.
        await adapter.stop(made, 1.0)
        first = int(made.instance) + 1
        rounds: dict[int, list[int]] = {}
        for each in seen:
            if each["pid"] >= first:  # a child; eight of them make a round
                rounds.setdefault((each["pid"] - first) // 8, []).append(each["priority"])
        whole = [order for order in rounds.values() if len(order) == 8]
        trial.reached("a child of each level was seen to run", 8 * len(whole))
        wrong = [order for order in whole if order != list(range(8))]
        trial.check(
            not wrong,
            f"children started weakest first run strongest first; {len(wrong)} rounds did not: {wrong[:2]}",
        )

        since = int(told(kernel, "trace", "--last", "1")["total"])
        for level in reversed(range(8)):
            await started(
                trial, adapter, reports, daemon(f"spin{level}", build.text_module("spin"), priority=level)
            )
        side = [each for each in await decisions(trial, kernel, since, 3 * DECISIONS) if each["ready"] >= 7][
            :2000
        ]
        trial.reached("decisions were seen with all levels ready", len(side))
        unaged = [each for each in side if each["level"] == each["priority"]]
        wrong_picks = [each for each in unaged if each["priority"] > each["strongest"]]
        trial.check(
            not wrong_picks,
            f"whoever has not aged runs only when nobody stronger is ready: {wrong_picks[:3]}",
        )
        runs = Counter(each["priority"] for each in side)
        shares = [runs[level] for level in range(8)]
        trial.check(
            shares == sorted(shares, reverse=True),
            f"a stronger level never runs less often than a weaker one: {shares}",
        )
        trial.check(
            shares[0] > shares[7] > 0, f"the strongest runs most, and the weakest all the same: {shares}"
        )
        trial.figure("decisions", len(seen) + len(side), unit="decisions")
        trial.figure("share of level 0", 100 * shares[0] / len(side), unit="%")
        trial.figure("share of level 7", 100 * shares[7] / len(side), unit="%")


@attempt("F092", timeout=120, saboteurs=["wos-forgets-ageing", "wos-ages-for-ever"])
async def test_ageing_prevents_starvation(trial: Trial) -> None:
    """Beside a process of level 0 that never yields, one of level 7 runs after it has aged, again and again, and is at level 7 in between."""
    trial.situation("decisions were made under load", at_least=DECISIONS)
    kernel = private_wos(trial)
    async with wos_adapter(kernel) as adapter:
        reports = Reports(adapter)
        await started(trial, adapter, reports, daemon("load", build.text_module("spin"), priority=0))
        with trial.claimed("a module starts"):
            weak = await adapter.launch(request(daemon("weak", build.text_module("spin"), priority=7)))
        since = int(told(kernel, "trace", "--last", "1")["total"])
        seen = await decisions(trial, kernel, since, 2 * DECISIONS)
        trial.reached("decisions were made under load", len(seen))
        mine = [each for each in seen if each["pid"] == int(weak.instance)]
        at_least = len(seen) // (WEAKEST_WAITS + 1) - 1
        trial.check(
            len(mine) >= at_least, f"it ran {len(mine)} times in {len(seen)} decisions, {at_least} at least"
        )
        waits = [each["waited"] for each in mine]
        trial.figure(
            "picks of others it waited for",
            waits,
            unit="picks",
            relation="<=",
            threshold=WEAKEST_WAITS,
            statistic="max",
        )
        trial.check(
            all(wait == WEAKEST_WAITS for wait in waits[1:]),
            f"it ages anew from level 7 each time: it waited for {sorted(set(waits))} picks",
        )
        trial.figure("decisions", len(seen), unit="decisions")
        ready = await started(trial, adapter, reports, daemon("late", build.text_module("spin"), priority=7))
        trial.check(
            (await adapter.status(ready)).phase is Phase.RUNNING, "one more that comes under load runs too"
        )


@attempt("F093", timeout=120, saboteurs=["wos-wait-leaves-the-zombie", "wos-orphans-stay-orphans"])
async def test_init_adopts_and_reaps(trial: Trial) -> None:
    """When a parent is killed its children go to process 1, which takes each out of the table when it ends."""
    families, size = trial.rounds(20, 3), 3
    trial.situation("a child was adopted and reaped", at_least=families * size)
    kernel = private_wos(trial)
    async with wos_adapter(kernel) as adapter:
        reports = Reports(adapter)
        for _ in range(families):
            config = daemon("parent", build.text_module("parent"), *["child"] * size)
            parent = await started(trial, adapter, reports, config)
            listed = told(kernel, "ps", "--group", parent.instance)["processes"]
            children = [each["pid"] for each in listed if each["ppid"] == int(parent.instance)]
            if len(children) != size:
                raise RuntimeError(f"the parent has {len(children)} children")
            await adapter.kill(parent)
            await adapter.wait(parent)
            with trial.claimed("orphans are there to be looked at", LabError):
                for pid in children:
                    found = told(kernel, "status", "--pid", str(pid))
                    trial.check(
                        found["ppid"] == 1,
                        f"process {pid} has the parent {found['ppid']} after its own was killed",
                    )
                    trial.check(found["state"] != "terminated", f"it goes on: {found['state']}")
                for pid in children:
                    kernel.ctl("kill", "--pid", str(pid), "--signal", "USR1")
            for pid in children:
                await trial.until(
                    partial(_is_reaped, kernel, pid),
                    within=10,
                    what=f"{pid} is out of the table",
                    every=0.02,
                    claimed=True,
                )
                fate = told(kernel, "status", "--pid", str(pid))["exit"]
                trial.check(fate["code"] == 7, f"its exit is remembered: {fate}")
                trial.reached("a child was adopted and reaped")
        listed = told(kernel, "ps", "--all")["processes"]
        left = [each["pid"] for each in listed if each["state"] == "terminated" and not each["reaped"]]
        trial.check(not left, f"no zombie is left: {left}")


def _is_reaped(kernel: Wos, pid: int) -> bool:
    return bool(told(kernel, "status", "--pid", str(pid))["reaped"])


@attempt("F094", timeout=180, saboteurs=["wos-counts-no-processes"])
async def test_too_many_processes_halt_the_kernel(trial: Trial) -> None:
    """A thousand processes are no violation, one more halts the kernel: nothing runs any more, and every call says why."""
    trial.situation("the kernel had as many processes as it may have")
    trial.situation("one more was started")
    kernel = private_wos(trial)
    most = Machine().processes
    async with wos_adapter(kernel) as adapter:
        reports = Reports(adapter)
        config = daemon("parent", build.text_module("parent"), *["c"] * (most - 2), resources=_many())
        parent = await started(trial, adapter, reports, config)
        count = len(told(kernel, "ps")["processes"])
        trial.reached("the kernel had as many processes as it may have", count == most)
        trial.check(not told(kernel, "version")["halted"], f"{count} processes are no violation")
        done = kernel.run("spawn", "--name", "one-more", "--wasm", str(build.text_module("spin")))
        trial.reached("one more was started")
        said = done.stderr.strip()
        trial.check(
            done.returncode == HALTED and "MAX_PROCESSES" in said,
            f"one more halts it: {done.returncode} {said!r}",
        )
        for words in (("ps",), ("status", "--pid", "1"), ("spawn", "--name", "x", "--wasm", "x.wasm")):
            later = kernel.run(*words)
            trial.check(
                later.returncode == HALTED and "halted: MAX_PROCESSES" in later.stderr,
                f"wos-ctl {words[0]} says so: {later.returncode} {later.stderr.strip()!r}",
            )
        ended = partial(reports.of, parent.daemon_id, EventKind.EXITED)
        await trial.until(ended, within=10, what="the adapter reports the end of its daemon", claimed=True)
        try:
            await adapter.launch(request(daemon("late", build.text_module("spin"))))
        except DuendeError as error:
            trial.check("halted" in str(error), f"a start is refused with the violation: {error}")
        else:
            trial.check(False, "nothing starts in a kernel that has halted")


def _many() -> Any:
    from duende.config.model import ResourceConfig

    return ResourceConfig(pids_max=2000)


@attempt("F097", timeout=120, saboteurs=["wos-drops-arguments"])
async def test_portable_daemon_runs_in_wasm(trial: Trial) -> None:
    """The same source, built for this host and for wasm32-wasi, says and returns the same: natively, in wasmtime, and under WOS."""
    trial.situation("the module ran under WOS with the host's answer at hand")
    try:
        module, native = build.module("portable"), build.native("portable")
    except LabError as error:
        trial.log(str(error))
        trial.require("clang-14")
        raise
    args, env = ("5", "42"), {"GREETING": "two  words"}
    host = subprocess.run([str(native), *args], env=env, capture_output=True, text=True, timeout=30)
    wanted = host.stdout.splitlines()
    if host.returncode != 42 or len(wanted) != 6:
        raise RuntimeError(f"the program itself fails: {host}")
    out, code = _in_wasmtime(module, args, env, trial.tmp)
    trial.check((out, code) == (wanted, 42), f"in wasmtime it says and returns the same: {code} {out}")
    kernel = private_wos(trial, Machine(memory=64 * MIB))
    async with wos_adapter(kernel) as adapter:
        for _ in range(5):
            with trial.claimed("the module starts under WOS"):
                handle = await adapter.launch(request(daemon("portable", module, *args, env=env)))
            seen = await adapter.wait(handle)
            lines = await adapter.logs(handle, 100)
            trial.check(seen.code == 42, f"its exit code arrives: {seen}")
            trial.check([each for each in lines if each != "over"] == wanted, f"it says the same: {lines}")
            trial.check("over" in lines, f"on stderr too: {lines}")
            trial.reached("the module ran under WOS with the host's answer at hand")
            adapter.forget([handle.daemon_id])
        handle = await adapter.launch(request(daemon("long", module, "1000000", "0")))
        await adapter.signal(handle, Signal.STOP)
        trial.check((await adapter.status(handle)).phase is Phase.PAUSED, "it can be paused")
        proof = await adapter.stop(handle, 5.0)
        trial.check(proof.proven and not proof.escalated, f"and ended: {proof}")


def _in_wasmtime(
    module: Path, args: tuple[str, ...], env: dict[str, str], folder: Path
) -> tuple[list[str], int]:
    """Output and exit code in wasmtime with its own WASI: nothing of WOS takes part."""
    from wasmtime import Engine, ExitTrap, Func, Linker, Module, Store, WasiConfig

    engine = Engine()
    linker, store, wasi = Linker(engine), Store(engine), WasiConfig()
    linker.define_wasi()
    wasi.argv = ["portable", *args]
    wasi.env = list(env.items())
    wasi.stdout_file = str(folder / "out")
    wasi.stderr_file = str(folder / "err")
    store.set_wasi(wasi)
    start = linker.instantiate(store, Module.from_file(engine, str(module))).exports(store)["_start"]
    code = 0
    try:
        if isinstance(start, Func):
            start(store)
    except ExitTrap as ended:
        code = ended.code
    return (folder / "out").read_text().splitlines(), code
