"""init -> ready -> run -> shutdown, and the exit code of everything that may go wrong on the way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from duende import (
    AlreadyRunningError,
    ConfigError,
    DaemonConfig,
    DaemonContext,
    ExitReason,
    PlatformResourceError,
    Signal,
)
from duende.host import exitcodes, lifecycle
from duende.host.lifecycle import Host, Outcome
from duende.host.notify import Notifier
from duende.host.pidfile import PidFile
from duende.testing import InProcessHarness
from falsification.units.support import Obedient, config, run

Step = Callable[..., Awaitable[Any]]


async def forever(*_: object) -> None:
    """Never ends by itself."""
    await asyncio.Event().wait()


async def stubborn(*_: object) -> None:
    """Does not even end when cancelled, for a while."""
    try:
        await forever()
    except asyncio.CancelledError:
        await asyncio.sleep(3600)


def raising(error: BaseException) -> Step:
    """A step that raises."""

    async def step(*_: object) -> None:
        raise error

    return step


def giving(reason: ExitReason | None) -> Step:
    """A step that returns."""

    async def step(*_: object) -> ExitReason | None:
        return reason

    return step


class Scripted(Obedient):
    """Takes its steps from the test and notes their order."""

    def __init__(self, **steps: Step) -> None:
        self.steps, self.done = steps, list[str]()

    async def _step(self, name: str, *arguments: Any) -> Any:
        self.done.append(name)
        step = self.steps.get(name)
        return await step(*arguments) if step is not None else None

    async def init(self, config: DaemonConfig) -> None:
        """As scripted."""
        await self._step("init", config)

    async def run(self, ctx: DaemonContext) -> ExitReason:
        """As scripted, otherwise until shutdown."""
        if "run" in self.steps:
            return await self._step("run", ctx)  # type: ignore[no-any-return]
        self.done.append("run")
        return await super().run(ctx)

    async def shutdown(self, timeout: float) -> None:
        """As scripted."""
        await self._step("shutdown", timeout)

    async def reload(self, config: DaemonConfig) -> None:
        """As scripted."""
        await self._step("reload", config)


def lived(daemon: Scripted, *, stop: bool = True, **fields: Any) -> Outcome:
    """How *daemon* ended, stopped by TERM if *stop*."""

    async def live() -> Outcome:
        async with InProcessHarness(daemon, config(shutdown_timeout=0.05, **fields)) as found:
            return await (found.stop() if stop else found.wait(10))

    return run(live())


def test_the_order_of_a_life() -> None:
    """Init, ready, run, stopping, shutdown: once each, in that order, exit code 0."""

    async def live() -> tuple[list[str], Outcome]:
        daemon = Scripted()
        async with InProcessHarness(daemon) as found:
            assert found.daemon is daemon
            assert daemon.done[0] == "init"
            outcome = await found.stop()
            assert found.ended
            assert await found.stop() == outcome
        return daemon.done + found.announced, outcome

    steps, outcome = run(live())
    assert steps == ["init", "run", "shutdown", "READY=1", "STOPPING=1"]
    assert outcome == Outcome(exitcodes.OK, ExitReason.graceful())


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (None, exitcodes.OK),
        (ExitReason.graceful(), exitcodes.OK),
        (ExitReason.error("x"), exitcodes.ERROR),
        (ExitReason.resource_exhausted("x"), exitcodes.RESOURCE),
        (ExitReason.policy_violation("x"), exitcodes.POLICY),
        (ExitReason.by_signal(Signal.USR1), exitcodes.SIGNAL_BASE + 10),
    ],
)
def test_every_reason_has_its_exit_code(reason: ExitReason | None, code: int) -> None:
    """What run returns decides the exit code, and shutdown follows whatever it was."""
    daemon = Scripted(run=giving(reason))
    assert lived(daemon, stop=False).code == code
    assert daemon.done[-1] == "shutdown"


@pytest.mark.parametrize(
    ("steps", "code", "word"),
    [
        ({"init": raising(ValueError("boom"))}, exitcodes.INIT, "boom"),
        ({"init": raising(ConfigError("bad setting"))}, exitcodes.CONFIG, "bad setting"),
        ({"init": raising(asyncio.CancelledError())}, exitcodes.INIT, "CancelledError"),
        ({"run": raising(ValueError("boom"))}, exitcodes.RUN, "boom"),
        ({"run": raising(asyncio.CancelledError())}, exitcodes.RUN, "CancelledError"),
        ({"run": giving(None), "shutdown": raising(ValueError("boom"))}, exitcodes.SHUTDOWN, "boom"),
        ({"run": giving(None), "shutdown": forever}, exitcodes.SHUTDOWN_TIMEOUT, "shutdown() did not end"),
        (
            {"run": raising(ValueError("first")), "shutdown": raising(ValueError("second"))},
            exitcodes.RUN,
            "first",
        ),
        ({"run": giving(ExitReason.error("first")), "shutdown": forever}, exitcodes.ERROR, "first"),
    ],
)
def test_what_goes_wrong_has_its_exit_code(
    steps: dict[str, Step], code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each failure has its own code and says what happened; the first one counts, and a failed init never runs."""
    daemon = Scripted(**steps)
    outcome = lived(daemon, stop=False)
    assert outcome.code == code
    assert word in outcome.message
    if "init" in steps:
        assert daemon.done == ["init"]
    if word != "first":
        assert word in capsys.readouterr().err


@pytest.mark.parametrize("step", [forever, stubborn])
def test_the_deadline_ends_a_late_run(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that does not end within shutdown_timeout is cancelled, then left; the code says so."""
    monkeypatch.setattr(lifecycle, "CANCEL_GRACE", 0.02)
    assert lived(Scripted(run=step)).code == exitcodes.SHUTDOWN_TIMEOUT


def test_a_second_term_neither_hurries_nor_is_lost() -> None:
    """Signals during shutdown join the queue; the first deadline holds."""

    async def live() -> tuple[Outcome, int]:
        async def slow(timeout: float) -> None:
            found.send(Signal.TERM, Signal.INT)
            await asyncio.sleep(0)

        async with InProcessHarness(Scripted(shutdown=slow)) as found:
            return await found.stop(), found.context.pending_signals

    assert run(live()) == (Outcome(exitcodes.OK, ExitReason.graceful()), 3)


def test_term_ends_an_init_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """S024: a daemon that is still starting is stopped too, within its deadline."""
    monkeypatch.setattr(lifecycle, "CANCEL_GRACE", 0.02)

    async def live() -> Outcome:
        host = Host(
            Scripted(init=stubborn),
            config(shutdown_timeout=0.03),
            notifier=Notifier(None),
            handle_signals=False,
        )
        task = asyncio.ensure_future(host.run())
        await asyncio.sleep(0)
        host.receive(Signal.TERM)
        return await task

    outcome = run(live())
    assert outcome.code == exitcodes.SHUTDOWN_TIMEOUT
    assert "in init" in outcome.message


def test_a_host_that_is_cancelled_cancels_its_daemon(tmp_path: Path) -> None:
    """Cancelling run_async gives the PID file back and lets nothing run on."""
    path = tmp_path / "pid"
    ended = []

    async def noting(*_: object) -> None:
        try:
            await forever()
        finally:
            ended.append("run")

    async def live() -> None:
        found = InProcessHarness(Scripted(run=noting), pid_file=str(path))
        try:
            async with found:
                assert path.read_text() == f"{os.getpid()}\n"
                raise KeyError("the test fails")
        except KeyError:
            pass
        assert found.ended

    run(live())
    assert ended == ["run"]
    assert not path.exists()


def test_one_instance_only(tmp_path: Path) -> None:
    """F014: a second start on the same PID file is refused before init; an unusable one as well."""
    path = str(tmp_path / "pid")
    first = PidFile(path)
    first.take()
    for pid_file, code in ((path, exitcodes.ALREADY_RUNNING), (str(tmp_path / "no" / "pid"), exitcodes.IO)):
        daemon = Scripted()

        async def live(pid_file: str = pid_file, daemon: Scripted = daemon) -> Outcome:
            async with InProcessHarness(daemon, pid_file=pid_file) as found:
                return await found.wait()

        assert run(live()).code == code
        assert daemon.done == []
    with pytest.raises(AlreadyRunningError):
        PidFile(path).take()
    first.release()


def test_an_unusable_socket_ends_the_start(tmp_path: Path) -> None:
    """A health socket that cannot be opened is an error, not a daemon without one."""

    async def live(path: str) -> Outcome:
        async with InProcessHarness(Scripted(run=giving(None)), socket=path) as found:
            return await found.wait()

    assert run(live(str(tmp_path / "no" / "s"))).code == exitcodes.IO
    assert run(live(str(tmp_path / "s"))).code == exitcodes.OK
    assert not (tmp_path / "s").exists()


def test_memory_that_must_be_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locking comes before init, and required memory that cannot be locked ends the start."""

    def refuse(resources: object) -> None:
        raise PlatformResourceError("cannot lock memory")

    monkeypatch.setattr("duende.mlock.apply_memory_config", refuse)
    daemon = Scripted()
    locked = config().resources.__class__(lock_memory=True, lock_memory_required=True)
    assert lived(daemon, stop=False, resources=locked).code == exitcodes.RESOURCE
    assert daemon.done == []


RELOADS = [
    ("name = 'web'\nbinary_path = '/bin/true'\n[settings]\nlevel = 2\n", {"level": 2}, "reloaded"),
    ("[settings]\nlevel = 3\n", {"level": 3}, "reloaded"),
    ("name = 'web'\nnonsense = 1\n", {"level": 1}, "refused"),
    ("name = ", {"level": 1}, "refused"),
    ("name = 'other'\nbinary_path = '/bin/true'\n", {"level": 1}, "refused"),
    (None, {"level": 1}, "refused"),
]


@pytest.mark.parametrize(("text", "settings", "said"), RELOADS)
def test_hup_reloads_or_changes_nothing(
    text: str | None, settings: dict[str, int], said: str, tmp_path: Path
) -> None:
    """F010: a good file is in force after HUP, a bad one leaves the old configuration and the daemon alone."""
    path = tmp_path / "web.toml"
    if text is not None:
        path.write_text(text)
    seen: list[DaemonConfig] = []

    async def note(fresh: DaemonConfig) -> None:
        seen.append(fresh)

    async def live() -> InProcessHarness:
        started = config(settings={"level": 1}, binary_path=None, daemon="mod:Class")
        async with InProcessHarness(Scripted(reload=note), started, config_source=str(path)) as found:
            found.send(Signal.HUP, Signal.HUP)
            while not any(word.startswith("STATUS=") for word in found.announced):
                await asyncio.sleep(0)
            assert found.context.config.settings == settings
            assert (await found.health()).is_healthy
            assert found.context.pending_signals == 2
        return found

    found = run(live())
    assert any(said in word for word in found.announced)
    assert found.announced[1].startswith("RELOADING=1")
    assert found.announced.count("READY=1") == 2
    assert [one.settings for one in seen] == ([settings] if said == "reloaded" else [])


def test_a_reload_that_raises_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file the daemon is only told; if it raises, it goes on."""

    async def live() -> Outcome:
        async with InProcessHarness(Scripted(reload=raising(ValueError("boom")))) as found:
            found.send(Signal.HUP)
            while len(found.announced) < 4:
                await asyncio.sleep(0)
            return await found.stop()

    assert run(live()).code == exitcodes.OK
    assert "reload refused" in capsys.readouterr().err
