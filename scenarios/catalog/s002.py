"""S002: signals and restarts in the middle of exits."""

from __future__ import annotations

import asyncio
from functools import partial

from fixtures.daemons import command
from scenarios.checks import faults, latency, restarts, states
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import always, daemon
from scenarios.workloads.clients import Deed, mixed

DAEMONS = ("flap-a", "flap-b", "flap-c")
CLIENTS = 4
DEEDS = 60
LIFE = 0.03
"""Seconds between two crashes: signals arrive in every stage of an exit."""
EXPECTED = ("SignalError", "InstanceNotFoundError", "AlreadyRunningError", "StateError")
"""What a client may be told: it came too late, somebody else was first, or the daemon ended before it was
ready.
"""


class CrashLoops(Workload):
    """Daemons that crash all the time, and clients that signal, restart and start them meanwhile."""

    async def run(self, lab: Lab) -> None:
        """All clients side by side."""
        await lab.manager()
        for name in DAEMONS:
            await lab.register(daemon(name, command("flapping", 1, LIFE), restart=always()))
            await lab.start(name)
        deeds: list[Deed] = [
            *(partial(self._signal, lab, number) for number in ("USR1", "TERM", "HUP", "KILL")),
            lambda name, client: lab.restart(name, by=client),
            lambda name, client: lab.start(name, by=client),
            lambda name, client: lab.status(name, by=client),
            lambda _, client: lab.views(by=client),
        ]
        await asyncio.gather(
            *(mixed(lab, f"client-{n}", DAEMONS, deeds, DEEDS, LIFE) for n in range(CLIENTS))
        )

    @staticmethod
    async def _signal(lab: Lab, number: str, name: str, client: str) -> object:
        return await lab.signal(name, number, by=client)

    async def recover(self, lab: Lab) -> str:
        """Everything can be stopped and is Stopped then."""
        for name in DAEMONS:
            await lab.stop(name)
            view = await lab.status(name)
            if not view or view["status"] != "Stopped":
                return f"{name} is {view}"
        return ""


SCENARIO = Scenario(
    id="S002",
    title="signals as children exit, restarts during a crash loop",
    invariant="no exception in the manager, and the state is always one of the seven",
    seen_in="supervisor#536 #1477",
    workload=CrashLoops,
    checks=(
        states.always_one_of_seven(),
        states.transitions_legal(),
        states.never_running_without_a_process(),
        latency.only_expected_errors(*EXPECTED),
        *(restarts.restarted_at_least(name, 10) for name in DAEMONS),
        faults.recovered(),
    ),
)
