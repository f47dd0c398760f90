"""supervisord with one program of n processes, asked over XML-RPC as supervisorctl does."""

from __future__ import annotations

import importlib.util
import sys
import xmlrpc.client
from importlib import metadata
from typing import Any, ClassVar

from bench.peers.base import Peer, PeerError

CONFIG = """\
[supervisord]
nodaemon = true
logfile = /dev/null
logfile_maxbytes = 0
loglevel = critical
pidfile = {folder}/supervisord.pid
childlogdir = {folder}
minfds = 8192
user = root
[unix_http_server]
file = {folder}/control.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:tiny]
command = {tiny} {counter}
process_name = tiny-%(process_num)d
numprocs = {n}
autorestart = true
startsecs = 0
startretries = 1000000
stdout_logfile = NONE
stderr_logfile = NONE
"""
RUNNING = 20
"""supervisor.states.ProcessStates.RUNNING"""


class SupervisordControl:
    """One kept-alive connection, as far as its server keeps it."""

    def __init__(self, path: str) -> None:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, serverurl=f"unix://{path}")
        self._proxy: Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)

    def one(self, index: int) -> None:
        """Ask getProcessInfo."""
        info = self._proxy.supervisor.getProcessInfo(f"tiny:tiny-{index}")
        if info["state"] != RUNNING:
            raise PeerError(f"not running: {info}")

    def all(self) -> int:
        """Ask getAllProcessInfo."""
        return len(self._proxy.supervisor.getAllProcessInfo())

    def close(self) -> None:
        """Hang up."""
        self._proxy("close")()


class Supervisord(Peer):
    """Column `supervisord`."""

    name: ClassVar[str] = "supervisord"
    delay: ClassVar[str] = "startsecs = 0; it looks once a second"

    @classmethod
    def missing(cls) -> str:
        """It comes from PyPI."""
        return (
            "" if importlib.util.find_spec("supervisor") else "no module supervisor (pip install supervisor)"
        )

    @classmethod
    def version(cls) -> str:
        """Of the distribution."""
        return metadata.version("supervisor")

    def prepare(self) -> None:
        """Write supervisord.conf; `user` only silences its warning about running as root."""
        import os

        text = CONFIG.format(folder=self.folder, tiny=self.tiny, counter=self.counter, n=self.n)
        if os.geteuid() != 0:
            text = text.replace("user = root\n", "")
        (self.folder / "supervisord.conf").write_text(text)

    def command(self) -> list[str]:
        """In the foreground."""
        return [
            sys.executable,
            "-m",
            "supervisor.supervisord",
            "-n",
            "-c",
            str(self.folder / "supervisord.conf"),
        ]

    def connect(self) -> SupervisordControl:
        """Its XML-RPC socket."""
        return SupervisordControl(str(self.folder / "control.sock"))
