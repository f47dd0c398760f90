"""What a Python daemon's start costs, paired with bare interpreters so that a noisy machine is noisy for
both.

    python bench/start_cost.py [ROUNDS]

Each figure is the time from just before exec to a datagram of the child, in milliseconds.
"""

from __future__ import annotations

import compileall
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SAY = "import socket as s; s.socket(s.AF_UNIX, s.SOCK_DGRAM).sendto(b'READY=1', {path!r})"
DAEMON = "duende.examples.daemon:CounterDaemon"
HOST = (
    "import sys; sys.path.insert(0, {root!r})\n"
    "from duende.host.main import main; sys.exit(main(sys.argv[1:]))"
)
DEADLINE = 10.0


def commands(path: str, root: str) -> dict[str, list[str]]:
    """The starts that are compared."""
    python = sys.executable
    config = f'{{"name":"counter","daemon":"{DAEMON}"}}'
    return {
        "bare asyncio (-I -S)": [python, "-I", "-S", "-c", "import asyncio\n" + SAY.format(path=path)],
        "asyncio with site": [python, "-c", "import asyncio\n" + SAY.format(path=path)],
        "asyncio and msgspec with site": [python, "-c", "import asyncio, msgspec\n" + SAY.format(path=path)],
        "duende run": [python, "-c", HOST.format(root=root), DAEMON, "--config-json", config],
    }


def once(command: list[str], path: str, listener: socket.socket) -> float:
    """Milliseconds until the child of *command* says READY=1; the child is ended afterwards."""
    began = time.perf_counter()
    child = subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": path}, stdout=subprocess.DEVNULL)
    try:
        while b"READY=1" not in listener.recv(4096):
            pass
        return (time.perf_counter() - began) * 1e3
    finally:
        child.kill()
        child.wait()


def import_cost(rounds: int, root: str) -> float:
    """Median milliseconds of `import duende` inside an interpreter that is up."""
    code = f"import sys, time; sys.path.insert(0, {root!r}); began = time.perf_counter(); import duende"
    code += "; print(time.perf_counter() - began)"
    runs = (
        subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True)
        for _ in range(rounds)
    )
    return statistics.median(float(run.stdout) for run in runs) * 1e3


def main(rounds: int) -> None:
    """Print the medians, and the paired difference to a bare interpreter with asyncio."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # Installers compile; a checkout under PYTHONDONTWRITEBYTECODE would be compiled anew in every start.
    compileall.compile_dir(os.path.join(root, "duende"), quiet=1)
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
    ):
        path = os.path.join(folder, "notify")
        listener.bind(path)
        listener.settimeout(DEADLINE)
        starts = commands(path, root)
        taken: dict[str, list[float]] = {name: [] for name in starts}
        for _ in range(rounds):
            for name, command in starts.items():
                taken[name].append(once(command, path, listener))
    base = taken["bare asyncio (-I -S)"]
    for name, values in taken.items():
        over = statistics.median(value - bare for value, bare in zip(values, base, strict=True))
        print(f"{name:32s} median {statistics.median(values):6.1f} ms   over bare asyncio {over:+6.1f} ms")
    print(f"{'import duende':32s} median {import_cost(rounds, root):6.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
