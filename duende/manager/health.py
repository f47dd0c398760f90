"""Liveness checks of running daemons: by their own word, by HTTP, by port, or by a program; with thresholds.

`retries` failures in a row make a daemon unhealthy, `successes` in a row make it healthy again. A program without any check is watched by
its process alone, and costs nothing here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from duende.clock import Clock
from duende.readiness import is_well, probe_exec, probe_http, probe_port
from duende.states import HealthStatus, Phase
from duende.supervisor import Supervisor


class Tally:
    """Consecutive results of one daemon; pure."""

    __slots__ = ("_retries", "_successes", "failures", "passes", "unhealthy")

    def __init__(self, retries: int, successes: int) -> None:
        self._retries = retries
        self._successes = successes
        self.failures = 0
        self.passes = 0
        self.unhealthy = False

    def count(self, passed: bool) -> bool:
        """Count one result; whether the verdict changed."""
        if passed:
            self.passes, self.failures = self.passes + 1, 0
            if self.unhealthy and self.passes >= self._successes:
                self.unhealthy = False
                return True
        else:
            self.failures, self.passes = self.failures + 1, 0
            if not self.unhealthy and self.failures >= self._retries:
                self.unhealthy = True
                return True
        return False


class HealthWatch:
    """One timer for each daemon that has a check; none for the others."""

    def __init__(self, runtime_dir: str, changed: Callable[[Supervisor, str], None], clock: Clock) -> None:
        """Call *changed* with each change of a verdict; where its adapter can, the platform runs `health_check.exec` itself."""
        self._runtime_dir = runtime_dir
        self._changed = changed
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, supervisor: Supervisor) -> None:
        """Check *supervisor* from now on, if it has something to check."""
        check = supervisor.config.health_check
        has_own_word = supervisor.config.daemon is not None
        if (
            not check.enabled
            or not (check.exec or check.port or has_own_word)
            or supervisor.name in self._tasks
            or (check.exec and supervisor.adapter.capabilities.checks_health)
        ):
            return
        self._tasks[supervisor.name] = asyncio.get_running_loop().create_task(self._watch(supervisor))

    def end(self, supervisor: Supervisor) -> None:
        """Stop checking: the next instance is judged by its own results alone."""
        task = self._tasks.pop(supervisor.name, None)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """Stop all checks."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def _watch(self, supervisor: Supervisor) -> None:
        check = supervisor.config.health_check
        tally = Tally(check.retries, check.successes)
        await asyncio.sleep(first_wait(supervisor.daemon_id, check.interval))
        while True:
            began = self._clock.monotonic()
            if not supervisor.status.is_active or supervisor.status.phase is Phase.PAUSED:
                await asyncio.sleep(check.interval)
                continue  # who is paused cannot answer, and is not ill for that
            found = await self._look(supervisor)
            if supervisor.status.phase is not Phase.RUNNING:
                continue  # paused meanwhile
            latency = (self._clock.monotonic() - began) * 1000.0
            changed = tally.count(found.is_healthy)
            if tally.unhealthy or found.is_healthy:
                supervisor.health = msgspec.structs.replace(
                    found, latency_ms=latency, checked_at=self._clock.wall()
                )
            if changed:
                self._changed(
                    supervisor,
                    f"{found.kind.value.lower()}: {found.reason}"
                    if found.reason
                    else found.kind.value.lower(),
                )
            await asyncio.sleep(max(0.0, check.interval - (self._clock.monotonic() - began)))

    async def _look(self, supervisor: Supervisor) -> HealthStatus:
        check = supervisor.config.health_check
        if check.exec:
            passed = await probe_exec(check.exec, check.timeout)
            return (
                HealthStatus.healthy()
                if passed
                else HealthStatus.unhealthy(f"{check.exec[0]} did not exit 0 within {check.timeout:g} s")
            )
        if check.http and check.port:
            code = await probe_http(check.port, check.http, check.timeout)
            told = f"HTTP {code}" if code else f"no answer of HTTP within {check.timeout:g} s"
            where = f"{check.http} at port {check.port}"
            return HealthStatus.healthy() if is_well(code) else HealthStatus.unhealthy(f"{where}: {told}")
        if check.port:
            passed = await probe_port(check.port, check.timeout)
            return (
                HealthStatus.healthy()
                if passed
                else HealthStatus.unhealthy(f"port {check.port} does not accept")
            )
        path = f"{self._runtime_dir}/{supervisor.daemon_id[:13]}.sock"
        try:
            async with asyncio.timeout(check.timeout):
                return await ask_health(path)
        except TimeoutError:
            return HealthStatus.unhealthy(f"no answer within {check.timeout:g} s")
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            return HealthStatus.unhealthy(f"cannot be asked: {error}")


def first_wait(daemon_id: str, interval: float) -> float:
    """Seconds until the first check: anywhere within the interval, by the random digits of the id, so that a thousand daemons that were started
    together are checked one after the other for ever, and not all at once.
    """
    share = int(daemon_id.replace("-", "")[-8:], 16) / 0xFFFFFFFF
    return interval * (0.05 + 0.95 * share)


async def ask_health(path: str) -> HealthStatus:
    """A `Daemon`'s own word, from its socket at *path*.

    Raises:
        OSError: nobody listens there.
        ValueError: the answer is no health status.
    """
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(b"GET /health HTTP/1.0\r\n\r\n")
        raw = await reader.read(1 << 16)
    finally:
        writer.close()
    _, _, body = raw.partition(b"\r\n\r\n")
    return msgspec.json.decode(body, type=HealthStatus)
