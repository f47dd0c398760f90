"""Whether launchd can be used here, and if not, why and what would help."""

from __future__ import annotations

import re
import sys

from duende.adapters.contract import Probe, ProbeState
from duende.adapters.launchd.exchange import Exchange
from duende.adapters.launchd.launchctl import Answer, refusal
from duende.adapters.launchd.parse import Trouble
from duende.adapters.remedy import NATIVE
from duende.errors import DuendeError

_VERSION = re.compile(r"Version (\S+)")


async def probe_launchd(exchange: Exchange) -> Probe:
    """Absent without a launchctl, unhealthy when it does not answer as it should, usable otherwise."""
    if not exchange.launchctl.found:
        return no_launchctl(exchange.launchctl.command[0], sys.platform)
    try:
        said = await exchange.launchctl.run("version")
        domain = await exchange.domain()
        there = await exchange.launchctl.run("print", domain)
    except DuendeError as error:
        return Probe(state=ProbeState.UNHEALTHY, why=error.problem, remedy=error.remedy)
    found = _VERSION.search(said.out)
    version = found.group(1).rstrip(":") if found is not None else ""
    if not there.ok:
        return _unhealthy(domain, there, version)
    return Probe(state=ProbeState.USABLE, why=f"launchd answers for the domain {domain}", version=version)


def no_launchctl(command: str, system: str) -> Probe:
    """What is wrong where there is no launchctl: pure."""
    if system == "darwin":
        return Probe(
            state=ProbeState.UNHEALTHY,
            why=f"there is no {command} on the path, and every macOS has it",
            remedy="add /bin to PATH",
        )
    return Probe(
        state=ProbeState.ABSENT, why=f"launchd is a part of macOS, and this is {system}", remedy=NATIVE
    )


def _unhealthy(domain: str, answer: Answer, version: str) -> Probe:
    error = refusal(f"use the domain {domain}", answer)
    state = ProbeState.ABSENT if answer.trouble is Trouble.NO_DOMAIN else ProbeState.UNHEALTHY
    return Probe(state=state, why=error.problem, version=version, remedy=error.remedy)
