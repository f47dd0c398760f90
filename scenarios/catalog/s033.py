"""S033: a container becomes unhealthy."""

from __future__ import annotations

import asyncio
import json

from fixtures.runtimes.dockerd import Docker
from scenarios.checks import answers, faults, health, states, stops
from scenarios.faults.health import ILL, STUCK, WELL, IllHealth, check
from scenarios.history import observed
from scenarios.lab import Lab
from scenarios.look import until
from scenarios.platforms.containers import Containers
from scenarios.scenario import Scenario, UnmetNeedError, Workload
from scenarios.tables import always, daemon
from scenarios.workloads.clients import asking, not_running

NAME, OTHER = "patient", "bystander"
INTERVAL, TIMEOUT, RETRIES = 0.2, 1.0, 2
FIRST_DELAY = 0.2
VERDICT_WITHIN = RETRIES * (INTERVAL + TIMEOUT)
"""Seconds from an illness to the verdict, where each check takes its whole time."""
ACT_WITHIN = VERDICT_WITHIN + 2.0
"""Seconds from an illness to its restart: the runtime takes some tenths for a check, and its report."""
CURE_WITHIN = ACT_WITHIN + FIRST_DELAY + 4.0
ILLNESSES = 3
ASK_EVERY = 0.02


class Illness(Workload):
    """A daemon that falls ill again and again, and that a restart cures; one beside it is always well."""

    async def setup(self, lab: Lab) -> None:
        """Files with their moods.

        Raises:
            UnmetNeedError: here no runtime checks health.
        """
        if not isinstance(lab.platform, Containers):
            raise UnmetNeedError("S033 is about containers")
        self.runtime = lab.platform.runtime
        self.moods = {name: lab.folder / f"{name}.mood" for name in (NAME, OTHER)}

    async def run(self, lab: Lab) -> None:
        """Fall ill, in the seed's order and at its times, and watch what is made of it."""
        await lab.manager()
        for name, mood in self.moods.items():
            checked = {"exec": check(mood), "interval": INTERVAL, "timeout": TIMEOUT, "retries": RETRIES}
            line = ["/bin/sh", "-c", f"echo -n {WELL} > {mood}; exec sleep 600"]
            policy = always(initial_delay=FIRST_DELAY, multiplier=1.0, max_delay=FIRST_DELAY, max_retries=50)
            settings = {"settle": 0.2, "kind": "none"}
            await lab.register(
                daemon(
                    name, line, restart=policy, health_check=checked, readiness=settings, shutdown_timeout=2.0
                )
            )
            await lab.start(name)
        watching = asyncio.create_task(asking(lab, NAME, every=ASK_EVERY))
        chance = lab.rng("illness")
        try:
            kinds = [ILL, STUCK, chance.choice((ILL, STUCK))]
            chance.shuffle(kinds)
            for kind in kinds:
                await self._see_well(lab)
                await asyncio.sleep(chance.uniform(0.0, INTERVAL))
                illness = IllHealth(self.moods[NAME], kind, CURE_WITHIN)
                await lab.nemesis.strike(illness)
                await lab.nemesis.heal(illness)
            await self._see_well(lab)
            await asyncio.sleep(VERDICT_WITHIN)  # for what a verdict too many would do
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _see_well(self, lab: Lab) -> None:
        """It runs, its check has had time to pass, and the runtime says how often it restarted it."""
        await until(lambda: self._runs(lab) and self.moods[NAME].read_text() == WELL, CURE_WITHIN)
        await asyncio.sleep(2 * INTERVAL)
        for name in await asyncio.to_thread(self.runtime.containers):
            if name.startswith(f"duende-{NAME}"):
                policy, restarts = await asyncio.to_thread(self._told, name)
                lab.observe("runtime", name=NAME, policy=policy, restarts=restarts)

    @staticmethod
    def _runs(lab: Lab) -> bool:
        """By the latest that its manager told."""
        told = observed(lab.history.operations, "event", name=NAME)
        return bool(told) and told[-1].value["status"] == "Running"

    def _told(self, container: str) -> tuple[str, int]:
        runtime = self.runtime
        ask = runtime.docker if isinstance(runtime, Docker) else runtime.podman
        (found,) = json.loads(ask("inspect", container))
        return str(found["HostConfig"]["RestartPolicy"]["Name"]), int(found.get("RestartCount", 0))

    async def recover(self, lab: Lab) -> str:
        """Both run; then they are stopped, and nothing is left."""
        wrong = await not_running(lab, [NAME, OTHER])
        if wrong:
            return wrong
        for name in (NAME, OTHER):
            await lab.stop(name)
        await lab.survivors(5.0)
        return ""


SCENARIO = Scenario(
    id="S033",
    title="a container becomes unhealthy, and its runtime does nothing about it",
    invariant="the policy acts, once for each illness; health starts afresh after the restart",
    seen_in="moby#28400",
    workload=Illness,
    adapters=("docker", "podman"),
    checks=(
        faults.took_effect(ILL, STUCK),
        health.one_restart_for_each_illness(NAME, ACT_WITHIN, ILLNESSES),
        health.starts_afresh(NAME, 20),
        health.runtime_left_it_alone(NAME),
        states.undisturbed(OTHER),
        answers.succeeds("start", NAME),
        faults.recovered(),
        stops.stops_proven(),
        stops.nothing_left(),
        states.always_one_of_seven(),
        states.transitions_legal(),
        states.never_running_without_a_process(),
    ),
)
