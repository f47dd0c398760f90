"""Detection is a pure function of a view of the host."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from duende.adapters import choose
from duende.adapters.choose import HostView, detect
from duende.adapters.contract import DaemonHandle, Platform
from duende.errors import NotSupportedError, SerializationError


def view(system: str = "linux", *paths: str, cgroup: str = "", **environ: str) -> HostView:
    """A host as told."""
    return HostView(system=system, environ=environ, paths=frozenset(paths), init_cgroup=cgroup)


@pytest.mark.parametrize(
    ("host", "platform"),
    [
        (view(), Platform.NATIVE),
        (view("linux", "/run/systemd/system"), Platform.LINUX),
        (view("darwin"), Platform.MACOS),
        (view("linux", "/.dockerenv", "/run/systemd/system"), Platform.CONTAINER),
        (view("linux", "/run/.containerenv"), Platform.CONTAINER),
        (view(cgroup="12:pids:/docker/abc\n"), Platform.CONTAINER),
        (view(cgroup="0::/kubepods/x\n"), Platform.CONTAINER),
        (view(container="lxc"), Platform.CONTAINER),
        (view(KUBERNETES_SERVICE_HOST="10.0.0.1"), Platform.CONTAINER),
        (view(PEPITA_VSOCK_CID="3", container="x"), Platform.PEPITA),
        (view("wasi"), Platform.WOS),
        (view(WOS_VERSION="1", PEPITA_VM="x"), Platform.WOS),
        (view("linux", "/dev/virtio-ports"), Platform.NATIVE),
    ],
)
def test_first_sign_wins(host: HostView, platform: Platform) -> None:
    """Each sign of a platform is recognised, in the documented order; a virtio port is none."""
    assert detect(host) is platform


def test_this_host_is_some_platform() -> None:
    """Looking at the real host gives one of the six."""
    assert choose.detect_platform() in Platform


def test_missing_adapters_are_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform without adapter says what to use instead."""
    monkeypatch.delitem(choose.ADAPTERS, Platform.WOS)
    with pytest.raises(NotSupportedError, match="NATIVE"):
        choose.select_adapter(Platform.WOS)
    assert choose.select_adapter(Platform.NATIVE).platform is Platform.NATIVE


def test_macos_has_launchd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its adapter is there on every system, by platform and by name, and a manager on macOS uses it unless it is told otherwise."""
    assert type(choose.select_adapter(Platform.MACOS, runtime_dir="/r")).__name__ == "LaunchdAdapter"
    assert choose.adapter_named("launchd", runtime_dir="/r").platform is Platform.MACOS
    monkeypatch.setattr("duende.adapters.choose.sys", SimpleNamespace(platform="darwin"))
    assert choose.default_adapter("/r", "/s", keep=False).platform is Platform.MACOS


def test_handles_survive_json() -> None:
    """A handle read back from JSON is the same; anything else is an error."""
    handle = DaemonHandle(
        daemon_id="i", name="n", platform=Platform.NATIVE, instance="pid5", pid=5, data={"log": "/x"}
    )
    assert DaemonHandle.from_json(handle.to_json()) == handle
    assert str(handle) == "native:pid5"
    for bad in ("", "{}", '{"name": 3}', "[]"):
        with pytest.raises(SerializationError):
            DaemonHandle.from_json(bad)
