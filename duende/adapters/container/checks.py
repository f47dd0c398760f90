"""Health checks in containers whose runtime runs none by itself: Podman leaves them to systemd timers, containerd knows none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from duende.adapters.container.engine import Engine
from duende.adapters.contract import AdapterEvent, EventKind
from duende.config.model import DaemonConfig
from duende.errors import DuendeError


class Check(msgspec.Struct, frozen=True):
    """What is run, how often, and how many results in a row are a verdict; it travels in the handle, for whoever adopts the daemon."""

    argv: tuple[str, ...]
    interval: float
    timeout: float
    retries: int
    successes: int

    def to_json(self) -> str:
        """For the handle."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Check | None:
        """What `to_json` wrote; None for anything else, such as nothing."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return None


def check_of(config: DaemonConfig) -> Check | None:
    """The check of *config*, None without one."""
    check = config.health_check
    if not check.enabled or not check.exec:
        return None
    return Check(check.exec, check.interval, check.timeout, check.retries, check.successes)


class Verdict:
    """Results in a row make a verdict; pure."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._passes = self._failures = 0
        self.unhealthy = False

    def count(self, passed: bool) -> EventKind | None:
        """The verdict, where it has changed with this result."""
        self._passes, self._failures = (self._passes + 1, 0) if passed else (0, self._failures + 1)
        if self.unhealthy and self._passes >= self._check.successes:
            self.unhealthy = False
            return EventKind.HEALTHY
        if not self.unhealthy and self._failures >= self._check.retries:
            self.unhealthy = True
            return EventKind.UNHEALTHY
        return None


async def watch_health(
    engine: Engine,
    container: str,
    daemon_id: str,
    check: Check,
    emit: Callable[[AdapterEvent], None],
    paused: Callable[[], bool],
) -> None:
    """Run the check at its interval, but for the time that the container is paused, until this is cancelled; report each change."""
    verdict = Verdict(check)
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(check.interval)
        if paused():
            continue
        began = loop.time()
        try:
            passed = await engine.run_inside(container, check.argv, check.timeout) == 0
        except DuendeError:
            passed = False  # a runtime that does not answer cannot say that it is well
        if paused():
            continue
        changed = verdict.count(passed)
        if changed is not None:
            words = (
                "passes again" if changed is EventKind.HEALTHY else f"failed {check.retries} times in a row"
            )
            detail = f"{check.argv[0]} {words}, the last after {loop.time() - began:.2f} s"
            emit(AdapterEvent(daemon_id=daemon_id, kind=changed, detail=detail))
