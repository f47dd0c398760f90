"""The native adapter conforms, and the kit notices adapters that do not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from duende.adapters.contract import DaemonHandle, PlatformAdapter, StopCertificate
from duende.adapters.native.adapter import NativeAdapter
from duende.config.model import HealthCheckConfig
from duende.kernel.process import children_of, read_stat
from duende.testing.conformance import AdapterConformance, NonconformanceError, capability_table
from falsification.workbench import CLASSES


class TestNative(AdapterConformance):
    """Processes of this system."""

    daemon_class: ClassVar[str | None] = f"{CLASSES}:Waiter"
    refused: ClassVar[dict[str, Any] | None] = {"health_check": HealthCheckConfig(watchdog=5.0)}

    @pytest.fixture(autouse=True)
    def _folder(self) -> Iterator[None]:
        self.wardens: list[int] = []
        with tempfile.TemporaryDirectory(prefix="df-") as self.folder:
            yield

    async def make_adapter(self, *, keep: bool = False) -> PlatformAdapter:
        """One adapter of this test's folder; one that keeps leaves its warden to the next."""
        adapter = NativeAdapter(runtime_dir=self.folder, state_dir=self.folder, keep=keep)
        await adapter.prepare()
        self.wardens.append(adapter.helper_pid)
        return adapter

    async def make_other(self) -> PlatformAdapter:
        """Another program has a warden of its own, and looks at strangers' daemons through pidfds."""
        return NativeAdapter()

    def leftovers(self) -> list[str]:
        """Whatever a warden still has."""
        found = [read_stat(pid) for warden in self.wardens for pid in children_of(warden)]
        return [str(stat) for stat in found if stat is not None and stat.comm in ("sh", "sleep")]


class Liar(NativeAdapter):
    """Claims proof it does not have and forgets to kill."""

    async def stop(self, handle: DaemonHandle, timeout: float) -> StopCertificate:
        """Say anything."""
        return StopCertificate(name=handle.name, proven=True, proof="believe me")


class _Lying(TestNative):
    within: ClassVar[float] = 2.0

    async def make_adapter(self, *, keep: bool = False) -> PlatformAdapter:
        adapter = Liar(runtime_dir=self.folder, state_dir=self.folder, keep=keep)
        await adapter.prepare()
        self.wardens.append(adapter.helper_pid)
        return adapter


def test_a_lying_adapter_is_found_out() -> None:
    """An adapter that does not stop what it says it stopped fails."""
    with tempfile.TemporaryDirectory(prefix="df-") as folder:
        for name in ("test_obedient_stop", "test_stubborn_stop", "test_nothing_of_it_is_left"):
            lying = _Lying()
            lying.folder, lying.wardens = folder, []
            with pytest.raises(NonconformanceError):
                getattr(lying, name)()


def test_differences_are_a_table() -> None:
    """Each capability is a row."""
    text = capability_table({"native": NativeAdapter.capabilities})
    assert [line.split()[0] for line in text.splitlines()[1:]][:2] == ["pause", "logs"]
    assert "yes" in text
