"""`duende doctor`: every platform, whether it can be used here, why not, and the command that would help."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from duende.adapters.choose import select_adapter
from duende.adapters.contract import Capabilities, Platform, Probe, ProbeState
from duende.adapters.remedy import NATIVE
from duende.errors import DuendeError, NotSupportedError

PROBE_TIMEOUT = 10.0
"""Seconds for one platform to answer; all are asked side by side."""
ASKED: tuple[tuple[str, Platform, dict[str, Any]], ...] = (
    ("native", Platform.NATIVE, {}),
    ("systemd (system)", Platform.LINUX, {"user": False}),
    ("systemd (user)", Platform.LINUX, {"user": True}),
    ("docker", Platform.CONTAINER, {"runtime": "docker"}),
    ("podman", Platform.CONTAINER, {"runtime": "podman"}),
    ("containerd", Platform.CONTAINER, {"runtime": "containerd"}),
    ("launchd", Platform.MACOS, {}),
    ("pepita", Platform.PEPITA, {}),
    ("wos", Platform.WOS, {}),
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One platform."""

    name: str
    probe: Probe
    capabilities: Capabilities | None
    """What its adapter promises, None where this version has none."""


def examine() -> list[Finding]:
    """Ask every platform, side by side."""
    return asyncio.run(_examine())


async def _examine() -> list[Finding]:
    return list(await asyncio.gather(*(_ask(*each) for each in ASKED)))


async def _ask(name: str, platform: Platform, options: dict[str, Any]) -> Finding:
    try:
        adapter = select_adapter(platform, **options)
    except NotSupportedError:
        missing = Probe(
            state=ProbeState.ABSENT, why="this version of duende has no adapter for it yet", remedy=NATIVE
        )
        return Finding(name=name, probe=missing, capabilities=None)
    except DuendeError as error:
        broken = Probe(state=ProbeState.UNHEALTHY, why=error.problem, remedy=error.remedy)
        return Finding(name=name, probe=broken, capabilities=None)
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            found = await adapter.probe()
    except TimeoutError:
        found = Probe(
            state=ProbeState.UNHEALTHY,
            why=f"it did not answer within {PROBE_TIMEOUT:g} s",
            remedy="restart its service",
        )
    except DuendeError as error:
        found = Probe(state=ProbeState.UNHEALTHY, why=error.problem, remedy=error.remedy)
    finally:
        await adapter.close()
    return Finding(name=name, probe=found, capabilities=adapter.capabilities)


def as_wire(findings: list[Finding]) -> list[dict[str, Any]]:
    """The findings as plain values."""
    return [
        {
            "name": each.name,
            "state": each.probe.state.value,
            "version": each.probe.version,
            "why": each.probe.why,
            "remedy": each.probe.remedy,
            "capabilities": None if each.capabilities is None else msgspec.to_builtins(each.capabilities),
        }
        for each in findings
    ]
