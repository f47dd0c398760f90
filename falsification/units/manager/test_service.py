"""The manager as a process, started by hand and by the command."""

from __future__ import annotations

import os
import select
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
    assert [after[key] for key in ("pid", "id", "since")] == [before[key] for key in ("pid", "id", "since")]
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=PATIENCE)
    assert second.returncode == 0


def killed(place: Place) -> None:
    """SIGKILL the manager that was started in the background, and wait until it is gone."""
    with ManagerClient(str(place.folder / "r")) as client:
        pid = client.ask("ping")["pid"]
        held = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(held, signal.SIGKILL)
        poller = select.poll()
        poller.register(held, select.POLLIN)
        assert poller.poll(PATIENCE * 1000)
    finally:
        os.close(held)


def test_what_was_started_by_file_survives_its_manager(place: Place, tmp_path: Path) -> None:
    """After a SIGKILL the next manager has the same process, and the same command starts no second one."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET)
    assert place.run("start", str(fleet))[0] == 0
    before = place.view("one")
    killed(place)
    code, output = place.run("start", str(fleet))
    assert (code, place.view("one")["pid"], place.view("one")["id"]) == (0, before["pid"], before["id"]), (
        output
    )
    assert place.view("two")["status"] == "Created"
    assert place.run("stop", "one")[0] == 0
    assert read_stat(before["pid"]) is None
    assert place.run("forget", "one")[0] == 0
    assert place.run("status", "one")[0] == 4


def test_a_manager_killed_while_it_starts_a_daemon_loses_none(place: Place, tmp_path: Path) -> None:
    """Whenever it dies, of each daemon there is one process afterwards, and the next manager has it."""
    marks = tmp_path / "marks"
    marks.mkdir()
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET.replace("echo hello", f"touch {marks}/$$"))
    for moment in range(6):
        manager = place.start("manager", str(fleet))
        if moment:
            until((tmp_path / "r" / "control.sock").exists)
        if moment > 1:  # from before the start of the daemon until after it is on record
            until((tmp_path / "s" / ("manager.json", "definitions.json")[moment % 2]).exists)
        manager.kill()
        manager.wait(PATIENCE)
        assert manager.stdout is not None
        manager.stdout.close()
    last = place.start("manager", str(fleet))
    view = until(lambda: place.view("one")["status"] == "Running" and place.view("one"))
    until((marks / str(view["pid"])).exists)  # Running is said before the shell has run its first command
    living = [int(path.name) for path in marks.iterdir() if read_stat(int(path.name)) is not None]
    assert living == [view["pid"]]
    last.send_signal(signal.SIGTERM)
    last.communicate(timeout=PATIENCE)


def test_what_ended_while_no_manager_was_there_is_told(place: Place, tmp_path: Path) -> None:
    """The exit code of a daemon that ends meanwhile is kept for the next manager, and finished stays finished."""
    fleet = tmp_path / "fleet.toml"
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    once = f'[[daemon]]\nname = "once"\nbinary_path = "/bin/sh"\nargs = ["-c", "read x < {gate}; exit 7"]\nrestart = "never"\n'
    fleet.write_text(once + 'readiness = { kind = "none", settle = 0.0 }\n')
    assert place.run("start", str(fleet))[0] == 0
    pid = place.view("once")["pid"]
    until(lambda: str(pid) in (tmp_path / "s" / "manager.json").read_text())
    killed(place)
    gate.write_text("go\n")
    until(lambda: read_stat(pid) is None)
    for _ in range(2):
        second = place.start("manager")
        view = until(lambda: place.view("once")["status"] != "Running" and place.view("once"))
        assert view["pid"] == 0
        assert view["status"] in ("Failed", "Created")
        if view["status"] == "Failed":
            assert view["exit_code"] == 7
            until(lambda: '"ended":true' in (tmp_path / "s" / "manager.json").read_text())
        second.kill()
        second.communicate(timeout=PATIENCE)


def test_what_left_the_fleet_file_is_not_lost(place: Place, tmp_path: Path) -> None:
    """A daemon that runs though its file has it no more is shown with a remark; one that changed is replaced."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET)
    first = place.start("manager", str(fleet))
    before = until(lambda: place.view("one")["status"] == "Running" and place.view("one"))
    until(lambda: str(before["pid"]) in (tmp_path / "s" / "manager.json").read_text())
    until((tmp_path / "s" / "definitions.json").exists)
    first.kill()
    first.wait(PATIENCE)  # its output stays open in the warden, which lives on
    assert first.stdout is not None
    first.stdout.close()
    fleet.write_text(FLEET.replace('"one"', '"three"'))
    second = place.start("manager", str(fleet))
    view = until(lambda: place.view("one"))
    assert view["pid"] == before["pid"]
    assert "no longer in" in view["note"]
    assert until(lambda: place.view("three")["status"] == "Running")
    second.send_signal(signal.SIGTERM)
    output, _ = second.communicate(timeout=PATIENCE)
    assert "no longer in" in output
    assert read_stat(before["pid"]) is None
