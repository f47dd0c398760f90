"""Daemons as jobs of a private launchd: the stand-in of `fixtures/launchctl`, so that what is seen is emulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from duende.adapters.contract import PlatformAdapter
from fixtures.runtimes.launchd import Launchd
from scenarios.platforms.base import TIMEOUT, Platform


class Jobs(Platform):
    """Each daemon is a job."""

    name = "launchd"

    def __init__(self, host: Launchd) -> None:
        self.host = host
        """The private launchd."""

    @property
    def api(self) -> Path:
        """Its socket."""
        return self.host.socket

    def known(self) -> list[str]:
        """Its jobs of daemons, and property lists that nobody removed."""
        return [name for name in self.host.jobs() if name.startswith("duende.")]

    def adapter(
        self, folder: Path, *, keep: bool, through: Path | None = None, timeout: float = TIMEOUT
    ) -> PlatformAdapter:
        """An adapter on the private launchd."""
        from duende.adapters.launchd.adapter import LaunchdAdapter

        place = folder / "jobs"
        place.mkdir(exist_ok=True)
        return LaunchdAdapter(
            launchctl=self.host.launchctl,
            domain=self.host.domain,
            plist_dir=str(self.host.plist_dir),
            timeout=timeout,
            runtime_dir=str(place),
            state_dir=str(place),
            keep=keep,
        )

    def table(self, table: dict[str, Any], folder: Path) -> dict[str, Any]:
        """With the launchctl that speaks to it."""
        platform = dict(table.get("platform", {}))
        told = {
            "command": list(self.host.launchctl),
            "domain": self.host.domain,
            "plist_dir": str(self.host.plist_dir),
        }
        platform["launchd"] = {**told, **platform.get("launchd", {})}
        return {**table, "platform": platform}

    @property
    def asked_for(self) -> str:
        """Its own name."""
        return self.name
