"""S003: a log that cannot be written."""

from __future__ import annotations

from fixtures.daemons import command
from scenarios.checks import answers, faults, states
from scenarios.faults.files import FolderIsFile
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon
from scenarios.workloads.clients import not_running


class UnwritableLog(Workload):
    """One daemon whose log folder is lost between registration and start, and a healthy one beside it."""

    async def run(self, lab: Lab) -> None:
        """Fail to start, be removable, and start once the folder is back."""
        await lab.manager()
        folder = lab.folder / "elsewhere"
        folder.mkdir()
        await lab.register(daemon("fine", command("obedient")))
        await lab.start("fine")
        broken = FolderIsFile(folder)
        for name in ("mute", "later"):
            log = {"destination": "file", "path": str(folder / f"{name}.log")}
            await lab.register(daemon(name, command("obedient"), logging=log))
        await lab.nemesis.strike(broken)
        await lab.start("mute")
        await lab.status("mute")
        await lab.views()
        await lab.ask("unregister", name="mute")
        await lab.nemesis.heal(broken)
        await lab.start("later")
        await lab.status("fine")

    async def recover(self, lab: Lab) -> str:
        """What could be started runs."""
        return await not_running(lab, ("fine", "later"))


SCENARIO = Scenario(
    id="S003",
    title="the log destination cannot be written at spawn",
    invariant='never "running, pid 0": Failed with the reason, and removable',
    seen_in="supervisor#445",
    workload=UnwritableLog,
    checks=(
        faults.took_effect("folder-is-file"),
        states.never_running_without_a_process(),
        answers.refused("start", "mute"),
        states.ends_as("mute", "Failed", "log"),
        answers.succeeds("unregister", "mute"),
        answers.succeeds("start", "later"),
        states.undisturbed("fine"),
        faults.recovered(),
    ),
)
