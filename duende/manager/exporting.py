"""The manager's metrics and spans to an OpenTelemetry collector, where the environment names one."""

from __future__ import annotations

import asyncio

from duende.host.lazily import exporter
from duende.manager.control import Control
from duende.manager.manager import DaemonManager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.observe.exposition import Family
    from duende.observe.otlp import Exporter

COLLECT_S = 10.0
"""Seconds within which the loop gives its metrics to the exporter's thread."""


def exporting(manager: DaemonManager, control: Control) -> Exporter | None:
    """An exporter that has begun, to be closed at the end; None where the environment names no collector, or one that there cannot be."""
    loop = asyncio.get_running_loop()

    async def now() -> list[Family]:
        from duende.manager.metrics import families_of

        return families_of(manager.list(), trouble=manager.journal.trouble)

    def collect() -> list[Family]:
        try:
            return asyncio.run_coroutine_threadsafe(now(), loop).result(COLLECT_S)
        except (RuntimeError, TimeoutError, asyncio.CancelledError):
            return []  # the loop is ending, or held up: the next time has the same counters, further on

    return exporter("duende-manager", lambda: control.spans, collect)
