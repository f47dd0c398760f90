"""Daemons in microVMs of a private pepita."""

from __future__ import annotations

from pathlib import Path

from duende.adapters.contract import PlatformAdapter
from fixtures.runtimes.pepita import Pepita
from scenarios.platforms.base import TIMEOUT, Platform

CALL_TIMEOUT = 2 * TIMEOUT
"""Seconds for one call of pepita; a guest under software emulation takes its time."""


class MicroVMs(Platform):
    """Each daemon has a guest of its own; what it shares with this host are the images and sockets that its table names."""

    name = "pepita"

    def __init__(self, runtime: Pepita) -> None:
        self.runtime = runtime

    @property
    def api(self) -> Path:
        """The keeper's socket."""
        return self.runtime.socket

    def known(self) -> list[str]:
        """Its VMs."""
        return self.runtime.names()

    def adapter(
        self, folder: Path, *, keep: bool, through: Path | None = None, timeout: float = CALL_TIMEOUT
    ) -> PlatformAdapter:
        """An adapter on the private pepita."""
        from duende.adapters.pepita.adapter import PepitaAdapter

        place = folder / "vms"
        place.mkdir(exist_ok=True)
        return PepitaAdapter(
            command=str(self.runtime.command),
            timeout=timeout,
            runtime_dir=str(place),
            state_dir=str(place),
            keep=keep,
        )
