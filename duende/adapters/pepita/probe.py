"""Whether daemons can run in microVMs here."""

from __future__ import annotations

from duende.adapters.contract import Probe, ProbeState
from duende.adapters.pepita.command import REMEDY, Command
from duende.errors import DuendeError, NotSupportedError


async def probe(command: Command) -> Probe:
    """Absent without the program, unhealthy when it cannot say on what guests run, else usable with its version."""
    try:
        facts = await command.facts("ask pepita for its version", "version", "--json")
    except NotSupportedError as error:
        return Probe(state=ProbeState.ABSENT, why=error.problem, remedy=REMEDY)
    except DuendeError as error:
        return Probe(state=ProbeState.UNHEALTHY, why=error.problem, remedy=error.remedy)
    on = {"kvm": "KVM", "tcg": "software emulation"}.get(
        str(facts.get("accelerator")), str(facts.get("accelerator"))
    )
    version = f"pepita {facts.get('pepita')} (QEMU {facts.get('qemu')})"
    return Probe(state=ProbeState.USABLE, why=f"guests run on {on}", version=version)
