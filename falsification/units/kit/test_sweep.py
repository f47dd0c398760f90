"""Nothing outlives a run, whatever it made of itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

LEAVER = """
import os, signal, subprocess, sys, time
folder = sys.argv[1]
for number in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(f"{folder}/{number}", "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)
while len(os.listdir(folder)) < 3:
    time.sleep(0.01)
{end}
"""
PATIENCE = 30.0


def _sweep(folder: Path, end: str) -> subprocess.Popen[str]:
    script = LEAVER.replace("{end}", end)
    command = [sys.executable, "-m", "falsification.kit.sweep", sys.executable, "-c", script, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _alive(folder: Path) -> list[int]:
    pids = [int(path.read_text() or 0) for path in folder.iterdir()]
    return [pid for pid in pids if pid > 1 and os.path.exists(f"/proc/{pid}")]


def test_daemons_that_were_left_are_ended(tmp_path: Path) -> None:
    """Detached grandchildren that ignore TERM are gone, told by name, and the exit code is the command's."""
    with _sweep(tmp_path, "sys.exit(7)") as process:
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 7
    assert "swept 3 processes" in output
    assert len(list(tmp_path.iterdir())) == 3
    assert _alive(tmp_path) == []


def test_a_run_that_must_end_takes_all_with_it(tmp_path: Path) -> None:
    """SIGTERM ends a command that ignores it, and what it left."""
    with _sweep(tmp_path, "signal.signal(15, 1); signal.signal(2, 1); time.sleep(600)") as process:
        deadline = time.monotonic() + PATIENCE
        while len([path for path in tmp_path.iterdir() if path.read_text()]) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + 9
    assert _alive(tmp_path) == []


def test_nothing_left_is_nothing_said() -> None:
    """A clean run prints nothing of its own."""
    command = [sys.executable, "-m", "falsification.kit.sweep", "/bin/true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, "")
