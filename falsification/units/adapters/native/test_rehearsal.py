"""Rehearsals of real programs: what is forbidden is named in its order, and nothing is left of them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from duende.adapters.native.rehearsal import Rehearsal, rehearse
from duende.cli import exits
from duende.cli.command import dispatch
from duende.cli.rehearsing import told
from duende.config.model import DaemonConfig, SecurityConfig
from duende.config.show import to_toml
from duende.errors import SpawnError

FORBIDDEN = """
import ctypes, os, socket, subprocess
libc = ctypes.CDLL(None)
socket.socket(socket.AF_UNIX).close()
libc.unshare(0)
libc.unshare(0)
socket.socket(socket.AF_INET).close()
"""
LINGERING = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)"


def program(code: str, *arguments: str, seccomp: str | None = "service", **security: Any) -> DaemonConfig:
    """A Python program under a profile."""
    return DaemonConfig(
        name="web",
        binary_path=sys.executable,
        args=("-c", code, *arguments),
        security=SecurityConfig(seccomp=seccomp, **security),
        shutdown_timeout=5.0,
    )


def test_what_is_forbidden_is_named() -> None:
    """In the order in which it was called first, with its count; what is allowed is not, and the program goes on."""
    seen = rehearse(program(FORBIDDEN + "print('done')"), 20.0)
    assert list(seen.calls.items()) == [("unshare", 2), ("socket", 1)]
    assert seen.exit == "exit code 0"
    assert seen.words == ("done",)
    free = rehearse(program(FORBIDDEN, seccomp="network-service", seccomp_allow=("unshare",)), 20.0)
    assert free.calls == {}
    denied = rehearse(
        program("import os; os.getpriority(0, 0)", seccomp=None, seccomp_deny=("getpriority",)), 20.0
    )
    assert denied.calls == {"getpriority": 1}


def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    """What it started, in a session of its own too, ends with the rehearsal."""
    note = tmp_path / "pid"
    code = f"{LINGERING}; child = subprocess.Popen(['sleep', '600']); open(sys.argv[1], 'w').write(str(child.pid)); time.sleep(600)"
    seen = rehearse(program(code, str(note)), 1.0)
    assert seen.exit == ""
    with pytest.raises(ProcessLookupError):
        os.pidfd_open(int(note.read_text()))


def test_a_class_says_that_it_is_ready() -> None:
    """It is run as a daemon is, and told to end as one."""
    config = DaemonConfig(
        name="counter",
        daemon="duende.examples.daemon:CounterDaemon",
        security=SecurityConfig(seccomp="service"),
    )
    seen = rehearse(config, 3.0)
    assert seen.calls == {}
    assert seen.ready_after is not None


def test_what_cannot_be_started(tmp_path: Path) -> None:
    """There is no such program, or no such folder."""
    missing = DaemonConfig(
        name="web", binary_path=str(tmp_path / "absent"), security=SecurityConfig(seccomp="service")
    )
    with pytest.raises(SpawnError, match="absent"):
        rehearse(missing, 1.0)
    nowhere = DaemonConfig(
        name="web",
        binary_path=sys.executable,
        working_dir=str(tmp_path / "nowhere"),
        security=SecurityConfig(seccomp="service"),
    )
    with pytest.raises(SpawnError, match="nowhere"):
        rehearse(nowhere, 1.0)


def test_a_rehearsal_in_words() -> None:
    """The first missing call, what it would have done, and how to allow them all."""
    seen = Rehearsal(calls={"bpf": 2, "socket": 1}, ready_after=0.2, exit="exit code 1", words=("sorry",))
    lines = told(program("", seccomp_allow=("mount",)), seen)
    assert lines[0].endswith("forbids 2 of its system calls; the first, bpf, would have ended it by SIGSYS")
    assert any("network-service" in line for line in lines)
    assert any(line.endswith('seccomp_allow = ["mount", "bpf"]') for line in lines)
    assert lines[-1] == "  | sorry"
    mild = told(program("", seccomp_action="errno"), seen)
    assert mild[0].endswith("bpf, would have failed with EPERM")
    assert told(program(""), Rehearsal(calls={})) == [
        "web: security.seccomp = 'service' forbids nothing of what it did"
    ]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 1 where something is forbidden, says so as JSON too, and refuses what is of no use."""
    file = tmp_path / "web.toml"
    file.write_text(to_toml(program("import ctypes; ctypes.CDLL(None).unshare(0)")), encoding="utf-8")
    assert dispatch(["rehearse", str(file), "--seconds", "20"]) == exits.FAILED
    assert "the first, unshare," in capsys.readouterr().out
    assert dispatch(["rehearse", str(file), "--seconds", "20", "--json"]) == exits.FAILED
    assert json.loads(capsys.readouterr().out)["result"]["web"]["calls"] == {"unshare": 1}
    file.write_text(to_toml(program("pass")), encoding="utf-8")
    assert dispatch(["rehearse", str(file), "--seconds", "20"]) == exits.OK
    assert dispatch(["rehearse", str(file), "--seconds", "0"]) == exits.FAILED
    assert "no time for a rehearsal" in capsys.readouterr().err
    file.write_text('name = "web"\nbinary_path = "/bin/true"\n', encoding="utf-8")
    assert dispatch(["rehearse", str(file)]) == exits.FAILED
    assert "nothing to rehearse" in capsys.readouterr().err


def test_a_deployment_is_stopped_by_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is started where a profile would end a daemon, and the first missing call is named."""
    file = tmp_path / "web.toml"
    file.write_text(to_toml(program("import ctypes; ctypes.CDLL(None).unshare(0)")), encoding="utf-8")
    folders = ["--runtime-dir", str(tmp_path / "r"), "--state-dir", str(tmp_path / "s")]
    assert dispatch(["deploy", str(file), "--rehearse", "20", *folders]) == exits.FAILED
    said = capsys.readouterr().err
    assert "unshare" in said
    assert "seccomp_allow" in said
    assert not (tmp_path / "r").exists()
