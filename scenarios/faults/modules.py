"""What can be done to a module and to the kernel it runs in: traps, memory, a violation, KILL."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from fixtures.lease import Reaper
from fixtures.runtimes.wos import Wos
from fixtures.sharing import LabError
from fixtures.wos import build
from scenarios.faults.base import Fault, NoEffectError
from scenarios.look import until

EFFECT_WITHIN = 5.0
SERVES_WITHIN = 10.0
"""Seconds for the daemon to be there, so that something can be done to it."""
HALTED = 5
"""Exit code of wos-ctl."""


class Told(Fault):
    """A request that has the daemon ruin itself; proven by what the kernel says of its end. Nothing to heal."""

    def __init__(self, kernel: Wos, name: str, folder: Path, request: str, signal: int) -> None:
        self.name = request
        self._kernel = kernel
        self._daemon = name
        self._socket = folder / "keeper.sock"
        self._request = request
        self._signal = signal

    def _serving(self) -> int:
        """The number of the process that serves; 0 while none does."""
        listed = json.loads(self._kernel.ctl("ps", "--json"))["processes"]
        return next((each["pid"] for each in listed if each["name"] == self._daemon and each["ready"]), 0)

    def _ask(self) -> None:
        with socket.socket(socket.AF_UNIX) as made:
            made.settimeout(EFFECT_WITHIN)
            made.connect(str(self._socket))
            made.sendall(f"{self._request}\n".encode())
            while made.recv(4096):
                continue  # it ends with it

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Ask for it."""
        found: list[int] = []

        def serving() -> bool:
            found[:] = [self._serving()]
            return found[0] > 0

        if not await until(serving, SERVES_WITHIN):
            raise NoEffectError("nobody serves")
        pid = found[0]
        try:
            await asyncio.to_thread(self._ask)
        except ConnectionResetError:
            pass  # it has gone with the connection: what is wanted
        except OSError as error:
            raise NoEffectError(f"cannot ask process {pid} for it: {error}") from error
        waited = await asyncio.to_thread(
            self._kernel.run, "wait", "--pid", str(pid), "--timeout", "5", "--json"
        )
        fate: dict[str, Any] = json.loads(waited.stdout) if waited.stdout.strip() else {}
        if fate.get("signal") != self._signal:
            raise NoEffectError(f"process {pid} ended by {fate or waited.stderr.strip()}")
        said = await asyncio.to_thread(self._kernel.ctl, "logs", "--pid", str(pid), "--lines", "1")
        return f"process {pid} was ended: {fate['why']}; it said {said.strip()!r}"

    async def heal(self) -> str:
        """Nothing to do."""
        return "the dead stay dead"


class KernelGone(Fault):
    """KILL to the kernel, and so an end to all that runs in it; healed by starting another in the same folder."""

    name = "kill-kernel"

    def __init__(self, kernel: Wos) -> None:
        self._kernel = kernel
        self._gone = False

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Kill it; proven by its end, and by a command that finds none."""
        pid = self._kernel.pid
        self._gone = True
        await asyncio.to_thread(self._kernel.kill)
        done = await asyncio.to_thread(self._kernel.run, "ps")
        if self._kernel.alive or done.returncode == 0:
            raise NoEffectError(f"the kernel ({pid}) lives on: {done.stdout}")
        return f"the kernel ({pid}) is dead: {done.stderr.strip()}"

    async def heal(self) -> str:
        """Start another; it has answered when this returns."""
        if not self._gone:
            return "nothing to undo"
        self._gone = False
        return f"kernel {await asyncio.to_thread(self._kernel.start)} answers"


class KernelHalted(Fault):
    """A violation: a module breeds until there are more processes than there may be; healed by ending that kernel and starting another."""

    name = "halt-kernel"

    def __init__(self, kernel: Wos) -> None:
        self._kernel = kernel
        self._halted = False

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Have it bred; proven by what the kernel answers."""
        self._halted = True
        words = (
            "spawn",
            "--name",
            "breeder",
            "--wasm",
            str(build.text_module("breeder")),
            "--memory",
            "64KiB",
            "--fds",
            "3",
        )
        await asyncio.to_thread(self._kernel.run, *words)
        said: list[str] = []

        def halted() -> bool:
            done = self._kernel.run("ps")
            said[:] = [done.stderr.strip()]
            return done.returncode == HALTED

        if not await until(halted, EFFECT_WITHIN):
            raise NoEffectError(f"the kernel goes on: {said}")
        return said[0]

    async def heal(self) -> str:
        """End it and start another."""
        if not self._halted:
            return "nothing to undo"
        self._halted = False
        try:
            await asyncio.to_thread(self._kernel.ctl, "halt")
        except LabError:
            await asyncio.to_thread(self._kernel.kill)
        await until(lambda: not self._kernel.alive, EFFECT_WITHIN)
        return f"kernel {await asyncio.to_thread(self._kernel.start)} answers"
