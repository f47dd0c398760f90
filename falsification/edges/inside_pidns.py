"""Runs inside a pid namespace of its own, where pids can be made to wrap (/proc/sys/kernel/ns_last_pid); prints one JSON line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from duende.adapters.native.adapter import NativeAdapter  # noqa: E402
from duende.config.model import DaemonConfig, RestartConfig, RestartPolicy  # noqa: E402
from duende.errors import IdentityError, InstanceNotFoundError  # noqa: E402
from duende.signals import Signal  # noqa: E402
from falsification.workbench import alive, request  # noqa: E402

LAST = Path("/proc/sys/kernel/ns_last_pid")
SLEEPER = DaemonConfig(
    name="sleeper", binary_path="sleep", args=("300",), restart=RestartConfig(policy=RestartPolicy.NEVER)
)


async def main(folder: str) -> dict[str, object]:
    """Start across the wrap, then recycle the pid of a daemon that has ended."""
    highest = int(Path("/proc/sys/kernel/pid_max").read_text())
    adapter = NativeAdapter(runtime_dir=folder, state_dir=folder)
    await adapter.prepare()
    before = [await adapter.launch(request(SLEEPER)) for _ in range(5)]
    LAST.write_text(str(highest - 8))
    across = [
        handle
        for handle in await adapter.launch_many([request(SLEEPER) for _ in range(20)])
        if not isinstance(handle, Exception)
    ]
    pids = [handle.pid for handle in (*before, *across)]
    wrapped = any(pid > highest - 100 for pid in pids) and any(pid < 10_000 for pid in pids[5:])
    running = sum(alive(pid) for pid in pids)
    victim = across[0]
    await adapter.kill(victim)
    await adapter.wait(victim)
    adapter.forget([victim.daemon_id])
    stranger = 0
    for _ in range(200):  # others may take the number first; a few tries are enough
        LAST.write_text(str(victim.pid - 1))
        child = os.posix_spawn("/bin/sleep", ["sleep", "300"], {})
        if child == victim.pid:
            stranger = child
            break
        os.kill(child, 9) if child > 1 else None
        os.waitpid(child, 0)
    verdict = (await adapter.verify(victim)).value
    try:
        await adapter.signal(victim, Signal.KILL)
    except (InstanceNotFoundError, IdentityError):
        pass  # refused: that is what should happen
    untouched = stranger == 0 or os.waitid(os.P_PID, stranger, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    await adapter.close()
    return {
        "wrapped": wrapped,
        "recycled": stranger > 0,
        "pids": pids,
        "running": running,
        "verdict": verdict,
        "stranger_alive": untouched,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1]))), flush=True)
