"""runit: runsvdir over a folder of services, each watched by a runsv of its own.

No logger and no shell: `run` is the daemon itself.
"""

from __future__ import annotations

import signal
from typing import ClassVar

from bench.peers.base import Peer, find, package_version


class Runit(Peer):
    """Column `runit`. It has no control interface that answers; `sv status` reads a file."""

    name: ClassVar[str] = "runit"
    delay: ClassVar[str] = "1 s after a run of less than 1 s, else none (fixed)"
    stop_signal: ClassVar[int] = signal.SIGHUP
    """runsvdir(8): HUP sends TERM to every runsv, each of which ends its service and itself."""

    @classmethod
    def missing(cls) -> str:
        """It comes as a Debian package."""
        return "" if find("runsvdir") and find("runsv") else "no runsvdir (install the package runit)"

    @classmethod
    def version(cls) -> str:
        """Of the package."""
        return package_version("runit")

    def prepare(self) -> None:
        """One folder per service; the counter's path travels in the environment: `run` gets no arguments."""
        self.service_folders()

    def command(self) -> list[str]:
        """The supervisor of supervisors."""
        return [str(find("runsvdir")), str(self.folder / "services")]
