"""What can be done to a microVM from outside its daemon: its process killed, its guest agent killed."""

from __future__ import annotations

import asyncio
import json

from fixtures.lease import Reaper
from fixtures.runtimes.pepita import Pepita
from fixtures.sharing import LabError
from scenarios.faults.base import Fault, NoEffectError, Targets, choose
from scenarios.look import Watched

EFFECT_WITHIN = 10.0
"""Seconds for a guest without its agent to end."""


class AgentKilled(Fault):
    """KILL to the guest agent, from inside its guest. Nothing to heal: recovery is the supervisor's business."""

    name = "kill-agent"

    def __init__(self, runtime: Pepita, targets: Targets) -> None:
        self._runtime = runtime
        self._targets = targets

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Kill it; proven when its VM has ended, which has no use without it."""
        pid = choose(self._targets, pick)
        try:
            victim = Watched(pid)
        except ProcessLookupError as error:
            raise NoEffectError(f"{pid} had ended already") from error
        try:
            vms = json.loads(await asyncio.to_thread(self._runtime.pepita, "list", "--json"))
            names = [each["name"] for each in vms if each.get("pid") == pid and each["state"] == "running"]
            if not names:
                raise NoEffectError(f"no VM that runs has the process {pid}")
            try:
                words = ("exec", "--name", names[0], "--exec", "/bin/sh", "-c", KILL)
                await asyncio.to_thread(self._runtime.pepita, *words)
            except LabError:
                pass  # whoever would have answered is dead
            if not await victim.dead(EFFECT_WITHIN):
                raise NoEffectError(f"the VM {names[0]} ({pid}) lives on")
        finally:
            victim.close()
        return f"SIGKILL to the agent of {names[0]}, and its VM {pid} has ended"

    async def heal(self) -> str:
        """Nothing to do."""
        return "the dead stay dead"


KILL = 'kill -9 "$PPID"'
"""Run beside the daemon by the agent, so the agent is its parent."""
