"""The counter daemon of the README."""

from __future__ import annotations

import asyncio

import pytest

import duende
from duende import DaemonConfig, Signal
from duende.examples import daemon as example
from duende.testing import InProcessHarness
from falsification.units.support import run


def test_it_counts_through_all_its_phases(capsys: pytest.CaptureFixture[str]) -> None:
    """It initialises, reports health, counts at once and says goodbye when asked."""

    async def live() -> int:
        daemon = example.CounterDaemon()
        async with InProcessHarness(daemon) as found:
            found.send(Signal.USR1)
            while daemon.count == 0 or found.context.pending_signals:
                await asyncio.sleep(0)
            assert (await found.health()).score == 5
            return (await found.stop()).code

    assert run(live()) == 0
    out = capsys.readouterr().out
    for word in (
        "[INIT]",
        "[HEALTH] Healthy",
        "[RUN] Count: 1 | Uptime:",
        "[RUN] Received USR1",
        "[SHUTDOWN] Counted to",
    ):
        assert word in out
    assert not run(example.CounterDaemon().health_check()).is_healthy


def test_its_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Help and mistakes show the usage; --mlock asks for locked memory."""
    for words, code in ((["--help"], 0), (["--nonsense"], 64)):
        with pytest.raises(SystemExit) as caught:
            example.main(words)
        assert caught.value.code == code
        assert "usage:" in capsys.readouterr().out
    asked: list[DaemonConfig] = []
    monkeypatch.setattr(duende, "run", lambda _, config: asked.append(config))
    example.main(["--mlock", "--foreground"])
    example.main(["-f"])
    assert [config.resources.lock_memory_required for config in asked] == [True, False]


def test_memory_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locked memory is shown with its size."""
    monkeypatch.setattr("duende.mlock.is_memory_locked", lambda: True)
    monkeypatch.setattr("duende.mlock.locked_bytes", lambda: 4096)
    assert example.memory_state() == "yes (4 KiB)"
