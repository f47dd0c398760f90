"""Run pytest as a child: over the attempts of a tree, hearing of each start and end, with a deadline for the
whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from falsification.kit.suite import KIT_ROOT, Suite
from fixtures.images import store

CONFIG = KIT_ROOT / "falsification" / "kit" / "attempts.ini"
TERM_GRACE_S = 10.0
"""Seconds an interrupted pytest gets to clean up before it is killed."""

Heard = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a run of pytest ended."""

    code: int
    """Its exit code; negative for a signal."""
    output: str
    """Everything it printed."""
    expired: bool
    """Whether it was ended because its time was up."""

    @property
    def refused(self) -> bool:
        """Whether pytest did not get to run attempts: usage, internal or collection error, or nothing
        collected.
        """
        return self.code not in {0, 1}


async def run_pytest(
    suite: Suite,
    arguments: Sequence[str],
    *,
    log: Path,
    deadline: float,
    heard: Heard | None = None,
    env: dict[str, str] | None = None,
) -> Finished:
    """Run pytest with the plugin in *suite*'s root for at most *deadline* seconds; what it prints goes to
    *log*.

    *heard* is called with each message of the plugin.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="df-", dir="/tmp") as folder, log.open("wb") as stream:
        feed = f"{folder}/feed"
        command = [
            sys.executable,
            "-m",
            "falsification.kit.sweep",
            sys.executable,
            "-m",
            "pytest",
            "-c",
            str(CONFIG),
            "--rootdir",
            str(suite.root),
            "-p",
            "falsification.kit.plugin",
        ]
        command += ["--suite", str(suite.path), "--feed", feed, *arguments]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(feed)
            receiver.setblocking(False)
            loop = asyncio.get_running_loop()
            loop.add_reader(receiver, _drain, receiver, heard)
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    cwd=suite.root,
                    env=environment(suite, env),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                )
                expired = await _wait(process, deadline)
                _drain(receiver, heard)
            finally:
                loop.remove_reader(receiver)
    output = await asyncio.to_thread(log.read_text, encoding="utf-8", errors="replace")
    return Finished(code=process.returncode or 0, output=output, expired=expired)


def environment(suite: Suite, extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a run: the suite's root comes first on PYTHONPATH, so that children import the same
    product.
    """
    paths = dict.fromkeys([str(suite.root), str(KIT_ROOT)])
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "NOTIFY_SOCKET"))
    }
    # Only the plugins named on the command line: quicker to start, and the same whatever else is installed.
    fixed = {"PYTHONPATH": os.pathsep.join(paths), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    fixed[store.CACHE] = str(
        store.folder()
    )  # attempts have an XDG_CACHE_HOME of their own, and images take minutes
    return {**inherited, **fixed, **(extra or {})}


def _drain(receiver: socket.socket, heard: Heard | None) -> None:
    while True:
        try:
            message = receiver.recv(65536)
        except BlockingIOError:
            return
        if heard is not None:
            heard(json.loads(message))


async def _wait(process: asyncio.subprocess.Process, deadline: float) -> bool:
    """Wait for *process*; interrupt it when time is up, kill it when that does not help.

    Whether time was up.
    """
    try:
        await asyncio.wait_for(process.wait(), deadline)
        return False
    except TimeoutError:
        return True
    finally:
        if process.returncode is None:  # time is up, or this run is being cancelled
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), TERM_GRACE_S)
            except TimeoutError:
                process.terminate()  # kills pytest, and sweeps
                try:
                    await asyncio.wait_for(process.wait(), TERM_GRACE_S)
                except TimeoutError:
                    process.kill()
                    await process.wait()
