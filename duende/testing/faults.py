"""Faults that act on a running daemon from outside: each starts, proves with a figure that it took effect, and is undone for certain.

Pauses are made and undone by a guard process, pressure by companion processes; both notice when the test is killed, so nothing outlives it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from duende.errors import InstanceNotFoundError, PlatformResourceError
from duende.kernel.process import read_stat, start_time, status_fields
from duende.testing.companions import Companion

SAFE_SHARE = 0.5
"""Share of the machine's available memory that a fault may take; more would be an attack on the machine and not on the daemon."""
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """The proof that a fault took effect, or did not."""

    took: bool
    figure: float
    """What was measured."""
    unit: str
    detail: str = ""


class Fault(ABC):
    """A fault that is on between `start` and `undo`; also an async context manager."""

    kind: str = ""

    @abstractmethod
    async def start(self) -> None:
        """Make it.

        Raises:
            PlatformError: it cannot be made here.
        """

    @abstractmethod
    async def proof(self) -> Effect:
        """Measure its effect, while it is on."""

    @abstractmethod
    async def undo(self) -> bool:
        """End it; whether nothing of it is left for certain. Undoing twice is harmless."""

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.undo()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.undo()


class Pause(Fault):
    """The main process stands still (SIGSTOP): latency for daemons without a port, and the hang that no error reports.

    Other processes of the daemon go on. Whatever the daemon's platform thinks, it is signalled directly, by pidfd and start time.
    """

    kind = "pause"

    def __init__(self, pid: Callable[[], int]) -> None:
        self._pid = pid
        self._target = (0, 0)
        self._guard: Companion | None = None

    async def start(self) -> None:
        """Stop the process that the daemon is now; raises as `Fault.start` does.

        Raises:
            InstanceNotFoundError: the daemon has no process.
        """
        pid = self._pid()
        born = start_time(pid) if pid > 1 else 0
        if not born:
            raise InstanceNotFoundError(
                f"cannot pause the daemon: it has no process on this host (pid {pid})"
            )
        self._target = (pid, born)
        if self._guard is None:
            self._guard = await Companion.start("guard")
        answer = await self._guard.ask(f"stop {pid} {born}")
        if answer.startswith("error"):
            raise InstanceNotFoundError(f"cannot pause process {pid}: {answer.removeprefix('error ')}")

    async def proof(self) -> Effect:
        """The state of the process: T is stopped (proc(5))."""
        state = self._state()
        return Effect(
            took=state in ("T", "t"),
            figure=float(self._target[0]),
            unit="pid",
            detail=f"state {state or 'gone'}",
        )

    async def undo(self) -> bool:
        """Resume it; raises nothing when it has ended meanwhile."""
        if self._guard is None:
            return True
        guard, self._guard = self._guard, None
        ended = await guard.close()  # a guard that is hung up on resumes what it holds
        if self._state() in ("T", "t"):
            self._resume()  # somebody killed the guard
        return ended and self._state() not in ("T", "t")

    def _resume(self) -> None:
        try:
            fd = os.pidfd_open(self._target[0])
        except OSError:
            return
        try:
            # The descriptor first, then the look: both are of the same process or nothing is sent.
            if self._state():
                signal.pidfd_send_signal(fd, signal.SIGCONT)
        except ProcessLookupError:
            pass  # it has just ended: nothing to resume
        finally:
            os.close(fd)

    def _state(self) -> str:
        found = read_stat(self._target[0])
        return found.state if found is not None and found.start_time == self._target[1] else ""


class MemoryPressure(Fault):
    """A companion process holds *size* bytes, touched page by page, in the daemon's own control group where this user may join it.

    Inside the group it presses on the daemon's limit; outside on the machine. The effect's detail says which. Its `oom_score_adj` is 1000,
    so the companion is the first to be killed when memory ends, and that shows as an effect that is gone.
    """

    kind = "memory"

    def __init__(self, pid: Callable[[], int], size: int) -> None:
        self._pid = pid
        self.size = size
        self._companion: Companion | None = None

    async def start(self) -> None:
        """Take the memory; raises as `Fault.start` does.

        Raises:
            PlatformResourceError: it is more than half of what the machine has available, or the companion was killed.
        """
        left = available_memory()
        if self.size > left * SAFE_SHARE:
            raise PlatformResourceError(
                f"cannot press with {self.size} bytes: only {left} are available on this machine, and at most half of it is taken",
                remedy="lower memory_pressure or the daemon's memory limit",
            )
        self._companion = await Companion.start("memory", str(self.size), *group_files(self._pid()))

    async def proof(self) -> Effect:
        """What the companion has resident, from its /proc/<pid>/status."""
        pid = self._companion.pid if self._companion is not None else 0
        text = status_fields(pid).get("VmRSS", "0 kB").split() if pid else ["0"]
        resident = int(text[0]) * 1024
        joined = self._companion.ready[2:] if self._companion is not None else []
        where = (
            f"in the daemon's group ({', '.join(joined)})"
            if joined
            else "on the machine, not in the daemon's group"
        )
        return Effect(took=resident >= self.size, figure=float(resident), unit="bytes", detail=where)

    async def undo(self) -> bool:
        """Give it back."""
        companion, self._companion = self._companion, None
        return companion is None or await companion.close()


class CpuStress(Fault):
    """Companion processes burn *cores* cores, the last one only a share of one."""

    kind = "cpu"

    def __init__(self, cores: float) -> None:
        self.cores = cores
        self._companions: list[Companion] = []
        self._since = 0.0
        self._used = 0.0

    async def start(self) -> None:
        """Begin to burn; raises as `Fault.start` does."""
        whole = int(self.cores)
        shares = [1.0] * whole + ([self.cores - whole] if self.cores > whole else [])
        try:
            for share in shares:
                self._companions.append(await Companion.start("cpu", f"{share:.3f}"))
        except BaseException:
            await self.undo()
            raise
        self._since, self._used = time.monotonic(), self._cpu_seconds()

    async def proof(self) -> Effect:
        """Cores' worth of processor time the companions got since the start: less than asked for where the machine is contended."""
        await asyncio.sleep(
            max(0.0, self._since + 0.2 - time.monotonic())
        )  # 20 clock ticks: a figure, not noise
        took = time.monotonic() - self._since
        figure = (self._cpu_seconds() - self._used) / took if took > 0 else 0.0
        return Effect(
            took=figure > 0.1 * self.cores, figure=figure, unit="cores", detail=f"of {self.cores:g} asked for"
        )

    async def undo(self) -> bool:
        """Stop burning."""
        companions, self._companions = self._companions, []
        return all([await each.close() for each in companions])

    def _cpu_seconds(self) -> float:
        return sum(cpu_seconds(each.pid) for each in self._companions)


def cpu_seconds(pid: int) -> float:
    """Processor time of *pid* in seconds (proc(5), fields 14 and 15); 0.0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            raw = file.read()
    except OSError:
        return 0.0
    fields = raw[raw.rindex(b")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def available_memory() -> int:
    """Bytes that can be had without swapping (MemAvailable, proc(5))."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def group_files(pid: int) -> list[str]:
    """The cgroup.procs files of the groups that *pid* is in and this process is not: the unified one, and memory of version 1."""
    theirs, ours = _groups(pid), _groups(os.getpid())
    found = []
    for controllers, path in theirs.items():
        if ours.get(controllers) == path:
            continue
        for folder in (
            ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
            if not controllers
            else (f"/sys/fs/cgroup/{controllers}",)
        ):
            name = f"{folder}{path}/cgroup.procs"
            if os.path.exists(name):
                found.append(name)
    return found


def _groups(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            rows = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return {}
    return {
        row[1]: row[2] for row in rows if len(row) == 3 and (row[1] == "" or "memory" in row[1].split(","))
    }
