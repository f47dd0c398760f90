"""A server in a container, supervised by duende, and its clients in another, started by somebody else's library."""

from __future__ import annotations

import asyncio
import os
import shutil
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fixtures import load
from fixtures.peers import Peer
from fixtures.sharing import LabError
from scenarios.faults.base import Fault
from scenarios.faults.runtimes import against
from scenarios.history import Kind, Operation
from scenarios.lab import Lab
from scenarios.look import space_of, until
from scenarios.platforms.containers import Containers
from scenarios.scenario import Pace, UnmetNeedError, Workload
from scenarios.tables import always, daemon
from scenarios.workloads.clients import not_running

CLIENTS = 3
FIRST_DELAY, LONGEST_DELAY = 0.2, 1.0
START_WITHIN = 5.0
"""Seconds from a start, or from a runtime that is back, to the first acknowledged write: recovery from a log included."""
BOUND = LONGEST_DELAY + START_WITHIN
LOOK_EVERY = 0.05
DONE_WITHIN = 3.0
"""Seconds for the clients to finish what they are at."""
WRITES = 100
BY_FAULTS = ("killed by SIGKILL", "killed by SIGTERM", "exit code 0", "exit code 137", "exit code 143")
"""How it ends: by the faults, by dockerd (which ends what it finds running when it starts: TERM, then KILL), and by the operator."""
BORN = 19
"""Index of the start time among the fields of /proc/PID/stat after the name (proc(5), field 22)."""
LEFT_OUT = ("kill-containerd", "stop")
"""Tried by S041, with the same adapter; here a run has less time."""


class Line(msgspec.Struct):
    """One line of `fixtures/load.py`."""

    p: str
    k: str
    f: str
    v: Any
    t: float


class Served(Workload):
    """What redis and postgres have in common."""

    kind: str
    """The image, and what `fixtures/load.py` calls it."""
    process: str
    """Name of its processes (comm)."""

    @abstractmethod
    def line(self, folder: Path) -> list[str]:
        """Its command."""

    @abstractmethod
    def all_kept(self, folder: Path) -> list[str]:
        """The command of its own client that prints everything, a value a line."""

    async def setup(self, lab: Lab) -> None:
        """A folder that outlives every instance, for a server that gives up root.

        Raises:
            UnmetNeedError: here are no containers.
        """
        if not isinstance(lab.platform, Containers):
            raise UnmetNeedError("it is about containers")
        self.runtime = lab.platform.runtime
        lab.folder.chmod(0o755)
        self.folder = lab.folder / "served"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        script = Path(shutil.copy(load.__file__, self.folder / "load.py"))
        await asyncio.to_thread(self.runtime.image, self.kind)
        line = ["/usr/bin/python3", str(script), self.kind, str(self.folder), str(CLIENTS)]
        try:
            self.peer = await asyncio.to_thread(Peer, self.runtime, self.kind, line, self.folder)
        except LabError as error:
            raise UnmetNeedError(str(error)) from error
        lab.after(self._remove_peer)
        await lab.manager()
        policy = always(initial_delay=FIRST_DELAY, multiplier=2.0, max_delay=LONGEST_DELAY, stable_after=2.0)
        table = daemon(
            self.kind,
            self.line(self.folder),
            restart=policy,
            working_dir=str(self.folder),
            logging={"destination": "file"},
            readiness={"kind": "log-line", "pattern": "(?i)ready to accept connections", "timeout": 30.0},
            shutdown_timeout=2.0,
            platform={"container_image": self.kind},
        )
        await lab.register(table)
        await lab.start(self.kind)
        await asyncio.to_thread(self.peer.start)
        await until(self._lines, 10.0)

    def faults(self, lab: Lab) -> Sequence[Fault]:
        """What there is on this platform, each once."""
        offered = [fault for fault in against(lab.platform, self.targets) if fault.name not in LEFT_OUT]
        self.pace = Pace(count=len(offered), first=0.5, gap=1.5, hold=0.7)
        return offered

    def targets(self) -> list[int]:
        """Its main processes: the oldest of its name in each pid namespace that works in its folder.

        A main process that was killed leaves others for a moment, which are no second instance; another container would be.
        Both servers write their titles over their environment, so no mark in that would be found.
        """
        places = {
            (found.st_dev, found.st_ino) for found in map(_stat, (self.folder, self.folder / "data")) if found
        }
        oldest: dict[str, tuple[int, int]] = {}
        for entry in os.listdir("/proc"):
            if not entry.isdecimal() or int(entry) <= 1:
                continue
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            name, fields = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
            if name == self.process and fields[0] not in "ZX":
                where, space = _stat(Path(f"/proc/{entry}/cwd")), space_of(int(entry))
                if space and where is not None and (where.st_dev, where.st_ino) in places:
                    found = (int(fields[BORN]), int(entry))
                    oldest[space] = min(oldest.get(space, found), found)
        return sorted(pid for _, pid in oldest.values())

    async def run(self, lab: Lab) -> None:
        """Let the clients work until the schedule is over and they were answered since."""
        counting = asyncio.create_task(self._count(lab))
        try:
            await lab.nemesis.finished.wait()
            healed = max((o.time for o in lab.history.operations if o.f == "heal"), default=0.0)
            await until(lambda: self._answered_since(lab.history.zero + healed), BOUND + 1.0, step=0.1)
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)

    async def recover(self, lab: Lab) -> str:
        """It runs; its clients end; it is started once more, and what it has then is what was on disk."""
        if wrong := await not_running(lab, [self.kind]):
            return wrong
        (self.folder / "over").touch()
        if not await until((self.folder / "done").exists, DONE_WITHIN):
            return "its clients do not end"
        lab.history.absorb(operations(self._lines()), 0.0)
        if not await lab.restart(self.kind, by="recovery"):
            return f"{self.kind} does not start again"
        kept = await asyncio.to_thread(self.peer.exec, self.all_kept(self.folder))
        lab.observe("kept", values=kept.split())
        await lab.stop(self.kind)
        lab.observe("survivors", pids=await asyncio.to_thread(self.targets))
        return ""

    async def _remove_peer(self) -> None:
        await asyncio.to_thread(self.peer.stop)

    async def _count(self, lab: Lab) -> None:
        while True:
            pids = await asyncio.to_thread(self.targets)
            if len(pids) > 1:  # the process table is no snapshot
                again = await asyncio.to_thread(self.targets)
                pids = [pid for pid in pids if pid in again]
            lab.observe("instances", name=self.kind, pids=pids)
            await asyncio.sleep(LOOK_EVERY)

    def _lines(self) -> list[Line]:
        try:
            raw = (self.folder / "load.jsonl").read_bytes()
        except FileNotFoundError:
            return []
        decode: Callable[[bytes], Line] = msgspec.json.Decoder(Line).decode
        return [decode(line) for line in raw.split(b"\n") if line.endswith(b"}")]

    def _answered_since(self, at: float) -> bool:
        return any(line.t > at + 0.5 and line.k == "ok" and line.f == "put" for line in self._lines())


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None  # it is not there, or has ended


def operations(lines: Sequence[Line]) -> list[Operation]:
    """The lines as a history whose zero is that of the clock itself."""
    found: list[Operation] = []
    begun: dict[str, int] = {}
    for index, line in enumerate(lines):
        kind = Kind(line.k)
        of = None if kind is Kind.INVOKE else begun.pop(line.p)
        if kind is Kind.INVOKE:
            begun[line.p] = index
        found.append(
            Operation(index=index, process=line.p, kind=kind, f=line.f, value=line.v, time=line.t, of=of)
        )
    return found
