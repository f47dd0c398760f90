"""Somebody else holds the port."""

from __future__ import annotations

import asyncio
import errno
import socket

from fixtures.daemons import command
from fixtures.lease import Reaper
from scenarios.faults.base import Leased, NoEffectError

READY_WITHIN = 10.0


class HeldPort(Leased):
    """A stranger listens on a loopback port; healed by ending it."""

    name = "held-port"

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Start an echo server there; proven by EADDRINUSE."""
        process = await asyncio.create_subprocess_exec(
            *command("echo", self._port), stdout=asyncio.subprocess.PIPE, env=reaper.environment
        )
        self._process = process
        self.leases.append(reaper.lease_process("kill", process.pid))
        if (
            process.stdout is None
            or await asyncio.wait_for(process.stdout.readline(), READY_WITHIN) != b"ready\n"
        ):
            raise NoEffectError(f"cannot listen on {self._port}")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self._port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return f"{process.pid} holds port {self._port}"
        raise NoEffectError(f"port {self._port} is free")

    async def heal(self) -> str:
        """End it, and wait for that: the port is free when this returns."""
        done = await super().heal()
        if self._process is not None:
            await self._process.wait()
            self._process = None
        return done
