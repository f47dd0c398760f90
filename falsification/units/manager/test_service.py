"""The manager as a process, started by hand and by the command."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from duende.errors import DuendeError
from duende.kernel.process import read_stat
from duende.manager.client import ManagerClient

PATIENCE = 30.0
FLEET = """
[defaults]
binary_path = "/bin/sh"
args = ["-c", "echo hello; exec sleep 100"]
readiness = { kind = "none", settle = 0.0 }
[[daemon]]
name = "one"
[[daemon]]
name = "two"
autostart = false
"""


def until(look: Callable[[], Any]) -> Any:
    """Look until there is something; a real process is on the other side, so there is nothing to be told by."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            found = look()
        except DuendeError:
            found = None
        if found:
            return found
        time.sleep(0.01)  # between looks at another process
    raise AssertionError("nothing came in time")


class Place:
    """Folders for one manager, and the command to use there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options = ["--state-dir", str(folder / "s"), "--runtime-dir", str(folder / "r")]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the command."""
        # A shell's background job has SIGINT ignored, and so would whatever these tests start (coreutils env, 8.32).
        argv = ["env", "--default-signal=INT", sys.executable, "-m", "duende", *words, *self.options]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *words: str) -> tuple[int, str]:
        """Run the command to its end."""
        process = self.start(*words)
        output, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, output

    def view(self, name: str) -> dict[str, Any]:
        """How a daemon is."""
        with ManagerClient(str(self.folder / "r")) as client:
            found: dict[str, Any] = client.ask("status", name=name)
            return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place whose manager is shut down at the end."""
    made = Place(tmp_path)
    yield made
    try:
        with ManagerClient(str(tmp_path / "r")) as client:
            client.ask("shutdown")
    except DuendeError:
        pass  # none runs any more


def test_a_manager_runs_a_fleet_and_ends_on_term(place: Place, tmp_path: Path) -> None:
    """It starts what is to be started, refuses a second manager, and takes everything along when it ends."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET + '[[daemon]]\nname = "-broken"\n')
    manager = place.start("manager", str(fleet))
    pid = until(lambda: place.view("one")["status"] == "Running" and place.view("one")["pid"])
    assert place.view("two")["status"] == "Created"
    assert until(lambda: (tmp_path / "r" / "one.pid").read_text().strip() == str(pid))
    code, output = place.run("manager", str(fleet))
    assert code == 75
    assert "a manager runs there already" in output
    manager.send_signal(signal.SIGTERM)
    output, _ = manager.communicate(timeout=PATIENCE)
    assert manager.returncode == 0
    assert "-broken" in output
    assert read_stat(pid) is None
    assert not (tmp_path / "r" / "control.sock").exists()


def test_a_manager_without_anything_usable_says_so(place: Place, tmp_path: Path) -> None:
    """A fleet with nothing but mistakes, or none at all, ends with the code of a wrong configuration."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text("nonsense = 1\n")
    assert place.run("manager", str(fleet))[0] == 78
    assert place.run("manager", str(tmp_path / "none.toml"), "--no-keep")[0] == 78


def test_start_brings_up_a_manager(place: Place, tmp_path: Path) -> None:
    """The command starts a manager when there is none, and follows a log while it grows."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET)
    code, output = place.run("start", str(fleet))
    assert code == 0
    assert "one" in output
    until(lambda: "hello" in place.run("logs", "one")[1])
    follower = place.start("logs", "one", "-f")
    assert follower.stdout is not None
    assert "hello" in follower.stdout.readline()
    with open(tmp_path / "s" / "logs" / "one.log", "a", encoding="utf-8") as file:
        file.write("more\n")
    assert "more" in follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=PATIENCE)
    assert follower.returncode == 130
    code, output = place.run("shutdown")
    assert code == 0
    assert "proof" in output


def test_the_next_manager_adopts(place: Place, tmp_path: Path) -> None:
    """A killed manager leaves its daemons; the next one has the same processes."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET)
    first = place.start("manager", str(fleet))
    before = until(lambda: place.view("one")["status"] == "Running" and place.view("one"))
    until(
        lambda: (
            (tmp_path / "s" / "manager.json").exists()
            and str(before["pid"]) in (tmp_path / "s" / "manager.json").read_text()
        )
    )
    first.kill()
    first.wait(PATIENCE)  # its output stays open in the warden, which lives on
    assert first.stdout is not None
    first.stdout.close()
    assert read_stat(before["pid"]) is not None
    second = place.start("manager", str(fleet))
    after = until(lambda: place.view("one")["status"] == "Running" and place.view("one"))
    assert (after["pid"], after["id"]) == (before["pid"], before["id"])
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=PATIENCE)
    assert second.returncode == 0
