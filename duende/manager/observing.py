"""What a manager tells of its daemons by itself: a monitor with a history, metrics over TCP, an OpenTelemetry collector. Each only where it is asked for."""

from __future__ import annotations

import asyncio

from duende.errors import ConfigError
from duende.host.lazily import exporter
from duende.manager.control import Control
from duende.manager.manager import DaemonManager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.manager.scraping import Scraping
    from duende.observe.exposition import Family
    from duende.observe.otlp import Exporter

COLLECT_S = 10.0
"""Seconds within which the loop gives its metrics to the exporter's thread."""
LEAST_S = 0.1
"""Seconds: the shortest interval of the monitor."""


class Observing:
    """All of it for one manager; what is not asked for is not loaded."""

    def __init__(self, manager: DaemonManager, control: Control) -> None:
        self._manager = manager
        self._control = control
        self._scraping: Scraping | None = None
        self._exporter: Exporter | None = None

    async def open(self, monitor: str, listen: str) -> None:
        """Make ready what is asked for: *monitor* is an interval, *listen* an address, empty for none; the collector is in the environment.

        Raises:
            ConfigError: the interval or the address makes no sense.
            DaemonIOError: the address cannot be had.
        """
        if monitor:
            from duende.config.units import parse_duration
            from duende.manager.sampling import Sampling

            interval = parse_duration(monitor)
            if interval and interval < LEAST_S:
                raise ConfigError(f"--monitor {monitor}: too often", remedy=f"use {LEAST_S:g} s or more")
            if interval:
                self._control.sampling = Sampling(self._manager.folders.state_dir, interval, self._roots)
        if listen:
            from duende.manager.scraping import Scraping

            self._scraping = Scraping(listen, self._control.families)
            await self._scraping.open()
        self._exporter = _exporting(self._control)

    def start(self) -> None:
        """Begin to sample: the daemons are known now."""
        if self._control.sampling is not None:
            self._control.sampling.start()

    async def close(self) -> None:
        """End all of it; what the collector has not yet is sent."""
        if self._scraping is not None:
            self._scraping.close()
        if self._control.sampling is not None:
            await self._control.sampling.close()
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.close)

    def _roots(self) -> dict[str, int]:
        return {view.name: view.pid for view in self._manager.list()}


def _exporting(control: Control) -> Exporter | None:
    """An exporter that has begun; None where the environment names no collector, or one that there cannot be."""
    loop = asyncio.get_running_loop()

    async def now() -> list[Family]:
        return control.families()

    def collect() -> list[Family]:
        try:
            return asyncio.run_coroutine_threadsafe(now(), loop).result(COLLECT_S)
        except (RuntimeError, TimeoutError, asyncio.CancelledError):
            return []  # the loop is ending, or held up: the next time has the same counters, further on

    return exporter("duende-manager", lambda: control.spans, collect)
