"""Whether daemons can run under WOS here."""

from __future__ import annotations

import shutil

from duende.adapters.contract import Probe, ProbeState
from duende.adapters.wos import parse
from duende.adapters.wos.control import REMEDY, Control
from duende.errors import DuendeError


async def probe_wos(control: Control) -> Probe:
    """Absent without the command, unhealthy when it fails or its kernel has halted, else usable: a kernel is booted when one is needed."""
    if shutil.which(control.command) is None:
        return Probe(state=ProbeState.ABSENT, why=f"there is no program {control.command!r}", remedy=REMEDY)
    try:
        answer = await control.call(["version", "--json"])
        if answer.code != 0:
            failed = parse.error_of(answer.code, answer.err, "ask wos-ctl for its version")
            return Probe(state=ProbeState.UNHEALTHY, why=failed.problem, remedy=failed.remedy or REMEDY)
        found = parse.read(answer.out, parse.Hello)
    except DuendeError as error:
        return Probe(state=ProbeState.UNHEALTHY, why=error.problem, remedy=error.remedy)
    version = f"wos {found.version}"
    if found.halted:
        return Probe(
            state=ProbeState.UNHEALTHY,
            why=f"kernel {found.boot} has halted: {found.halted[0]}",
            version=version,
            remedy="wos-ctl halt && wos-ctl boot",
        )
    why = (
        f"kernel {found.boot} answers"
        if found.boot
        else "wos-ctl answers, and boots a kernel when one is needed"
    )
    return Probe(state=ProbeState.USABLE, why=why, version=version)
