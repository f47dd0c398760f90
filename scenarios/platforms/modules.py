"""Daemons as WebAssembly modules under a private WOS kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from duende.adapters.contract import PlatformAdapter
from fixtures.runtimes.wos import Wos
from scenarios.platforms.base import TIMEOUT, Platform


class Modules(Platform):
    """Each daemon is a process of the kernel, and none of this host: pids say nothing outside."""

    name = "wos"

    def __init__(self, kernel: Wos) -> None:
        self.kernel = kernel
        """The private kernel, which can be made to suffer by a scenario that has it alone."""

    @property
    def api(self) -> Path:
        """The kernel's socket."""
        return self.kernel.socket

    def known(self) -> list[str]:
        """Its processes."""
        return self.kernel.processes()

    def adapter(
        self, folder: Path, *, keep: bool, through: Path | None = None, timeout: float = TIMEOUT
    ) -> PlatformAdapter:
        """An adapter on the private kernel; it boots none, as that would be nobody's."""
        from duende.adapters.wos.adapter import WosAdapter

        home = str(through.parent if through is not None else self.kernel.home)
        return WosAdapter(self.kernel.command, home=home, timeout=timeout, boot=False, keep=keep)

    def table(self, table: dict[str, Any], folder: Path) -> dict[str, Any]:
        """With the run's folder, and what a daemon that serves and keeps needs to be allowed."""
        platform = dict(table.get("platform", {}))
        given = {"capabilities": ["net", "fs:read", "fs:write"], "folders": [str(folder)]}
        return {**table, "platform": {**platform, "wos": {**given, **platform.get("wos", {})}}}

    @property
    def environment(self) -> dict[str, str]:
        """The folder of its kernel."""
        return self.kernel.variables

    @property
    def asked_for(self) -> str:
        """Its own name."""
        return self.name
