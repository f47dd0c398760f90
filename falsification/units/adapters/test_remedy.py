"""The commands that `duende doctor` gives fit the machine: what is installed, what is PID 1, who asks."""

from __future__ import annotations

import pytest

from duende.adapters.container import probe as container
from duende.adapters.container.detect import Tried
from duende.adapters.container.engine import Runtime
from duende.adapters.contract import ProbeState
from duende.adapters.remedy import NATIVE, Host, steps
from duende.adapters.systemd.probe import no_bus

BOOTED = Host(root=True, booted=True, apt=True, user="root")
CONTAINER = Host(root=True, booted=False, apt=True, user="root")
LAPTOP = Host(root=False, booted=True, apt=True, user="ada")
OTHER = Host(root=False, booted=False, apt=False, user="ada")


@pytest.mark.parametrize(
    ("runtime", "host", "installed", "wanted"),
    [
        (Runtime.DOCKER, BOOTED, True, "systemctl start docker"),
        (Runtime.DOCKER, BOOTED, False, "apt-get install -y docker.io && systemctl start docker"),
        (Runtime.DOCKER, CONTAINER, True, "dockerd &"),
        (Runtime.DOCKER, LAPTOP, False, "sudo apt-get install -y docker.io && sudo systemctl start docker"),
        (Runtime.DOCKER, OTHER, False, "install docker.io && sudo dockerd &"),
        (Runtime.PODMAN, BOOTED, True, "systemctl start podman.socket"),
        (
            Runtime.PODMAN,
            CONTAINER,
            True,
            "mkdir -p /run/x && podman system service --time=0 unix:///run/x/y.sock &",
        ),
        (Runtime.PODMAN, LAPTOP, True, "systemctl --user start podman.socket"),
        (Runtime.PODMAN, OTHER, True, "podman system service --time=0 unix:///run/x/y.sock &"),
        (Runtime.CONTAINERD, CONTAINER, False, "apt-get install -y containerd && containerd &"),
    ],
)
def test_a_runtime_that_is_absent(runtime: Runtime, host: Host, installed: bool, wanted: str) -> None:
    """Installing only what is not installed, starting in the way this machine starts things, as root where that is needed."""
    assert container.remedy(runtime, "/run/x/y.sock", host, installed=installed) == wanted


def test_the_verdict_has_the_remedy() -> None:
    """It names the socket, and keeps what would help."""
    found = container.probe_of(Tried(runtime=Runtime.DOCKER, socket="/run/d.sock", exists=False), "dockerd &")
    assert (found.state, found.remedy) == (ProbeState.ABSENT, "dockerd &")
    assert "/run/d.sock is not there" in found.why


@pytest.mark.parametrize(
    ("host", "user", "why", "wanted"),
    [
        (CONTAINER, False, "systemd is not PID 1", NATIVE),
        (OTHER, True, "systemd is not PID 1", NATIVE),
        (BOOTED, False, "no message bus at /b", "apt-get install -y dbus && systemctl start dbus.socket"),
        (
            LAPTOP,
            True,
            "no message bus at /b",
            "sudo apt-get install -y libpam-systemd dbus-user-session && sudo loginctl enable-linger ada",
        ),
    ],
)
def test_a_bus_that_is_absent(host: Host, user: bool, why: str, wanted: str) -> None:
    """No command makes another program PID 1: then the native adapter is the way."""
    found = no_bus("/b", host, user=user)
    assert found.state is ProbeState.ABSENT
    assert why in found.why
    assert found.remedy == wanted


def test_this_machine_can_be_described() -> None:
    """Whoever asks has a name, or a number; steps leave out what is not needed."""
    assert Host.here().user
    assert steps("", "a", "b") == "a && b"
