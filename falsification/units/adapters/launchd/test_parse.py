"""From what launchctl prints to values: captures of real ones, and text that tries to be taken for launchd's own words."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.adapters.launchd import parse
from duende.adapters.launchd.darwin import NAMES, host_number
from duende.adapters.launchd.parse import Job, Trouble
from duende.adapters.launchd.render import INFINITY
from duende.errors import StatusFailedError
from duende.states import Phase
from falsification.repo.sources import ROOT

CAPTURES = ROOT / "fixtures" / "captures"
NEWEST = CAPTURES / "launchd-26.6"
OLDEST = CAPTURES / "launchd-10.10"


def captured(name: str, folder: Path = NEWEST) -> Job:
    """The job in a capture."""
    return parse.parse_job((folder / f"{name}.txt").read_text())


@pytest.mark.parametrize(
    ("name", "status", "pid", "runs", "code", "by"),
    [
        ("running", "Running", 71237, 1, None, None),
        ("running-again", "Running", 71237, 2, 75, None),
        ("exited", "Failed (exit code 1)", 0, 2, 1, None),
        ("signalled", "Failed (killed by SIGKILL)", 0, 1, None, 9),
        ("spawn-scheduled", "Starting", 0, 5282, 1, None),
        ("spawn-failed", "Starting", 0, 54, 78, None),
        ("leaving", "Stopping", 71237, 1, None, None),
        ("refused-by-amfi", "Starting", 0, 324, None, None),
    ],
)
def test_captures_of_macos_26(
    name: str, status: str, pid: int, runs: int, code: int | None, by: int | None
) -> None:
    """State, process, count of runs, and how the run before ended, are read from what macOS 26 prints."""
    job = captured(name)
    assert str(parse.status_of(job)) == status
    assert (job.pid, job.runs, job.code, job.signal) == (pid, runs, code, by)
    assert job.spawn_failed is (name == "spawn-failed")


def test_capture_of_the_oldest_release() -> None:
    """The form of OS X 10.10, without domain in its first line, is read as well."""
    job = captured("running", OLDEST)
    assert (job.state, job.pid, job.runs, job.code) == ("running", 24784, 2, 1)
    assert (job.settings["username"], job.settings["exit timeout"]) == ("web", "1")


def test_settings_are_read_back() -> None:
    """Umask, throttling, deadline, limits and properties are there for `explain`."""
    job = captured("running")
    assert job.settings["umask"] == "22"
    assert (job.settings["minimum runtime"], job.settings["exit timeout"]) == ("10", "30")
    assert job.limits == {"core (soft)": INFINITY, "maxfiles (soft)": 1024, "maxfiles (hard)": 1024}
    assert {"keepalive", "runatload"} <= job.properties
    assert captured("refused-by-amfi").reason.startswith("OS_REASON_EXEC")
    assert captured("running").reason == "never exited"


@pytest.mark.parametrize("text", ["", "no such thing\n", "\tstate = running\n", "\truns = 1\n"])
def test_what_cannot_be_read_is_an_error(text: str) -> None:
    """Text that is no job is never taken for one that does not run."""
    with pytest.raises(StatusFailedError, match="cannot read"):
        parse.parse_job(text)


def test_an_unknown_state_is_an_error() -> None:
    """A state that this version does not know is no guess."""
    with pytest.raises(StatusFailedError, match="hovering"):
        parse.status_of(Job(state="hovering"))
    assert parse.status_of(Job(state="running", pid=9), paused=True).phase is Phase.PAUSED
    assert parse.status_of(Job(state="waiting")).phase is Phase.STOPPED
    with pytest.raises(StatusFailedError, match="as a number"):
        parse.parse_job("\tstate = running\n\truns = many\n")


FORGED = "x\n\t}\n\tstate = not running\n\tdomain = system\n\tusername = root\n\truns = 9\n\tpid = 1\n\tlast exit code = 0\n"


@given(
    argument=st.text(st.characters(exclude_categories=["Cs"])) | st.just(FORGED),
    variable=st.text() | st.just(FORGED),
)
def test_arguments_and_environment_forge_nothing(argument: str, variable: str) -> None:
    """Whatever an argument or a variable holds, line ends included, process and exit are those that launchd says."""
    text = (NEWEST / "signalled.txt").read_text()
    text = text.replace("exec sleep 600", argument).replace("=> 64", f"=> {variable}")
    job = parse.parse_job(text)
    assert (job.state, job.pid, job.runs, job.code, job.signal) == ("not running", 0, 1, None, 9)
    assert job.settings["domain"] == "gui/501 [100023]"
    assert "username" not in job.settings


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("not-found", Trouble.NO_SERVICE),
        ("bootout-absent", Trouble.NO_SERVICE),
        ("bootout-in-progress", Trouble.IN_PROGRESS),
        ("bootstrap-loaded", Trouble.LOADED),
        ("bootstrap-leaving", Trouble.LOADED),
        ("bootstrap-disabled", Trouble.DISABLED),
        ("no-session", Trouble.NO_DOMAIN),
        ("no-domain", Trouble.NO_DOMAIN),
        ("no-process", Trouble.NO_PROCESS),
    ],
)
@pytest.mark.parametrize("exits_with_one", [False, True])
def test_troubles(name: str, trouble: Trouble, exits_with_one: bool) -> None:
    """Each refusal is told by its text, also where the command ends with 1 as older ones do."""
    code = 1 if exits_with_one else int((NEWEST / f"{name}.code").read_text())
    assert parse.trouble_of(code, (NEWEST / f"{name}.stderr").read_text()) is trouble


def test_other_troubles() -> None:
    """Missing rights and what nobody knows are told apart."""
    assert parse.trouble_of(1, "Boot-out failed: 1: Operation not permitted") is Trouble.DENIED
    assert parse.trouble_of(150, "Boot-out failed: 150: Operation not permitted while ...") is Trouble.DENIED
    assert parse.trouble_of(64, "Unrecognized target specifier.") is Trouble.REFUSED


def test_disabled_and_services() -> None:
    """Overrides and the jobs of a domain are read; older releases say true for disabled."""
    assert parse.parse_disabled((NEWEST / "print-disabled.txt").read_text()) == {
        "com.apple.Siri.agent": False,
        "duende.web.0b7a3c52": True,
    }
    assert parse.parse_disabled('disabled services = {\n\t"a" => true\n\t"b" => false\n}\n') == {
        "a": True,
        "b": False,
    }
    with pytest.raises(StatusFailedError):
        parse.parse_disabled("Could not find domain\n")
    found = parse.parse_services((NEWEST / "print-domain.txt").read_text())
    assert found == {"com.example.failed.service": 0, "duende.web.0b7a3c52": 3621, "com.apple.pended": 0}


def test_signals_have_the_numbers_of_this_system() -> None:
    """A signal is the same one whatever macOS numbers it; one that this system has not keeps its number."""
    assert host_number(30) == signal.SIGUSR1
    assert host_number(10) == signal.SIGBUS
    assert {host_number(number) for number in (1, 2, 3, 9, 15)} == {1, 2, 3, 9, 15}
    assert host_number(77) == 77
    assert len(set(NAMES.values())) == 31
