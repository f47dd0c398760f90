"""s6: s6-svscan over a folder of services, each watched by an s6-supervise of its own.

No logger and no shell: `run` is the daemon itself.
"""

from __future__ import annotations

from typing import ClassVar

from bench.peers.base import Peer, find, package_version

SPARE = 16
"""s6-svscan refuses more services than `-c` says."""


class S6(Peer):
    """Column `s6`. It has no control interface that answers; s6-svstat reads a file."""

    name: ClassVar[str] = "s6"
    delay: ClassVar[str] = "at least 1 s between two starts (fixed)"

    @classmethod
    def missing(cls) -> str:
        """It comes as a Debian package."""
        return "" if find("s6-svscan") and find("s6-supervise") else "no s6-svscan (install the package s6)"

    @classmethod
    def version(cls) -> str:
        """Of the package."""
        return package_version("s6")

    def prepare(self) -> None:
        """One folder per service; the counter's path travels in the environment: `run` gets no arguments."""
        self.service_folders()

    def command(self) -> list[str]:
        """The scanner. TERM makes it end every s6-supervise with its service (s6-svscan, signal section)."""
        return [str(find("s6-svscan")), "-c", str(self.n + SPARE), str(self.folder / "services")]
