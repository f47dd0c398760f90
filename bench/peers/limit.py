"""The limit: a C program that does nothing but vfork, exec, epoll and waitid (`limit.c`)."""

from __future__ import annotations

from typing import ClassVar

from bench.build import compiled, compiler
from bench.peers.base import Peer


class Limit(Peer):
    """Column `C limit`."""

    name: ClassVar[str] = "C limit"
    delay: ClassVar[str] = "none"

    @classmethod
    def missing(cls) -> str:
        """It needs what the tiny daemon needs: a C compiler."""
        return "" if compiler() else "no C compiler"

    @classmethod
    def version(cls) -> str:
        """Its source is in this folder."""
        return "bench/limit.c"

    def prepare(self) -> None:
        """Nothing to write."""

    def command(self) -> list[str]:
        """All on the command line."""
        return [str(compiled("limit")), str(self.n), str(self.tiny), str(self.counter)]
