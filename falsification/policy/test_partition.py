"""An attempt on a network that is cut: two network namespaces of its own, a daemon in one and its peer in the other."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from duende.config.model import DaemonConfig
from duende.config.show import to_toml
from duende.states import Phase
from falsification.kit import Trial, attempt
from falsification.surroundings import THERE, command, namespaces
from falsification.workbench import ROOT, adapter_for, never, request
from fixtures import partitioned

PORT = 4711
SERVER = """
import socketserver, sys
class Pong(socketserver.StreamRequestHandler):
    def handle(self):
        if self.rfile.readline() == b"ping\\n":
            self.wfile.write(b"pong\\n")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
with Server(("0.0.0.0", int(sys.argv[1])), Pong) as server:
    server.serve_forever()
"""
REACH = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()"
CUT = 3.0
"""Seconds of the partition."""


def reaches(name: str) -> bool:
    """Whether a connection to the peer can be made from a namespace."""
    line = ["ip", "netns", "exec", name, sys.executable, "-c", REACH, THERE, str(PORT)]
    return subprocess.run(line, capture_output=True, check=False, timeout=30).returncode == 0


@attempt(
    "F106",
    timeout=90,
    saboteurs=["retry-gives-up-at-once", "breaker-never-recovers", "retry-lets-the-error-through-wrapped"],
)
async def test_a_partition_is_survived(trial: Trial) -> None:
    """Cut off from its peer a daemon handles the errors, retries, opens its circuit, does not crash, and goes on once the network is back."""
    trial.situation("the network was cut, and that was proven")
    trial.situation("calls failed while it was cut", at_least=3)
    ours, theirs = namespaces(trial)
    adapter = await adapter_for(trial)

    async def launch(name: str, inside: str, *argv: str) -> Any:
        config = never(
            DaemonConfig(
                name=name,
                binary_path="ip",
                args=("netns", "exec", inside, sys.executable, *argv),
                env={"PYTHONPATH": str(ROOT)},
            )
        )
        return await adapter.launch(request(config))

    await launch("peer", theirs, "-c", SERVER, str(PORT))
    await trial.until(lambda: reaches(ours), within=15, what="the peer answers")
    notes = trial.tmp / "notes.json"
    target = f"{Path(partitioned.__file__).resolve()}:Caller"
    settings = {"peer": THERE, "port": PORT, "notes": str(notes)}
    file = trial.tmp / "caller.toml"
    file.write_text(to_toml(DaemonConfig(name="caller", daemon=target, settings=settings)), encoding="utf-8")
    daemon = await launch("caller", ours, "-m", "duende", "run", target, "--config", str(file))

    def counts() -> dict[str, int]:
        return json.loads(notes.read_text()) if notes.exists() else {"ok": 0}

    await trial.until(lambda: counts()["ok"] >= 5, within=20, what="the daemon talks to its peer")
    before = counts()
    command("ip", "netns", "exec", ours, "iptables", "-A", "OUTPUT", "-d", THERE, "-j", "DROP")
    trial.reached("the network was cut, and that was proven", not reaches(ours))
    cut = time.monotonic()
    await trial.until(lambda: time.monotonic() - cut > CUT, within=CUT + 10, what="the partition lasts")
    during = counts()
    trial.reached("calls failed while it was cut", during["failed"] + during["refused"])
    trial.check(
        during["tries"] - before["tries"] > during["failed"],
        f"failed calls are tried again: {before} {during}",
    )
    trial.check(
        during["trips"] >= 1 and during["refused"] > 0,
        f"the circuit opened, and calls were refused at once: {during}",
    )
    alive = await adapter.status(daemon)
    trial.check(alive.phase is Phase.RUNNING, f"it did not crash: {alive}")
    command("ip", "netns", "exec", ours, "iptables", "-D", "OUTPUT", "-d", THERE, "-j", "DROP")
    healed = time.monotonic()
    await trial.until(
        lambda: counts()["ok"] >= during["ok"] + 10,
        within=10,
        what="it talks to its peer again",
        claimed=True,
    )
    after = counts()
    trial.check(after["pid"] == before["pid"], f"the same process all along: {before['pid']}, {after['pid']}")
    trial.figure("failed or refused calls", after["failed"] + after["refused"], unit="calls")
    trial.figure("tries while cut", during["tries"] - before["tries"], unit="tries")
    trial.figure("healed until ten answers", 1000 * (time.monotonic() - healed), unit="ms")
