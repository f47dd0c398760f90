"""S042: redis in a container under client load is killed and paused, and so is its runtime."""

from __future__ import annotations

from pathlib import Path

from scenarios.checks import faults, identity, service, states, stops
from scenarios.scenario import Scenario
from scenarios.workloads.served import BOUND, BY_FAULTS, WRITES, Served

NAME = "redis"


class Redis(Served):
    """A list that grows; each append is on disk before it is acknowledged."""

    kind = NAME
    process = "redis-server"

    def line(self, folder: Path) -> list[str]:
        """Durable to the last write, reachable on a socket only."""
        return [
            "/usr/bin/redis-server",
            *("--port", "0"),
            *("--unixsocket", str(folder / "redis.sock")),
            *("--unixsocketperm", "777"),
            *("--dir", str(folder)),
            *("--appendonly", "yes"),
            *("--appendfsync", "always"),
            *("--auto-aof-rewrite-percentage", "0"),
            *("--save", ""),
        ]

    def all_kept(self, folder: Path) -> list[str]:
        """By redis-cli."""
        return ["redis-cli", "-s", str(folder / "redis.sock"), "LRANGE", "kept", "0", "-1"]


SCENARIO = Scenario(
    id="S042",
    title="redis in a container under client load is killed and paused, and so is its runtime",
    invariant="no acknowledged write is lost, there is never a second instance, and it is back in time",
    seen_in="moby#40789, redis#5286",
    workload=Redis,
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
