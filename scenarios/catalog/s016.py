"""S016: many clients, each with a daemon of its own."""

from __future__ import annotations

import asyncio

from fixtures.daemons import command
from scenarios.checks import latency, states, stops
from scenarios.drivers import Connection
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon
from scenarios.workloads.clients import not_running

CLIENTS = 10
ROUNDS = 6
DAEMONS = tuple(f"own-{number}" for number in range(CLIENTS))


class Neighbours(Workload):
    """Each client stops, starts and asks about its own daemon over its own connection, all at once."""

    async def run(self, lab: Lab) -> None:
        """All clients side by side."""
        driver = await lab.process([daemon(name, command("obedient")) for name in DAEMONS])
        connections = [(name, await Connection.open(driver.socket)) for name in DAEMONS]
        await asyncio.gather(*(self._client(lab, name, connection) for name, connection in connections))

    @staticmethod
    async def _client(lab: Lab, name: str, connection: Connection) -> None:
        by, value = f"client of {name}", {"name": name}
        for _ in range(ROUNDS):
            for op in ("status", "stop", "status", "start", "status", "restart"):
                await lab.record(by, op, value, connection.ask(op, name=name))
        await connection.close()

    async def recover(self, lab: Lab) -> str:
        """All run."""
        return await not_running(lab, DAEMONS)


SCENARIO = Scenario(
    id="S016",
    title="concurrent stop, start and status on different daemons",
    invariant='no "already running a command": locks are per daemon',
    seen_in="circus#776",
    workload=Neighbours,
    checks=(
        latency.only_expected_errors(),
        latency.takes_at_most("status", 2.0),
        stops.stops_proven(),
        states.always_one_of_seven(),
    ),
)
