"""Asks a daemon how it is, in the way its configuration says."""

from __future__ import annotations

import asyncio

import msgspec

from duende.config.model import DaemonConfig
from duende.errors import StatusFailedError
from duende.manager.health import ask_health
from duende.metrics import MetricsSnapshot
from duende.readiness import is_well, probe_exec, probe_http, probe_port
from duende.states import DaemonStatus, HealthCheck, HealthStatus, Phase

LARGEST = 1 << 20
"""Bytes of one answer that are read."""


class _Status(msgspec.Struct):
    metrics: MetricsSnapshot


async def health(config: DaemonConfig, socket: str | None, status: DaemonStatus) -> HealthStatus:
    """The daemon's health: by program, by HTTP, by port, by its own word at *socket*, or by its *status* alone."""
    running = HealthCheck("status", status.phase is Phase.RUNNING, str(status))
    if not running.passed:
        kind = HealthStatus.degraded if status.phase is Phase.PAUSED else HealthStatus.unhealthy
        return kind(f"it is {status}", (running,))
    check = config.health_check
    if check.exec:
        passed = await probe_exec(check.exec, check.timeout)
        return _verdict(passed, f"{check.exec[0]} exits 0 within {check.timeout:g} s", "exec", running)
    if check.http and check.port:
        passed = is_well(await probe_http(check.port, check.http, check.timeout))
        return _verdict(passed, f"{check.http} at port {check.port} is well", "http", running)
    if check.port:
        passed = await probe_port(check.port, check.timeout)
        return _verdict(passed, f"port {check.port} accepts", "port", running)
    if config.daemon is None or socket is None:
        return HealthStatus.healthy(5, (running,))
    try:
        async with asyncio.timeout(check.timeout):
            found = await ask_health(socket)
    except TimeoutError:
        return _verdict(False, f"it answers within {check.timeout:g} s", "own word", running)
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        return _verdict(False, f"it can be asked at {socket} ({error})", "own word", running)
    return msgspec.structs.replace(found, checks=(running, *found.checks))


async def metrics(socket: str) -> MetricsSnapshot:
    """The metrics of the `Daemon` that serves *socket*.

    Raises:
        StatusFailedError: nobody serves it, or the answer is something else.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
        try:
            writer.write(b"GET /status HTTP/1.0\r\n\r\n")
            # Read to the end: one read gives what has arrived, which may be half of the answer.
            raw = b""
            while len(raw) < LARGEST and (chunk := await reader.read(1 << 16)):
                raw += chunk
        finally:
            writer.close()
        return msgspec.json.decode(raw.partition(b"\r\n\r\n")[2], type=_Status).metrics
    except (OSError, msgspec.MsgspecError) as error:
        raise StatusFailedError(
            f"cannot read the metrics at {socket}: {error}", remedy="see whether the daemon runs"
        ) from error


def _verdict(passed: bool, what: str, name: str, running: HealthCheck) -> HealthStatus:
    checks = (running, HealthCheck(name, passed, what))
    return HealthStatus.healthy(5, checks) if passed else HealthStatus.unhealthy(f"not true: {what}", checks)
