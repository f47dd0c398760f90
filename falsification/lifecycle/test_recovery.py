"""Attempts on coming back: after a crash, with the state from before, and with a new configuration."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec

from duende.config.model import RestartConfig, RestartPolicy
from duende.kernel.process import send_signal
from duende.manager import DaemonManager
from duende.manager.client import ManagerClient
from duende.signals import Signal
from duende.state import StateStore
from duende.states import Phase
from falsification.kit import Trial, attempt
from falsification.workbench import CLASSES, ROOT, alive, daemon_class, manager_for
from fixtures.programs import available, nginx_conf, set_up

SEGV = 11


@attempt(
    "F008", alone=True, timeout=180, saboteurs=["death-by-signal-counts-as-wanted", "restart-timer-is-lost"]
)
async def test_crashed_daemon_comes_back(trial: Trial) -> None:
    """A daemon killed by SIGSEGV runs again within 5 s, under the default policy and delay, as does a real server."""
    trial.situation("a daemon died of SIGSEGV", at_least=4)
    manager = await manager_for(trial)
    waits = []
    configs = [daemon_class("Waiter")]
    programs = [set_up(kind, trial.tmp / kind) for kind in available() if kind in ("redis", "http")]
    configs += [program.config for program in programs]
    for config in configs:
        manager.register(config)
        view = await manager.start(config.name)
        for _ in range(trial.rounds(2, 1)):
            view = manager.status(config.name)
            began = time.monotonic()
            trial.check(send_signal(view.pid, SEGV), "the daemon was there to be hit")
            await trial.until(
                lambda name=config.name, old=view.pid: (
                    manager.status(name).status.phase is Phase.RUNNING
                    and manager.status(name).pid not in (0, old)
                ),  # type: ignore[misc]
                within=12,
                what=f"{config.name} runs again",
                claimed=True,
            )
            waits.append(time.monotonic() - began)
            died = manager.status(config.name).last_exit
            trial.reached("a daemon died of SIGSEGV", died is not None and died.signal == SEGV)
    trial.check(all(program.works() for program in programs), "the real servers answer again")
    trial.judge(waits)


@attempt(
    "F009",
    timeout=120,
    saboteurs=["journal-forgets", "working-folder-is-forgotten", "commits-stay-in-memory"],
)
async def test_state_outlives_a_restart(trial: Trial) -> None:
    """What a daemon had committed before SIGKILL is there after the restart, and so is what the manager knew of it."""
    trial.situation("a daemon was killed while it wrote", at_least=3)
    quick = RestartConfig(policy=RestartPolicy.ALWAYS, initial_delay=0.05, max_retries=100)
    folder = trial.tmp / "notebook"
    folder.mkdir()
    manager = await manager_for(trial)
    manager.register(daemon_class("Notebook", working_dir=str(folder), restart=quick))
    await manager.start("notebook")
    for round_number in range(3):
        view = manager.status("notebook")
        await trial.until(
            lambda: _last_number(folder, "wrote") > 0, within=20, what="it writes", every=0.05, claimed=True
        )
        trial.check(send_signal(view.pid, 9), "it was alive while writing")
        await trial.until(
            lambda old=view.pid: manager.status("notebook").pid not in (0, old),  # type: ignore[misc]
            within=10,
            what="it is restarted",
        )
        lines = await manager.logs("notebook", 100_000)
        promised = max(int(line.split()[1]) for line in lines if line.startswith("wrote"))
        with sqlite3.connect(folder / "notebook.db") as book:
            kept = {row[0] for row in book.execute("SELECT n FROM notes")}
        trial.check(
            set(range(1, promised + 1)) <= kept,
            f"all {promised} numbers promised are kept after crash {round_number + 1}",
        )
        trial.reached("a daemon was killed while it wrote")
        trial.log(f"crash {round_number + 1}: {promised} promised, {len(kept)} kept")
    await _the_store(trial, manager, quick)
    await _managers_memory(trial)


async def _the_store(trial: Trial, manager: DaemonManager, quick: RestartConfig) -> None:
    """The same with duende's own store, killed in the middle of its commits."""
    folder = trial.tmp / "ledger"
    folder.mkdir()
    manager.register(daemon_class("Ledger", working_dir=str(folder), restart=quick))
    await manager.start("ledger")

    async def said(word: str) -> list[int]:
        lines = await manager.logs("ledger", 100_000)
        return [int(line.split()[1]) for line in lines if line.startswith(word)]

    promised = 0
    for round_number in range(1, 4):
        view = manager.status("ledger")
        await trial.until(
            partial(_more, said, promised), within=20, what="it writes", every=0.05, claimed=True
        )
        trial.check(send_signal(view.pid, 9), "it was alive while writing")
        promised = max(await said("wrote"))
        await trial.until(
            partial(_found, said, round_number),
            within=20,
            what="the next one has opened the store",
            every=0.05,
            claimed=True,
        )
        found = (await said("found"))[round_number]
        trial.check(
            found >= promised, f"all {promised} promised are found after crash {round_number}, not {found}"
        )
    await manager.stop("ledger")
    with StateStore(folder / "state") as store:
        missing = [
            number for number in range(1, promised + 1) if len(store.get(f"note-{number}") or b"") != 100
        ]
        trial.check(not missing, f"every note up to {promised} is there: {missing[:5]}")


async def _more(said: Callable[[str], Awaitable[list[int]]], least: int) -> bool:
    return max(await said("wrote"), default=0) > least + 20


async def _found(said: Callable[[str], Awaitable[list[int]]], rounds: int) -> bool:
    return len(await said("found")) > rounds


def _last_number(folder: Path, _: str) -> int:
    try:
        with sqlite3.connect(f"file:{folder}/notebook.db?mode=ro", uri=True) as book:
            return int(book.execute("SELECT coalesce(max(n), 0) FROM notes").fetchone()[0])
    except sqlite3.Error:
        return 0


async def _managers_memory(trial: Trial) -> None:
    """The manager is SIGKILLed; the next one adopts the daemon, keeps its id and counters, and leaves stopped what was stopped."""
    home = trial.tmp / "killed"
    home.mkdir()
    fleet = home / "fleet.toml"
    fleet.write_text(
        f'[defaults]\ndaemon = "{CLASSES}:Waiter"\nrestart = {{ policy = "unless-stopped", initial_delay = 0.05 }}\n'
        '[[daemon]]\nname = "kept"\n[[daemon]]\nname = "stopped"\n'
    )
    argv = [
        sys.executable,
        "-m",
        "duende",
        "manager",
        str(fleet),
        "--state-dir",
        str(home / "s"),
        "--runtime-dir",
        str(home / "r"),
    ]

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv, cwd=ROOT)
        trial.defer(process.kill)
        return process

    async def view(name: str, phase: str) -> dict[str, object]:
        def look() -> dict[str, object] | None:
            try:
                with ManagerClient(str(home / "r")) as client:
                    found: dict[str, object] = client.ask("status", name=name)
                    return found if found["status"] == phase else None
            except Exception:  # noqa: BLE001  (not up yet)
                return None

        found: dict[str, object] = await trial.until(
            lambda: asyncio.to_thread(look), within=20, what=f"{name} is {phase}", every=0.05, claimed=True
        )
        return found

    first = start()
    await view("kept", "Running")
    await view("stopped", "Running")
    with ManagerClient(str(home / "r")) as client:
        client.ask("stop", name="stopped")
    before = await view("kept", "Running")
    send_signal(int(str(before["pid"])), 9)
    await trial.until(lambda: not alive(int(str(before["pid"]))), within=5, what="the daemon dies")
    before = await view("kept", "Running")
    await asyncio.sleep(0.5)  # not to wait for anything: the journal promises to be at most this far behind
    first.kill()
    first.wait()
    trial.check(alive(int(str(before["pid"]))), "the daemon outlives its manager")
    second = start()
    after = await view("kept", "Running")
    for key in ("id", "pid", "restarts"):
        trial.check(
            after[key] == before[key], f"the next manager has the same {key}: {before[key]}, not {after[key]}"
        )
    await view("stopped", "Created")
    second.terminate()
    trial.check(second.wait(30) == 0, "the second manager ends well")
    trial.check(not alive(int(str(after["pid"]))), "and takes its daemons along")


@attempt("F010", alone=True, timeout=120, saboteurs=["reload-keeps-the-old-configuration"])
async def test_sighup_reloads_configuration(trial: Trial) -> None:
    """A changed configuration is active within 1 s of SIGHUP; a broken one changes nothing; a real server reloads as well."""
    rounds = trial.rounds(20, 3)
    trial.situation("a changed configuration was announced by SIGHUP", at_least=rounds)
    folder = trial.tmp / "reload"
    folder.mkdir()
    source, active = folder / "reloader.toml", folder / "active"

    def write(value: int) -> None:
        source.write_text(
            f'name = "reloader"\ndaemon = "{CLASSES}:Reloader"\nworking_dir = "{folder}"\nconfig_path = "{source}"\n[settings]\nvalue = {value}\n'
        )

    write(0)
    from duende.config import load

    manager = await manager_for(trial)
    manager.register(load(str(source)))
    view = await manager.start("reloader")
    waits = []
    for value in range(1, rounds + 1):
        write(value)
        began = time.monotonic()
        await manager.signal("reloader", Signal.HUP)
        await trial.until(
            lambda wanted=str(value): active.read_text() == wanted,  # type: ignore[misc]
            within=5,
            what="the new value is active",
            claimed=True,
            every=0.001,
        )
        waits.append(time.monotonic() - began)
        trial.reached("a changed configuration was announced by SIGHUP")
    source.write_text("name = 'reloader'\nnonsense = true\n")
    await manager.signal("reloader", Signal.HUP)
    await trial.until(
        lambda: manager.status("reloader").note.startswith("reload refused"),
        within=5,
        what="the broken file is refused",
        claimed=True,
    )
    trial.check(active.read_text() == str(rounds), "a broken file leaves the old value active")
    now = manager.status("reloader")
    trial.check(now.pid == view.pid and now.status.phase is Phase.RUNNING, "the daemon was never restarted")
    trial.judge(waits)
    if "nginx" in available():
        program = set_up("nginx", trial.tmp / "nginx")
        manager.register(
            msgspec.structs.replace(program.config, restart=RestartConfig(policy=RestartPolicy.NEVER))
        )
        await manager.start("nginx")
        Path(program.extra["conf"]).write_text(nginx_conf(program.folder, program.port, "hello again"))
        began = time.monotonic()
        await manager.signal("nginx", Signal.HUP)
        await trial.until(
            lambda: b"again" in program.fetch(), within=1.0, what="nginx serves the new page", claimed=True
        )
        trial.figure(
            "SIGHUP until nginx served the new page",
            time.monotonic() - began,
            unit="s",
            relation="<=",
            threshold=1.0,
        )
