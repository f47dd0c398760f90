"""A daemon under test, on the native adapter with real processes and on the fake one."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from duende import Daemon, DaemonConfig, DaemonContext, ExitReason, HealthStatus
from duende.adapters import choose
from duende.adapters.contract import Platform
from duende.config.model import HealthCheckConfig, ReadinessConfig, RestartConfig, RestartPolicy
from duende.errors import ConfigError, DuendeError, HealthCheckError, NotSupportedError, StateError
from duende.signals import Signal
from duende.states import HealthKind, Phase
from duende.testing import DaemonTestHarness, harness
from duende.testing.adapters import make_adapter
from duende.testing.fake_adapter import FakeAdapter
from falsification.units.support import run


class Counter(Daemon):
    """Counts the signals it gets."""

    name = "counter"

    async def run(self, ctx: DaemonContext) -> ExitReason:
        """Count until shutdown."""
        async for signal in ctx.signals():
            self.metrics.record_request(0.001)
            print("got", signal.value, flush=True)
        return ExitReason.graceful()

    async def health_check(self) -> HealthStatus:
        """Degraded after its first signal."""
        return HealthStatus.degraded("busy") if self.metrics.requests_total else HealthStatus.healthy(4)


def program(code: str, **fields: Any) -> DaemonConfig:
    """A Python program as a daemon, ready at once and never restarted."""
    return DaemonConfig(
        **{
            "name": "program",
            "binary_path": sys.executable,
            "args": ("-I", "-S", "-u", "-c", code),
            "readiness": ReadinessConfig(settle=0.0),
            "restart": RestartConfig(policy=RestartPolicy.NEVER),
            "shutdown_timeout": 5.0,
            **fields,
        }
    )


def test_a_daemon_class_lives_its_whole_life_natively() -> None:
    """Health, signals, output, metrics and the certificate of the very class that was given come back."""

    async def live() -> None:
        async with DaemonTestHarness(Counter) as daemon:
            assert (await daemon.status()).phase is Phase.RUNNING
            found = await daemon.health()
            assert (found.kind, found.score) == (HealthKind.HEALTHY, 4)
            assert [check.name for check in found.checks] == ["status", "identity"]
            await daemon.signal(Signal.USR1, Signal.USR2)
            assert await daemon.wait_for_log("got USR2") == "got USR2"
            assert "got USR1" in await daemon.logs()
            assert (await daemon.health()).kind is HealthKind.DEGRADED
            assert (await daemon.metrics()).requests_total == 2
            pid = daemon.pid
            certificate = await daemon.shutdown()
            assert (certificate.proven, certificate.escalated) == (True, False), certificate
            assert certificate.exit is not None
            assert certificate.exit.code == 0
            assert not os.path.exists(f"/proc/{pid}")
        assert daemon.certificate is certificate

    run(live())


def test_a_program_is_told_by_its_process_alone() -> None:
    """A program without checks is healthy while it runs, degraded while paused, and keeps no metrics."""

    async def live() -> None:
        async with DaemonTestHarness(program("import time; print('up'); time.sleep(60)")) as daemon:
            await daemon.wait_for_log("up")
            assert (await daemon.health()).is_healthy
            with pytest.raises(NotSupportedError, match="metrics"):
                await daemon.metrics()
            await daemon.signal(Signal.STOP)
            await daemon.wait_for_status(Phase.PAUSED)
            assert (await daemon.health()).kind is HealthKind.DEGRADED
            await daemon.signal(Signal.CONT)
            await daemon.wait_for_status(Phase.RUNNING)

    run(live())


def test_configured_checks_are_asked() -> None:
    """A health program that fails makes the daemon unhealthy, and the check is named."""

    async def live() -> None:
        checked = program("import time; time.sleep(60)", health_check=HealthCheckConfig(exec=("/bin/false",)))
        async with DaemonTestHarness(checked) as daemon:
            found = await daemon.health()
            assert not found.is_healthy
            assert any(check.name == "exec" and not check.passed for check in found.checks)

    run(live())


def test_failures_show_the_last_lines() -> None:
    """A start that fails, a wait that runs out and a failed test all carry the daemon's last words."""

    async def refused() -> None:
        dying = program("print('no such table'); raise SystemExit(3)", readiness=ReadinessConfig(settle=10.0))
        with pytest.raises(DuendeError, match="exit code 3") as caught:
            await DaemonTestHarness(dying).__aenter__()
        assert "no such table" in "".join(caught.value.__notes__)

    async def waits() -> None:
        talker = program("import time; print('waiting for the moon'); time.sleep(60)")
        with pytest.raises(ZeroDivisionError) as caught:
            async with DaemonTestHarness(talker) as daemon:
                await daemon.wait_for_log("moon")
                with pytest.raises(HealthCheckError, match=r"did not say 'sun' within 0.05 s") as late:
                    await daemon.wait_for_log("sun", within=0.05)
                assert "  | waiting for the moon" in late.value.__notes__[0]
                raise ZeroDivisionError
        assert "waiting for the moon" in caught.value.__notes__[0]
        assert daemon.certificate is not None
        assert daemon.certificate.proven

    run(refused())
    run(waits())


def test_a_crash_is_followed_by_the_policy() -> None:
    """KILL from outside is a crash: the daemon comes back as another process."""

    async def live() -> None:
        policy = RestartConfig(policy=RestartPolicy.ALWAYS, initial_delay=0.0)
        async with DaemonTestHarness(program("import time; time.sleep(60)", restart=policy)) as daemon:
            first = daemon.pid
            assert await daemon.kill_from_outside() == first
            await daemon.wait_for_restart(first)
            assert daemon.pid != first
            assert daemon.restarts == 1
            assert any(event.detail == "killed by SIGKILL" for event in daemon.events)

    run(live())


def test_the_fake_adapter_does_as_well() -> None:
    """The same harness drives daemons made of memory, and reports a stop without proof."""

    async def live() -> None:
        adapter = FakeAdapter()
        async with DaemonTestHarness(Counter, adapter=adapter) as daemon:
            assert adapter.starts == ["counter"]
            assert (await daemon.health()).checks[-1].name == "identity"
            assert await daemon.logs() == []
            with pytest.raises(NotSupportedError):
                await daemon.metrics()
            adapter.crash(daemon.handle.daemon_id)
            assert (await daemon.wait_ended()).signal == 11
        adapter.knobs.unkillable = True
        with pytest.raises(StateError, match="not proven: it is unkillable"):
            async with DaemonTestHarness(Counter, adapter=adapter):
                pass

    run(live())


def test_a_platform_that_never_answers_costs_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that hangs fails within its deadline instead of hanging the test."""
    monkeypatch.setattr(harness, "START_MARGIN", 0.02)

    async def live() -> None:
        adapter = FakeAdapter()
        adapter.knobs.hang_starts = True
        quick = program("pass", readiness=ReadinessConfig(timeout=0.02))
        with pytest.raises(HealthCheckError, match=r"neither ready nor ended after 0.04 s"):
            await DaemonTestHarness(quick, adapter=adapter).__aenter__()

    run(live())


def test_adapters_have_the_names_people_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """native, a platform and fake are found, a word that is none is refused with the list."""
    assert make_adapter("fake").platform is Platform.NATIVE
    assert DaemonTestHarness(Counter, adapter=Platform.NATIVE).adapter.platform is Platform.NATIVE
    with pytest.raises(ConfigError, match=r"no adapter is called 'dokcer'.*docker"):
        make_adapter("dokcer")
    monkeypatch.delitem(choose.ADAPTERS, Platform.WOS)
    with pytest.raises(NotSupportedError):
        make_adapter("wos")


def test_a_local_class_is_refused_before_anything_starts() -> None:
    """A class that no other process can find is a clear error."""

    class Hidden(Counter):
        pass

    with pytest.raises(ConfigError, match="local to a function"):
        DaemonTestHarness(Hidden)
