"""S043: postgres in a container under client load is killed and paused, and so is its runtime."""

from __future__ import annotations

from pathlib import Path

from scenarios.checks import faults, identity, service, states, stops
from scenarios.scenario import Scenario
from scenarios.workloads.served import BOUND, BY_FAULTS, WRITES, Served

NAME = "postgres"


class Postgres(Served):
    """A table that grows; each commit is synchronous."""

    kind = NAME
    process = "postgres"

    def line(self, folder: Path) -> list[str]:
        """Made by the image's script at the first start; reachable on a socket only."""
        return [
            "/usr/local/bin/run-postgres",
            *("-k", str(folder)),
            *("-c", "listen_addresses="),
            *("-c", "synchronous_commit=on"),
            *("-c", "fsync=on"),
            *("-c", "shared_buffers=16MB"),
        ]

    def all_kept(self, folder: Path) -> list[str]:
        """By psql."""
        program = '/usr/lib/postgresql/*/bin/psql -XAt -h "$0" -U postgres'
        return ["/bin/sh", "-c", f"{program} -c 'TABLE kept'", str(folder)]


SCENARIO = Scenario(
    id="S043",
    title="postgres in a container under client load is killed and paused, and so is its runtime",
    invariant="no acknowledged write is lost, there is never a second instance, and it is back in time",
    seen_in="moby#40789, docker-library/postgres#547",
    workload=Postgres,
    adapters=("docker", "podman"),
    image=NAME,
    breaks_runtime=True,
    checks=(
        faults.took_effect("kill", "pause"),
        service.no_acknowledged_write_lost(WRITES),
        identity.at_most_one(NAME, looks=20),
        service.available_again_within(BOUND, at_once=("kill",)),
        service.ends_only_by(NAME, *BY_FAULTS),
        faults.recovered(),
        stops.stops_proven(),
        stops.nothing_left(),
        states.always_one_of_seven(),
        states.transitions_legal(),
        states.never_running_without_a_process(),
    ),
    limit=90.0,
    recovery=15.0,
)
