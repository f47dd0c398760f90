"""Attempts at the kernel's edges: recycled pids, no descriptors, zombies, a stopped process."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from duende.config.model import DaemonConfig, ResourceConfig
from duende.errors import SpawnError
from duende.kernel.process import children_of
from duende.manager.health import ask_health
from duende.signals import Signal
from duende.states import Phase
from falsification.kit import Trial, attempt
from falsification.workbench import (
    ROOT,
    adapter_for,
    alive,
    daemon_class,
    manager_for,
    never,
    request,
    with_settings,
)


async def said_inside(trial: Trial, argv: list[str], within: float) -> dict[str, Any]:
    """The JSON line that a program in namespaces of its own printed last."""
    process = await asyncio.create_subprocess_exec(
        "unshare", *argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), within)
    trial.attach("inside.log", output)
    lines = [line for line in output.decode().splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(
            f"the program in the namespace said nothing ({process.returncode}): {output.decode()[-2000:]}"
        )
    found: dict[str, Any] = json.loads(lines[-1])
    return found


@attempt("F102", timeout=90, saboteurs=["a-pid-is-identity"])
async def test_pid_wraparound_is_survived(trial: Trial) -> None:
    """When pids wrap, daemons get valid pids of their own, and a recycled pid is never taken for the daemon that had it."""
    trial.require("unshare")
    program = Path(__file__).with_name("inside_pidns.py")
    argv = [
        "--pid",
        "--fork",
        "--mount",
        "--mount-proc",
        "--kill-child",
        sys.executable,
        str(program),
        str(trial.tmp),
    ]
    found = await said_inside(trial, argv, 80)
    trial.reached("pids wrapped between two starts", found["wrapped"])
    trial.reached("the pid of a daemon that had ended was given to a stranger", found["recycled"])
    pids = found["pids"]
    trial.check(
        len(set(pids)) == len(pids) and all(pid > 1 for pid in pids),
        f"every daemon has a pid of its own: {pids}",
    )
    trial.check(found["running"] == len(pids), f"all {len(pids)} run, not {found['running']}")
    trial.check(
        found["verdict"] in ("stranger", "gone"),
        f"the old handle is told from the stranger, not taken for {found['verdict']}",
    )
    trial.check(found["stranger_alive"], "the stranger was not signalled")
    trial.figure("daemons across the wrap", float(len(pids)), unit="daemons")


@attempt(
    "F104",
    timeout=120,
    saboteurs=[
        "refused-writes-are-kept-in-memory",
        "refused-writes-are-not-taken-back",
        "a-full-disk-is-not-told",
    ],
)
async def test_a_full_disk_is_survived(trial: Trial) -> None:
    """A disk of 3 MiB with a manager's journal, its logs, and a daemon's state is filled, twice: what cannot be kept is refused and told, the
    daemon and the manager live on, go on when there is room, and everything that was promised is there, also after SIGKILL on the full disk.
    """
    trial.require("unshare")
    program = Path(__file__).with_name("inside_smallfs.py")
    found = await said_inside(
        trial, ["--mount", "--propagation", "private", sys.executable, str(program), str(trial.tmp)], 110
    )
    trial.log(f"inside: {found}")
    trial.reached("the disk had no byte left", found["began"] and found["taken"] > 0)
    trial.check(found["refused"], f"the daemon gets a safe error (ENOSPC) from its store: {found['said']!r}")
    trial.check(
        "No space left" in found["alert"],
        f"the manager tells that its journal falls behind: {found['alert']!r}",
    )
    trial.check(found["alive"], "the daemon lives on")
    told = found["late"] == "runs" or found["late"].partition(":")[0].endswith("Error")
    trial.check(told, f"a start on the full disk succeeds or is refused: {found['late']}")
    trial.check(found["goes on"], "and writes again when there is room")
    trial.check(found["cured"], "and so does the journal")
    trial.check(not found["damaged"], f"a refused commit changes nothing: {found['damaged'][:3]}")
    trial.check(not found["foreign"], f"every line of the log is whole: {found['foreign']}")
    trial.reached("a daemon was killed on a full disk", found["again"])
    trial.check(
        found["last"] >= found["promised"], f"all {found['promised']} promised are kept: {found['last']}"
    )
    trial.check(not found["missing"], f"and every value of theirs: {found['missing']}")
    trial.check(not found["problems"], f"the store was not damaged: {found['problems']}")
    trial.check(
        "ledger" in found["known"] and not found["set aside"], "the journal reads back, and knows the daemon"
    )
    trial.figure("commits kept", float(found["last"]), unit="commits")


@attempt(
    "F103",
    timeout=60,
    saboteurs=["midwife-without-descriptors-is-fatal", "telling-without-descriptors-is-fatal"],
)
async def test_descriptor_exhaustion_is_survived(trial: Trial) -> None:
    """Out of descriptors, a daemon still logs, gets a safe error from the network and recovers; so does the warden."""
    manager = await manager_for(trial)
    config = never(daemon_class("Hoarder", resources=ResourceConfig(open_files_max=64)))
    manager.register(config)
    view = await manager.start("hoarder")

    async def printed(text: str) -> bool:
        return any(text in line for line in await manager.logs("hoarder"))

    await trial.until(
        lambda: printed("until errno 24"),
        within=10,
        what="it runs out (EMFILE) and its log still works",
        claimed=True,
    )
    trial.reached("a process had no descriptor left")
    await trial.until(
        lambda: printed("network: errno 24"), within=10, what="the network answers EMFILE", claimed=True
    )
    await trial.until(
        lambda: manager.status("hoarder").note == "out of descriptors",
        within=5,
        what="its word reaches the manager",
        claimed=True,
    )
    trial.check(manager.status("hoarder").pid == view.pid and alive(view.pid), "it did not crash")
    await manager.signal("hoarder", Signal.USR1)
    await trial.until(
        lambda: printed("recovered"), within=10, what="it recovers once descriptors are back", claimed=True
    )
    found = await ask_health(f"{manager.folders.runtime_dir}/{view.daemon_id[:13]}.sock")
    trial.check(found.is_healthy, "it answers again")

    adapter = await adapter_for(trial)
    sleeper = never(DaemonConfig(name="sleeper", binary_path="sleep", args=("600",)))
    first = await adapter.launch(request(sleeper))
    warden = adapter.helper_pid
    old = resource.prlimit(warden, resource.RLIMIT_NOFILE)
    resource.prlimit(warden, resource.RLIMIT_NOFILE, (3, old[1]))  # what is open stays, nothing can be opened
    trial.reached("the warden had no descriptor left", 0)
    for _ in range(3):  # a starter that was forked ahead serves one start without a new descriptor
        try:
            await adapter.launch(request(sleeper))
        except SpawnError as error:
            trial.reached("the warden had no descriptor left")
            trial.check(error.errno == 24, f"the start fails with EMFILE, not: {error}")
            break
    trial.check(alive(first.pid) and alive(warden), "the warden and its first daemon live on")
    resource.prlimit(warden, resource.RLIMIT_NOFILE, old)
    with trial.claimed("the next start works once descriptors are back"):
        second = await adapter.launch(request(sleeper))
    trial.check(alive(second.pid), "and it runs")
    await adapter.kill(first)
    trial.check((await adapter.wait(first)).signal == 9, "the exit of the first is still told exactly")


@attempt("F105", timeout=90, saboteurs=["one-zombie-a-time"])
async def test_zombies_are_reaped(trial: Trial) -> None:
    """Of a thousand orphans that end at once, and of children their parent never waited for, no zombie is left after 5 s."""
    manager = await manager_for(trial)
    orphans, unwaited = trial.rounds(1000, 400), 50
    manager.register(never(with_settings(daemon_class("Breeder"), orphans=orphans, unwaited=unwaited)))
    view = await manager.start("breeder")

    async def bred() -> bool:
        return "bred" in await manager.logs("breeder")

    await trial.until(bred, within=60, what="the children are made", every=0.05)
    trial.reached("orphans ended", orphans, at_least=orphans)
    warden = int(Path(f"/proc/{view.pid}/stat").read_text().rpartition(")")[2].split()[1])
    trial.check(_zombies(view.pid) >= unwaited, "the parent itself holds zombies while it lives")
    await manager.signal("breeder", Signal.KILL)
    await trial.until(
        lambda: manager.status("breeder").last_exit,
        within=10,
        what="the exit of the main process is known",
        claimed=True,
    )
    deadline = time.monotonic() + 5.0
    while _zombies(warden) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    waited = 5.0 - max(0.0, deadline - time.monotonic())
    trial.judge(float(_zombies(warden)))
    trial.figure("seconds until the last zombie was gone", waited, unit="s")
    trial.check(alive(warden), "the warden survived")


def _zombies(parent: int) -> int:
    return sum(not alive(child) for child in children_of(parent))


@attempt("F107", timeout=60, alone=True, saboteurs=["pauses-count-as-uptime"])
async def test_stop_and_cont_are_handled(trial: Trial) -> None:
    """A paused daemon says Paused, resumes where it was, and the pause does not count in its rates."""
    manager = await manager_for(trial)
    manager.register(never(daemon_class("Worker")))
    view = await manager.start("worker")
    socket = f"{manager.folders.runtime_dir}/{view.daemon_id[:13]}.sock"
    await trial.until(lambda: _metrics(socket, "requests_total", 20), within=20, what="it works")
    for pause in (2.0, 3.0):
        before = await _read(socket)
        began = time.monotonic()
        await manager.signal("worker", Signal.STOP)
        trial.check(manager.status("worker").status.phase is Phase.PAUSED, "the manager says Paused")
        await trial.until(
            lambda: Path(f"/proc/{view.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T",
            within=5,
            what="the kernel says stopped",
        )
        await asyncio.sleep(pause)  # the pause itself is the subject
        await manager.signal("worker", Signal.CONT)
        ended = time.monotonic()
        trial.check(manager.status("worker").status.phase is Phase.RUNNING, "the manager says Running")
        after = await _read(socket)
        trial.reached("a daemon was paused and resumed", at_least=2)
        noted = after["paused_secs"] - before["paused_secs"]
        trial.figure(
            f"error of the pause of {pause:g} s",
            abs(noted - (ended - began)),
            unit="s",
            relation="<=",
            threshold=0.5,
        )
        grown = after["uptime_secs"] - before["uptime_secs"]
        trial.figure(
            f"uptime gained over the pause of {pause:g} s",
            grown,
            unit="s",
            relation="<=",
            threshold=pause / 2,
        )
        await trial.until(
            lambda wanted=after["requests_total"] + 5: _metrics(socket, "requests_total", wanted),  # type: ignore[misc]
            within=10,
            what="it works on",
            claimed=True,
        )
    trial.check(manager.status("worker").pid == view.pid, "it was the same process all along")


async def _read(socket: str) -> dict[str, float]:
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(b"GET /status HTTP/1.0\r\n\r\n")
    raw = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    found: dict[str, float] = json.loads(raw.partition(b"\r\n\r\n")[2])["metrics"]
    return found


async def _metrics(socket: str, key: str, least: float) -> bool:
    return (await _read(socket))[key] >= least
