"""Whether launchd can be used, on hosts that have it and hosts that have not."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from duende.adapters.contract import Probe, ProbeState, SpawnRequest
from duende.adapters.launchd.adapter import LaunchdAdapter
from duende.adapters.launchd.launchctl import Launchctl
from duende.adapters.launchd.probe import no_launchctl
from duende.config.model import DaemonConfig
from duende.errors import NotSupportedError, PlatformTimeoutError
from falsification.units.adapters.launchd.test_parse import NEWEST
from falsification.units.support import run


def scripted(tmp_path: Path, script: str) -> tuple[str, ...]:
    """A launchctl that is a shell script."""
    path = tmp_path / "launchctl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return (str(path),)


def probed(command: tuple[str, ...], tmp_path: Path, domain: str = "gui/501") -> Probe:
    """What an adapter says of such a launchctl."""
    return run(LaunchdAdapter(launchctl=command, domain=domain, runtime_dir=str(tmp_path)).probe())


def test_a_launchd_that_answers(tmp_path: Path) -> None:
    """It is usable, with its version."""
    found = probed(scripted(tmp_path, f"cat {NEWEST}/version.txt"), tmp_path)
    assert found.state is ProbeState.USABLE
    assert (found.version, "gui/501" in found.why) == ("7.0.0", True)


def test_a_domain_that_is_not_there(tmp_path: Path) -> None:
    """Without a session at the screen there is no such domain, and the remedy names the others."""
    found = probed(scripted(tmp_path, f"cat {NEWEST}/no-domain.stderr >&2; exit 112"), tmp_path)
    assert found.state is ProbeState.ABSENT
    assert "user/UID" in found.remedy


def test_elsewhere_it_is_absent() -> None:
    """Linux has no launchd, and says what to use instead; a macOS without launchctl is unwell."""
    found = no_launchctl("launchctl", "linux")
    assert (found.state, found.why) == (
        ProbeState.ABSENT,
        "launchd is a part of macOS, and this is linux",
    )
    assert "--adapter native" in found.remedy
    assert no_launchctl("launchctl", "darwin").state is ProbeState.UNHEALTHY


def test_without_launchctl_nothing_is_started(tmp_path: Path) -> None:
    """A start is refused before anything is written."""
    home = tmp_path / "home"
    home.mkdir()
    adapter = LaunchdAdapter(
        launchctl="/no/such/launchctl",
        plist_dir=str(home / "p"),
        runtime_dir=str(home / "r"),
        state_dir=str(home / "s"),
    )
    config = DaemonConfig(name="web", binary_path="/bin/sh")
    with pytest.raises(NotSupportedError, match="no /no/such/launchctl here"):
        run(adapter.launch(SpawnRequest(daemon_id="0b7a3c52-0000-4000-8000-000000000001", config=config)))
    assert list(home.iterdir()) == []


def test_a_launchctl_that_hangs_is_given_up(tmp_path: Path) -> None:
    """A call that is not answered is an error within its deadline, and its process is gone."""
    hanging = Launchctl(scripted(tmp_path, "exec sleep 60"), timeout=0.2)

    async def body() -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(PlatformTimeoutError, match="launchctl print"):
            await hanging.run("print", "system")
        assert asyncio.get_running_loop().time() - began < 5.0

    run(body())


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is found")
def test_a_program_that_cannot_run() -> None:
    """Asking a launchctl that is not there says so."""
    with pytest.raises(NotSupportedError, match="part of macOS"):
        run(Launchctl(("/no/such/launchctl",)).run("version"))
