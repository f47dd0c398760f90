"""The contract of a platform, and the native one, which adds nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from duende.adapters.contract import PlatformAdapter

LEVELS = {
    "native": "process",
    "systemd": "machine",
    "docker": "container",
    "podman": "container",
    "wos": "process",
    "launchd": "emulated",
    "pepita": "machine",
}
"""The adapters that scenarios run on, and the evidence level of a run on each: design.md, section 5."""


TIMEOUT = 10.0
"""Seconds for one call to a runtime: the adapters' own default."""


class Platform:
    """Where the daemons of one run live, seen from the manager and from an observer outside.

    Paths are the same inside and outside: the folder of the run, this project and this interpreter lie where they
    lie here. A process is found from outside by its pid and pid namespace (`look.outside`), or by the reaper's
    mark in its environment.
    """

    name: str

    @property
    def level(self) -> str:
        """The evidence level of what is seen there."""
        return LEVELS[self.name]

    @property
    def base(self) -> Path | None:
        """Where the folder of a run must be made, so that daemons can write into it; None for anywhere."""
        return None

    @property
    def api(self) -> Path | None:
        """The Unix socket on which its runtime is asked for things; None where nobody is."""
        return None

    def adapter(
        self, folder: Path, *, keep: bool, through: Path | None = None, timeout: float = TIMEOUT
    ) -> PlatformAdapter | None:
        """An adapter for a manager in this process; None for the manager's own.

        *through* is another socket than `api`, which leads there; *timeout* the seconds for each call.
        """
        return None

    def known(self) -> list[str]:
        """What its runtime knows of daemons: names of units or containers, in whatever state."""
        return []

    def table(self, table: dict[str, Any], folder: Path) -> dict[str, Any]:
        """The daemon's table, so that it can be run there."""
        return table

    @property
    def environment(self) -> dict[str, str]:
        """What a manager in a process of its own must be told to find the runtime."""
        return {}

    @property
    def asked_for(self) -> str | None:
        """What `platform.adapter` says in the tables of a manager in a process of its own."""
        return None


class Native(Platform):
    """Processes of this host."""

    name = "native"
