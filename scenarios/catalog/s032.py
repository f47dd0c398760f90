"""S032: the runtime's API hangs, answers garbage, is slow or hangs up."""

from __future__ import annotations

from collections.abc import Sequence

from fixtures.between import Between
from scenarios.checks import answers, faults, identity, latency, states, stops
from scenarios.faults.api import COUNTED, BadApi
from scenarios.faults.base import Fault
from scenarios.lab import Lab
from scenarios.platforms.units import Units
from scenarios.scenario import Pace, Scenario, UnmetNeedError, Workload
from scenarios.workloads.fleet import NEIGHBOUR, RESTLESS, STEADY, Fleet

CALL = 1.0
"""Seconds for one call to the runtime, as the adapter is told."""
VERB_WITHIN = 6 * CALL
"""Seconds for a verb that only asks: it makes three calls at most, and some of them have twice the time."""
START_WITHIN = 16 * CALL
"""Seconds for one that starts or stops: making and starting a container have three times the time of a call each, and what was begun is
taken back.
"""
ANSWER_WITHIN = 0.1
"""Seconds for an answer of the manager itself (p99)."""
ASKED = 60
"""Answers of each kind below which a run says nothing."""
QUESTIONS = {True: b"\0AUTH\r\n", False: b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"}
"""What D-Bus and HTTP answer to everybody."""
NAMES = tuple(f"api-{mood.value}" for mood in COUNTED)
ERRORS = (
    "PlatformTimeoutError", "PlatformIOError", "StatusFailedError", "SpawnError", "SignalError", "SignalFailedError",
    "InstanceNotFoundError", "IdentityError", "InvalidStateError", "AlreadyRunningError", "StateError",
)  # fmt: skip
"""What a verb may end with meanwhile; anything else is a bug that shows."""


class BadRuntime(Workload):
    """A fleet whose runtime is behind a proxy with moods; clients go on asking, starting and stopping all the while."""

    pace = Pace(count=len(NAMES) + 1, first=0.6, gap=1.6, hold=1.4)

    async def setup(self, lab: Lab) -> None:
        """The proxy, and the manager behind it.

        Raises:
            UnmetNeedError: here is no runtime with an API.
        """
        if lab.platform.api is None:
            raise UnmetNeedError("S032 is about runtimes with an API")
        self.between = Between(lab.platform.api, noise=lab.rng("noise").randbytes)
        lab.reaper.lease("remove", path=str(self.between.folder))
        await self.between.open()
        lab.after(self.between.close)
        adapter = lab.platform.adapter(lab.folder, keep=False, through=self.between.socket, timeout=CALL)
        self.fleet = await Fleet.of(lab, adapter)
        await self.fleet.start()

    def faults(self, lab: Lab) -> Sequence[Fault]:
        """One for each mood."""
        question = QUESTIONS[isinstance(lab.platform, Units)]
        return [BadApi(self.between, mood, question) for mood in COUNTED]

    async def run(self, lab: Lab) -> None:
        """Ask, start and stop until the schedule is over."""
        await self.fleet.live(until=lab.nemesis.finished)

    async def recover(self, lab: Lab) -> str:
        """Everything runs, by the manager's word and by the runtime's; then all of it goes, and nothing is left."""
        return await self.fleet.recover() or await self.fleet.end()


SCENARIO = Scenario(
    id="S032",
    title="the runtime's API hangs, answers garbage, is slow or hangs up",
    invariant="every call has a deadline, the manager stays responsive, all recovers, and nothing is left or there twice",
    seen_in="nomad-driver-podman#229",
    workload=BadRuntime,
    adapters=("systemd", "docker", "podman"),
    checks=(
        faults.took_effect(*NAMES),
        latency.takes_at_most("call", VERB_WITHIN),
        *(latency.takes_at_most(f, START_WITHIN) for f in ("start", "stop", "restart", "signal")),
        *(
            latency.answers_while(f, NAMES, q=0.99, seconds=ANSWER_WITHIN, at_least=ASKED)
            for f in ("ping", "list", "status")
        ),
        latency.only_expected_errors(*ERRORS),
        answers.errors_tell(),
        states.undisturbed(*STEADY),
        answers.succeeds("restart", NEIGHBOUR),
        identity.at_most_one(*RESTLESS, *STEADY, looks=40),
        answers.succeeds("start", "fresh"),
        faults.recovered(),
        stops.nothing_left(),
        states.always_one_of_seven(),
        states.transitions_legal(),
        states.never_running_without_a_process(),
    ),
    recovery=20.0,
)
