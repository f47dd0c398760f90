"""Daemons as units of systemd, which is PID 1 of a container."""

from __future__ import annotations

from pathlib import Path

from duende.adapters.contract import PlatformAdapter
from fixtures.runtimes.systemd import Systemd
from scenarios.platforms.base import TIMEOUT, Platform


class Units(Platform):
    """Each daemon is a unit of the system manager; the run's folder is one that both sides see."""

    name = "systemd"

    def __init__(self, host: Systemd) -> None:
        self.host = host
        """The private systemd."""

    @property
    def base(self) -> Path:
        """The folder shared with the container."""
        return self.host.shared

    @property
    def api(self) -> Path:
        """The socket of its bus."""
        return self.host.bus_socket

    def known(self) -> list[str]:
        """Its units of daemons."""
        return self.host.units()

    def adapter(
        self, folder: Path, *, keep: bool, through: Path | None = None, timeout: float = TIMEOUT
    ) -> PlatformAdapter:
        """An adapter on the bus of that systemd."""
        from duende.adapters.systemd.adapter import SystemdAdapter

        place = folder / "units"
        place.mkdir(exist_ok=True)
        return SystemdAdapter(
            user=False,
            bus_address=f"unix:path={through or self.api}",
            timeout=timeout,
            runtime_dir=str(place),
            journal=self.host.journal_command,
            keep=keep,
        )

    @property
    def environment(self) -> dict[str, str]:
        """The address of its bus."""
        return {"DBUS_SYSTEM_BUS_ADDRESS": self.host.bus_address}

    @property
    def asked_for(self) -> str:
        """Its own name."""
        return self.name
