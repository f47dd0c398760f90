"""Attempts on microVMs: real guests, cloned from a snapshot, on whatever accelerator boots one here."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, PlatformAdapter
from duende.adapters.pepita.adapter import PepitaAdapter
from duende.config.model import (
    DaemonConfig,
    PlatformSection,
    ReadinessConfig,
    ReadinessKind,
    RestartConfig,
    RestartPolicy,
)
from duende.manager import DaemonManager
from duende.signals import Signal
from duende.states import Phase
from duende.testing.clock import ManualClock
from duende.testing.fake_adapter import FakeAdapter
from falsification.kit import Trial, attempt
from falsification.workbench import never, request
from fixtures import overseer
from fixtures.runtimes.pepita import Pepita, pepita

STARTS = 100
AT_ONCE = 10
IDLE = "/usr/local/bin/idle-daemon"
"""A program of the minimal root: says READY, waits for TERM."""
HOUR = 3600
PORT = 5000
WITHIN = 20.0


def private_pepita(trial: Trial) -> Pepita:
    """The run's pepita, or one for this attempt alone."""
    held = pepita()
    trial.defer(held.__exit__, None, None, None)
    return held.__enter__()


@asynccontextmanager
async def pepita_adapter(trial: Trial, runtime: Pepita) -> AsyncIterator[PepitaAdapter]:
    """An adapter on the private pepita."""
    folder = str(trial.tmp)
    adapter = PepitaAdapter(command=str(runtime.command), runtime_dir=folder, state_dir=folder)
    try:
        yield adapter
    finally:
        await adapter.close()


def in_vm(config: DaemonConfig, **settings: Any) -> DaemonConfig:
    """The same daemon, never restarted, in a VM with these settings."""
    fields = {name: getattr(config, name) for name in config.__struct_fields__}
    return never(DaemonConfig(**{**fields, "platform": PlatformSection(pepita=settings)}))


def shell(name: str, text: str, **settings: Any) -> DaemonConfig:
    """A shell script in a VM."""
    return in_vm(DaemonConfig(name=name, binary_path="/bin/sh", args=("-c", text)), **settings)


class Reports:
    """When each daemon was reported ready."""

    def __init__(self, adapter: PlatformAdapter) -> None:
        self.ready: dict[str, float] = {}
        self.news = asyncio.Event()
        adapter.subscribe(self._take)

    def _take(self, event: AdapterEvent) -> None:
        if event.kind is EventKind.READY:
            self.ready[event.daemon_id] = time.monotonic()
            self.news.set()

    async def wait(self, trial: Trial, daemon_id: str) -> float:
        """When it was ready; waits for that."""
        with trial.claimed("READY arrives", TimeoutError):
            async with asyncio.timeout(WITHIN):
                while daemon_id not in self.ready:
                    self.news.clear()
                    await self.news.wait()
        return self.ready[daemon_id]


def private_kb(pid: int) -> int:
    """KiB of anonymous memory of a process: what it has for itself, beside the files that all map."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Anonymous:"))


@attempt(
    "F004", level="machine", alone=True, timeout=300, needs=["root"], saboteurs=["pepita-boots-every-time"]
)
async def test_microvm_start_is_quick(trial: Trial) -> None:
    """From the call to spawn until the daemon in the guest reports ready takes under 200 ms at p99 over 100 snapshot starts."""
    rounds = trial.rounds(STARTS, 5)
    trial.situation("a daemon in a new VM reported ready", at_least=rounds)
    runtime = private_pepita(trial)
    config = in_vm(DaemonConfig(name="idle", binary_path=IDLE), memory_mb=256)
    async with pepita_adapter(trial, runtime) as adapter:
        reports = Reports(adapter)
        samples: list[float] = []
        kinds: set[str] = set()
        for number in range(rounds + 2):
            asked = request(config)
            began = time.monotonic()
            with trial.claimed("a VM starts"):
                handle = await adapter.launch(asked)
            ready = await reports.wait(trial, asked.daemon_id)
            if number >= 2:  # the first ones make the snapshot, and load its memory into the page cache
                samples.append((ready - began) * 1000)
                trial.reached("a daemon in a new VM reported ready")
            state = json.loads(await inside(runtime, "status", handle, "--json"))
            kinds.add(f"{state['start']} start on {state['accelerator']}")
            await adapter.end_vm(handle)
            await adapter.wait(handle)
        trial.log(f"each was a {' or a '.join(sorted(kinds))}")
        trial.judge(samples)
        trial.figure("start until ready (p50)", samples, unit="ms", statistic="p50")
        await idle_clones(trial, runtime, adapter, reports, config)


async def idle_clones(
    trial: Trial, runtime: Pepita, adapter: PepitaAdapter, reports: Reports, config: DaemonConfig
) -> None:
    """Ten at once, and what each has in memory beyond the file that all share."""
    if trial.sabotaged:
        return
    requests = [request(config) for _ in range(AT_ONCE)]
    handles = await asyncio.gather(*(adapter.launch(each) for each in requests))
    for each in requests:
        await reports.wait(trial, each.daemon_id)
    states = [json.loads(await inside(runtime, "status", each, "--json")) for each in handles]
    memory = [private_kb(int(each["pid"])) / 1024 for each in states]
    trial.figure("memory of an idle clone beyond the shared file", memory, unit="MiB", statistic="max")
    trial.log(f"{len(handles)} guests at once, up to {max(memory):.1f} MiB each beyond the shared file")
    for handle in handles:
        await adapter.end_vm(handle)


async def inside(runtime: Pepita, verb: str, handle: DaemonHandle, *words: str) -> str:
    """The output of `pepita VERB` about a VM."""
    return await asyncio.to_thread(runtime.pepita, verb, "--name", handle.instance, *words)


async def line_of(trial: Trial, adapter: PepitaAdapter, handle: DaemonHandle, start: str) -> str:
    """The first line of its output that begins so, waited for."""
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        for line in await adapter.logs(handle, 10_000):
            if line.startswith(start):
                return line
        await asyncio.sleep(0.05)
    trial.check(False, f"a line that begins with {start!r} arrives")
    return ""


@attempt(
    "F088",
    level="machine",
    timeout=240,
    needs=["root"],
    saboteurs=["pepita-forgets-the-processors", "pepita-forgets-the-memory"],
)
async def test_microvm_has_its_resources(trial: Trial) -> None:
    """The kernel of a guest counts the processors it was configured with, and the memory but for what the kernel itself takes."""
    runtime = private_pepita(trial)
    text = "echo cpus $(grep -c ^processor /proc/cpuinfo); echo memory $(grep MemTotal /proc/meminfo); echo over; while :; do sleep 1; done"
    async with pepita_adapter(trial, runtime) as adapter:
        for vcpus, memory in ((1, 256), (2, 512)):
            config = shell("resources", text, vcpus=vcpus, memory_mb=memory)
            with trial.claimed("the VM starts"):
                handle = await adapter.launch(request(config))
            await line_of(trial, adapter, handle, "over")
            lines = await adapter.logs(handle, 100)
            trial.reached("the guest was asked what it has", at_least=2)
            trial.check(f"cpus {vcpus}" in lines, f"{vcpus} processors are seen inside: {lines}")
            seen = int(next(line for line in lines if line.startswith("memory")).split()[2]) // 1024
            trial.check(
                memory * 0.75 <= seen <= memory,
                f"of {memory} MiB the guest's kernel has {seen}, the rest is its own image",
            )
            report = {each.key: each for each in await adapter.explain(handle, config)}
            trial.check(report["platform.pepita.vcpus"].found == str(vcpus), "explain reads the same")
            proof = await adapter.stop(handle, 1.0)
            trial.check(proof.proven, f"it is gone afterwards: {proof.proof}")


@attempt("F089", level="machine", timeout=240, needs=["root"], saboteurs=["pepita-has-no-vsock"])
async def test_microvm_talks_vsock(trial: Trial) -> None:
    """A daemon in a guest sends over AF_VSOCK to the host and gets the answer: every byte arrives, in order, both ways."""
    runtime = private_pepita(trial)
    chance = random.Random(trial.seed)
    sizes = (1, 4096, 300_000, 2_000_000)
    loop = f"for n in {' '.join(map(str, sizes))}; do"
    text = (
        "test -c /dev/vsock || { echo over no /dev/vsock; exec sleep 1000; }; "
        f"{loop} head -c $n /dev/urandom > /tmp/m; echo sent $n $(sha256sum < /tmp/m); "
        "vsock-send 2 $PEPITA_VSOCK_PORT < /tmp/m > /tmp/a; echo answer $n $(sha256sum < /tmp/a); done; "
        "echo over; while :; do sleep 0.1; done"
    )
    got: list[bytes] = []
    answers: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())
        answers.append(chance.randbytes(len(got[-1])))
        writer.write(answers[-1])
        await writer.drain()
        writer.write_eof()
        writer.close()

    async with pepita_adapter(trial, runtime) as adapter:
        config = shell("talker", f"until test -e /tmp/go; do sleep 0.05; done; {text}", vsock_base_port=PORT)
        with trial.claimed("the VM starts"):
            handle = await adapter.launch(request(config))
        path = runtime.folder / "vms" / handle.instance / f"vsock_{PORT}"
        server = await asyncio.start_unix_server(serve, str(path))
        with contextlib.suppress(OSError):
            await adapter.run_inside(handle, ["touch", "/tmp/go"], WITHIN)
        last = await line_of(trial, adapter, handle, "over")
        trial.check(last == "over", f"the guest has AF_VSOCK: {last}")
        lines = [line.split() for line in await adapter.logs(handle, 1000)]
        sent = {int(words[1]): words[2] for words in lines if words[:1] == ["sent"]}
        back = {int(words[1]): words[2] for words in lines if words[:1] == ["answer"]}
        for number, size in enumerate(sizes):
            trial.reached("the guest had a message to send", size in sent, at_least=len(sizes))
            message, answer = (each[number] if number < len(each) else b"" for each in (got, answers))
            trial.check(hashlib.sha256(message).hexdigest() == sent.get(size), f"{size} bytes arrived intact")
            trial.check(
                hashlib.sha256(answer).hexdigest() == back.get(size),
                f"the answer of {size} bytes arrived intact",
            )
        server.close()
        await to_guest(trial, runtime, adapter, handle)
        proof = await adapter.stop(handle, 1.0)
        trial.check(proof.proven, f"it is gone afterwards: {proof.proof}")


async def to_guest(trial: Trial, runtime: Pepita, adapter: PepitaAdapter, handle: DaemonHandle) -> None:
    """A port where nobody listens refuses, from this side as well."""
    path = runtime.folder / "vms" / handle.instance / "vsock"
    if not path.exists():
        return
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"CONNECT 4444\n")
    async with asyncio.timeout(WITHIN):
        trial.check(not await reader.read(), "a port of the guest where nobody listens is refused")
    writer.close()


@attempt("F090", level="machine", timeout=240, needs=["root"], saboteurs=["pepita-leaves-the-files-behind"])
async def test_microvm_gets_files(trial: Trial) -> None:
    """Files that a VM gets over virtio-blk have the SHA-256 of their sources inside, whatever their size."""
    runtime = private_pepita(trial)
    chance = random.Random(trial.seed)
    folder = trial.tmp / "given"
    folder.mkdir()
    wanted = {}
    for number, size in enumerate((0, 1, 4095, 4096, 4097, 3_000_000)):
        data = chance.randbytes(size)
        (folder / f"f{number}").write_bytes(data)
        wanted[f"f{number}"] = hashlib.sha256(data).hexdigest()
    text = "for f in f0 f1 f2 f3 f4 f5; do echo hash $f $(sha256sum < /opt/given/$f); done; ls /sys/block; echo over; exec sleep 1000"
    async with pepita_adapter(trial, runtime) as adapter:
        with trial.claimed("the VM starts"):
            handle = await adapter.launch(request(shell("reader", text, files=[f"{folder}:/opt/given"])))
        await line_of(trial, adapter, handle, "over")
        lines = await adapter.logs(handle, 1000)
        found = {
            words[1]: words[2] for words in map(str.split, lines) if words[:1] == ["hash"] and len(words) > 2
        }
        trial.check(
            any(line.strip() == "vdb" for line in lines), f"a second virtio disk is there: {lines[-6:]}"
        )
        for name, digest in wanted.items():
            trial.reached("a file was hashed in the guest", at_least=len(wanted))
            trial.check(
                found.get(name) == digest, f"{name} is the same inside: {found.get(name)}, given {digest}"
            )
        await adapter.end_vm(handle)


@attempt("F101", level="machine", timeout=240, needs=["root"], saboteurs=["sleep-goes-by-the-wall-clock"])
async def test_clock_steps_back(trial: Trial) -> None:
    """The clock of a guest goes back an hour under a manager and its daemon: both go on, restart and stop as before."""
    await transitions_under_a_faked_clock(trial)
    runtime = private_pepita(trial)
    target = f"{Path(overseer.__file__).resolve()}:Overseer"
    config = in_vm(DaemonConfig(name="overseer", daemon=target, shutdown_timeout=10.0), memory_mb=512)
    async with pepita_adapter(trial, runtime) as adapter:
        reports = Reports(adapter)
        asked = request(config)
        with trial.claimed("the VM starts"):
            handle = await adapter.launch(asked)
        await reports.wait(trial, asked.daemon_id)
        await line_of(trial, adapter, handle, "beater Running restarts 0")
        for number in (1, 2):
            before = await read(runtime, handle, "date +%s")
            await read(runtime, handle, f"date -s @$(($(date +%s) - {HOUR}))")
            after = await read(runtime, handle, "date +%s")
            trial.reached("the clock went back an hour", int(before) - int(after) > HOUR - 60, at_least=2)
            beats = int(await read(runtime, handle, f"wc -l < {overseer.BEATS}"))
            await trial.until(
                partial(more_beats, runtime, handle, beats),
                within=5,
                what="the daemon goes on",
                every=0.2,
                claimed=True,
            )
            await read(runtime, handle, "kill -9 $(cat /run/overseer/pid)")
            await line_of(trial, adapter, handle, f"beater Running restarts {number}")
        proof = await adapter.stop(handle, 10.0)
        trial.check(proof.proven and not proof.escalated, f"it stops by itself: {proof.steps} {proof.proof}")
        lines = await adapter.logs(handle, 100)
        trial.check(
            "stopped, proven True" in lines, f"its manager stopped the daemon with proof: {lines[-3:]}"
        )


async def read(runtime: Pepita, handle: DaemonHandle, text: str) -> str:
    """The output of a shell line in the guest."""
    words = ("exec", "--name", handle.instance, "--timeout", "15", "--exec", "/bin/sh", "-c", text)
    return (await asyncio.to_thread(runtime.pepita, *words)).strip()


async def more_beats(runtime: Pepita, handle: DaemonHandle, before: int) -> bool:
    """Whether the daemon has written more than that."""
    return int(await read(runtime, handle, f"wc -l < {overseer.BEATS}")) > before + 3


async def transitions_under_a_faked_clock(trial: Trial) -> None:
    """Start, pause, resume, crash, restart, failed start and stop, the wall clock going back an hour before each."""
    clock = ManualClock()
    adapter = FakeAdapter(clock)
    home = trial.tmp / "faked"
    manager = DaemonManager(
        adapter=adapter, clock=clock, state_dir=str(home / "s"), runtime_dir=str(home / "r")
    )
    await manager.open()
    trial.defer(manager.close)
    quick = ReadinessConfig(kind=ReadinessKind.NONE, settle=0.0)
    policy = RestartConfig(policy=RestartPolicy.ON_FAILURE, initial_delay=0.0, max_retries=100)
    manager.register(DaemonConfig(name="d", binary_path="/fake", readiness=quick, restart=policy))

    async def step(what: str, phase: Phase, work: Any) -> None:
        clock.step_wall(-HOUR)
        with trial.claimed(f"{what} ends", TimeoutError):
            async with asyncio.timeout(5):
                await work
                while manager.status("d").status.phase is not phase:
                    await asyncio.sleep(0.01)
        trial.reached("a transition under a clock that went back", at_least=6)

    await step("a start", Phase.RUNNING, manager.start("d"))
    await step("a pause", Phase.PAUSED, manager.signal("d", Signal.STOP))
    await step("a resume", Phase.RUNNING, manager.signal("d", Signal.CONT))
    supervisor = manager.find("d")
    starts = len(adapter.starts)

    async def crash() -> None:
        adapter.crash(supervisor.daemon_id if supervisor is not None else "")
        while len(adapter.starts) == starts:
            await asyncio.sleep(0.01)

    await step("a restart", Phase.RUNNING, crash())
    await step("a stop", Phase.STOPPED, manager.stop("d"))
    await step("a second start", Phase.RUNNING, manager.start("d"))
