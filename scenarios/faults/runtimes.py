"""What can be done to the runtime that daemons run on: killed and started again, containers frozen, systemd executed anew.

Only to one that the scenario has alone. What is killed here was started through the runtime's own reaper, which
ends all of it with the scenario, so there is nothing more to lease for that.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence
from functools import partial

from fixtures.lease import Reaper
from fixtures.runtimes.daemon import PrivateDaemon
from fixtures.runtimes.dockerd import Docker
from fixtures.runtimes.podman import Podman
from fixtures.runtimes.systemd import Systemd
from fixtures.sharing import LabError
from scenarios.faults.base import Awaited, Fault, Leased, NoEffectError, Targets
from scenarios.faults.jobs import Unloaded
from scenarios.faults.processes import Deadly, Stop, kill, segv
from scenarios.look import alive, state_of, until
from scenarios.platforms import Platform
from scenarios.platforms.containers import Containers
from scenarios.platforms.jobs import Jobs
from scenarios.platforms.units import Units

EFFECT_WITHIN = 5.0
NO_ANSWER_WITHIN = 0.2
"""Seconds without an answer after which a runtime is taken to hang; it takes a few milliseconds."""
STACK = 25
"""Index of the stack's address among the fields of /proc/PID/stat after the state (proc(5), field 28): it is another
after each execve(2), wherever addresses are random.
"""


class RuntimeGone(Fault):
    """KILL to a daemon of the runtime; healed by starting it again, in the same folder."""

    def __init__(self, daemon: PrivateDaemon) -> None:
        self.name = f"kill-{daemon.name}"
        self._daemon = daemon
        self._gone = False

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Kill it; proven by its end, and by a socket that refuses."""
        pid = self._daemon.pid
        self._gone = True
        await asyncio.to_thread(self._daemon.kill)
        if alive(pid) or answers(self._daemon):
            raise NoEffectError(f"{self._daemon.name} ({pid}) lives on")
        return f"{self._daemon.name} ({pid}) is dead, and nobody answers at its socket"

    async def heal(self) -> str:
        """Start it; it has answered when this returns."""
        if not self._gone:
            return "nothing to undo"
        self._gone = False
        version = await asyncio.to_thread(self._daemon.start)
        return f"{self._daemon.name} {version} answers"


class RuntimeHangs(Fault):
    """STOP to a daemon of the runtime, which leases the CONT itself: calls to it are taken, and not answered."""

    def __init__(self, daemon: PrivateDaemon) -> None:
        self.name = f"hang-{daemon.name}"
        self._daemon = daemon

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Stop it; proven by its state, and by a question that gets no answer."""
        pid = self._daemon.pid
        self._daemon.pause()
        if not await until(lambda: state_of(pid) in ("T", "t"), EFFECT_WITHIN):
            raise NoEffectError(f"{self._daemon.name} ({pid}) is in state {state_of(pid)!r}")
        try:
            told = await asyncio.to_thread(self._daemon.ping, NO_ANSWER_WITHIN)
        except (OSError, LabError):
            return f"{self._daemon.name} ({pid}) is in state T and gives no answer"
        raise NoEffectError(f"{self._daemon.name} ({pid}) answers: {told}")

    async def heal(self) -> str:
        """Let it run on; harmless when it runs."""
        self._daemon.resume()
        return f"{self._daemon.name} runs on"


class ThenKilled(Fault):
    """Another fault, and then KILL to a daemon that ran on it: nobody can start it until the other is healed, or
    whoever must see its end has just come back.
    """

    def __init__(self, first: Fault, targets: Targets) -> None:
        self.name = f"{first.name}-then-kill"
        self._first = first
        self._kill = kill(targets)

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """One after the other; proven by both proofs."""
        first = await self._first.inject(reaper, pick)
        return f"{first}; {await self._kill.inject(reaper, pick)}"

    async def heal(self) -> str:
        """Heal the first."""
        return await self._first.heal()


class Frozen(Leased):
    """The runtime's own pause of a container, by its command; healed by its unpause."""

    name = "pause"

    def __init__(self, runtime: Docker | Podman, targets: Targets) -> None:
        super().__init__()
        self._line = ["docker", "--host"] if isinstance(runtime, Docker) else ["podman", "--remote", "--url"]
        self._runtime = runtime
        self._targets = targets
        self._frozen = ""

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Pause one of the runtime's containers; proven by what the runtime says, and by a process that gets no time."""
        running = await self._told("ps", "--filter", "status=running", "--format", "{{.Names}}")
        names = sorted(name for name in running.split() if name.startswith("duende-"))
        pids = self._targets()
        if not names or not pids:
            raise NoEffectError("no container runs")
        name = names[pick % len(names)]
        undo = [*self._line, self._runtime.base_url, "unpause", name]
        self.leases.append(reaper.lease("command", argv=undo))
        await self._told("pause", name)
        self._frozen = name
        status = (await self._told("inspect", "--format", "{{.State.Status}}", name)).strip()
        if status != "paused" or not await until(partial(frozen, pids[0]), EFFECT_WITHIN):
            raise NoEffectError(f"{name} is {status}, its process in state {state_of(pids[0])!r}")
        return f"{name} is {status}, its process {pids[0]} is frozen"

    async def heal(self) -> str:
        """Unpause it; the runtime says that it runs."""
        if not self._frozen:
            return "nothing to undo"
        name, self._frozen = self._frozen, ""
        await self._told("unpause", name)
        while self.leases:
            self.leases.pop().release()
        return f"unpaused {name}"

    async def _told(self, *words: str) -> str:
        command = self._runtime.docker if isinstance(self._runtime, Docker) else self._runtime.podman
        try:
            return await asyncio.to_thread(command, *words)
        except LabError as error:
            raise NoEffectError(str(error)) from error


class Reexec(Fault):
    """systemd executes itself anew (`systemctl daemon-reexec`) and goes on from what it wrote down; nothing to heal."""

    name = "daemon-reexec"

    def __init__(self, host: Systemd) -> None:
        self._host = host

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Do it; proven by another address of the stack of the same process."""
        pid = await asyncio.to_thread(lambda: self._host.root_pid)
        before, trouble = stack_of(pid), ""
        try:
            await asyncio.to_thread(self._host.systemctl, "daemon-reexec")
        except LabError as error:
            trouble = str(error)  # the connection may be lost over it: what was done is seen below
        if not await until(lambda: stack_of(pid) not in ("", "0", before), EFFECT_WITHIN):
            raise NoEffectError(f"systemd ({pid}) still executes what it did before {trouble}".strip())
        return f"systemd ({pid}) has executed itself anew"

    async def heal(self) -> str:
        """Nothing to do."""
        return "systemd went on by itself"


class BusGone(Fault):
    """KILL to the message bus of a systemd; healed by having systemd start it."""

    name = "kill-dbus"

    def __init__(self, host: Systemd) -> None:
        self._host = host
        self._gone = False

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Kill it; proven by its end."""
        pid = await asyncio.to_thread(self._main)
        self._gone = True
        return await Deadly(self.name, signal.SIGKILL, lambda: [pid]).inject(reaper, 0)

    async def heal(self) -> str:
        """Start it, if nobody's connection has done that meanwhile; it runs when this returns."""
        if not self._gone:
            return "nothing to undo"
        self._gone = False
        await asyncio.to_thread(self._host.systemctl, "start", "dbus.service")
        return f"the bus is process {await asyncio.to_thread(self._main)}"

    def _main(self) -> int:
        shown = self._host.systemctl("show", "dbus.service", "--property=MainPID", "--value")
        return self._host.host_pid(int(shown))


def answers(daemon: PrivateDaemon) -> bool:
    """Whether somebody accepts connections at its socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(daemon.socket))
        except OSError:
            return False
    return True


def frozen(pid: int) -> bool:
    """Whether a process is in the freezer: version 1 puts it into state D, version 2 says so in its group's events."""
    if state_of(pid) == "D":
        return True
    try:
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
            path = next((line.split(":", 2)[2].strip() for line in file if line.startswith("0::")), "")
        with open(f"/sys/fs/cgroup{path}/cgroup.events", encoding="ascii") as file:
            return "frozen 1" in file.read()
    except OSError:
        return False


def stack_of(pid: int) -> str:
    """The address of the bottom of its stack, empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return ""
    return text[text.rindex(")") + 2 :].split()[STACK]


def against(platform: Platform, targets: Targets) -> Sequence[Fault]:
    """All that is offered on a platform against one daemon, whose processes *targets* gives; each waits until it lives."""
    offered: list[Fault] = [kill(targets), Stop(targets)]
    if isinstance(platform, Containers):
        runtime = platform.runtime
        troubles = (RuntimeGone(runtime), RuntimeHangs(runtime))
        offered += [Frozen(runtime, targets), RuntimeGone(runtime)]
        offered += [ThenKilled(trouble, targets) for trouble in troubles]
        if isinstance(runtime, Docker):
            offered.append(RuntimeGone(runtime.containerd))
    elif isinstance(platform, Units):
        host = platform.host
        offered += [Reexec(host), ThenKilled(Reexec(host), targets), BusGone(host)]
    elif isinstance(platform, Jobs):
        launchd = platform.host
        offered += [
            Unloaded(launchd, targets),
            RuntimeGone(launchd),
            ThenKilled(RuntimeHangs(launchd), targets),
        ]
    else:
        offered.append(segv(targets))
    return [Awaited(fault, targets) for fault in offered]
