"""The native adapter with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, Ownership, SpawnRequest
from duende.adapters.native import foreign
from duende.adapters.native.adapter import NativeAdapter
from duende.config.model import (
    DaemonConfig,
    LogDestination,
    LoggingConfig,
    PlatformSection,
    RestartConfig,
    RestartPolicy,
)
from duende.errors import ConfigError, InstanceNotFoundError, PlatformIOError, SpawnError
from duende.ids import DaemonId
from duende.kernel.process import children_of, read_stat, send_signal, status_fields
from duende.signals import Signal
from duende.states import Phase
from falsification.units.adapters.native.conftest import MakeAdapter
from falsification.units.loops import run, until
from fixtures.classes import Waiter

NEVER = RestartConfig(policy=RestartPolicy.NEVER)
SILENT = LoggingConfig(destination=LogDestination.NULL)
CLASSES = Path(__file__).resolve().parents[4] / "fixtures" / "classes.py"


def shell(text: str, **fields: Any) -> DaemonConfig:
    """A daemon that is a line of shell."""
    return DaemonConfig(
        name="sh", binary_path="/bin/sh", args=("-c", text), restart=NEVER, **{"logging": SILENT, **fields}
    )


def ask(config: DaemonConfig) -> SpawnRequest:
    """A request under a fresh id."""
    return SpawnRequest(daemon_id=str(DaemonId.new()), config=config)


SLEEPER = shell("exec sleep 100")


@pytest.mark.parametrize(
    ("text", "code", "signal"),
    [("exit 0", 0, None), ("exit 7", 7, None), ("kill -9 $$", None, 9), ("kill -11 $$", None, 11)],
)
def test_exits_are_told_exactly(
    make_adapter: MakeAdapter, text: str, code: int | None, signal: int | None
) -> None:
    """The exit code or signal of a daemon is what it ended with."""

    async def body() -> None:
        async with make_adapter() as adapter:
            handle = await adapter.launch(ask(shell(text)))
            seen = await adapter.wait(handle)
            assert (seen.code, seen.signal) == (code, signal)
            assert await adapter.wait(handle) == seen
            status = await adapter.status(handle)
            assert status.phase is (Phase.STOPPED if code == 0 else Phase.FAILED)

    run(body())


def test_life_of_a_daemon(make_adapter: MakeAdapter) -> None:
    """Start, pause, resume, stop with proof, stop again, forget."""

    async def body() -> None:
        async with make_adapter() as adapter:
            handle = await adapter.launch(ask(SLEEPER))
            assert (await adapter.status(handle)).phase is Phase.RUNNING
            stat = read_stat(handle.pid)
            assert stat is not None
            assert stat.session == stat.pgrp == handle.pid
            assert stat.start_time == handle.start_time
            await adapter.pause(handle)
            await until(lambda: (read_stat(handle.pid) or stat).state == "T")
            assert (await adapter.status(handle)).phase is Phase.PAUSED
            await adapter.resume(handle)
            assert await adapter.verify(handle) is Ownership.OURS
            assert await adapter.adopt(handle) is Ownership.OURS
            await adapter.pause(handle)
            proof = await adapter.stop(handle, 5.0)
            assert proof.proven
            assert not proof.escalated
            assert proof.exit is not None
            assert proof.exit.signal == 15
            assert (await adapter.stop(handle, 5.0)).proven
            with pytest.raises(InstanceNotFoundError):
                await adapter.signal(handle, Signal.TERM)
            adapter.forget([handle.daemon_id])
            assert await adapter.verify(handle) is Ownership.GONE

    run(body())


def test_stop_ends_the_whole_family(make_adapter: MakeAdapter) -> None:
    """A child that ignores TERM and one that made its own session are both ended, and named."""
    text = "(trap '' TERM; exec sleep 101) & setsid sleep 102 & wait"

    async def body() -> None:
        async with make_adapter() as adapter:
            handle = await adapter.launch(ask(shell(text)))
            await until(lambda: sum("sleep" in str(stat) for stat in foreign.family(handle)) == 2)
            proof = await adapter.stop(handle, 0.5)
            assert proof.proven
            assert proof.escalated
            assert len(proof.stragglers) == 2
            assert all("sleep" in name for name in proof.stragglers)
            assert not foreign.family(handle)

    run(body())


def test_leftovers_are_reported_with_the_exit(make_adapter: MakeAdapter) -> None:
    """An exit that leaves a child behind says so, and the child is ended by a stop afterwards."""

    async def body() -> None:
        events: list[AdapterEvent] = []
        async with make_adapter() as adapter:
            adapter.subscribe(events.append)
            handle = await adapter.launch(ask(shell("sleep 103 & exit 4")))
            assert (await adapter.wait(handle)).code == 4
            assert events[-1].leftovers
            assert events[-1].kind is EventKind.EXITED
            proof = await adapter.stop(handle, 5.0)
            assert proof.proven
            assert len(proof.stragglers) == 1

    run(body())


def test_many_start_and_stop_in_one_call(make_adapter: MakeAdapter) -> None:
    """A batch larger than one midwife's share starts whole, in order, with an error only for the broken one."""

    async def body() -> None:
        async with make_adapter() as adapter:
            broken = msgspec.structs.replace(SLEEPER, binary_path="/no/such/program")
            configs = [SLEEPER] * 70 + [broken] + [msgspec.structs.replace(SLEEPER, user="no-such-user")]
            results = await adapter.launch_many([ask(config) for config in configs])
            handles = [result for result in results if isinstance(result, DaemonHandle)]
            errors = [result for result in results if isinstance(result, Exception)]
            assert len({handle.pid for handle in handles}) == 70
            assert len(errors) == 2
            assert isinstance(results[70], SpawnError)
            proofs = await adapter.stop_many(handles, 5.0)
            assert all(proof.proven for proof in proofs)

    run(body())


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({"binary_path": "/no/such/program"}, "exec"),
        ({"binary_path": "/etc/passwd"}, "exec"),
        ({"working_dir": "/no/such/folder"}, "working_dir"),
        ({"logging": LoggingConfig(path="/dev/null/x.log")}, "log"),
    ],
)
def test_failed_starts_leave_nothing(make_adapter: MakeAdapter, fields: dict[str, Any], step: str) -> None:
    """What cannot be started is a SpawnError that names the step; no process is left."""

    async def body() -> None:
        async with make_adapter() as adapter:
            with pytest.raises(SpawnError) as caught:
                await adapter.launch(ask(msgspec.structs.replace(SLEEPER, **fields)))
            assert caught.value.step == step
            assert not adapter._records

    run(body())


def test_output_is_captured_and_read_back(make_adapter: MakeAdapter) -> None:
    """Both streams are in the log when stop has returned, a matching line is reported, logging to nowhere has none."""

    async def body() -> None:
        events: list[AdapterEvent] = []
        async with make_adapter() as adapter:
            adapter.subscribe(events.append)
            request = ask(
                shell(
                    "echo one; echo two >&2; trap 'echo last; exit 0' TERM; while :; do sleep 0.01; done",
                    logging=LoggingConfig(),
                )
            )
            handle = await adapter.launch(request)
            adapter.watch_log(handle, "^one")
            await until(lambda: "two" in "".join(_read(handle)))
            await adapter.stop(handle, 5.0)
            assert await adapter.logs(handle, 10) == ["one", "two", "last"]
            silent = await adapter.launch(ask(SLEEPER))
            assert await adapter.logs(silent, 10) == []
            adapter.forget([handle.daemon_id])

    run(body())


def _read(handle: DaemonHandle) -> list[str]:
    with open(handle.data["log"], encoding="utf-8") as file:
        return file.readlines()


@pytest.mark.parametrize("preload", [True, False])
def test_python_daemons_report_ready(
    make_adapter: MakeAdapter, preload: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Daemon class starts preloaded and by exec, reports READY, survives who hangs up on it, and ends gracefully."""
    monkeypatch.setattr(
        "duende.adapters.native.render.PYTHON_INHERITED",
        ("VIRTUAL_ENV", "PYTHONPATH", "COVERAGE_PROCESS_START"),
    )

    async def body() -> None:
        ready: asyncio.Future[AdapterEvent] = asyncio.get_running_loop().create_future()
        async with make_adapter() as adapter:
            await adapter.prepare(python=preload)
            adapter.subscribe(
                lambda event: ready.set_result(event) if event.kind is EventKind.READY else None
            )
            config = DaemonConfig(
                name="w",
                daemon=f"{CLASSES}:Waiter",
                restart=NEVER,
                platform=PlatformSection(native={"preload": preload}),
            )
            handle = await adapter.launch(ask(config))
            assert (await ready).daemon_id == handle.daemon_id
            ignored = int(status_fields(handle.pid)["SigIgn"], 16)
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # an interpreter ignores both
                assert ignored & 1 << number - 1
            proof = await adapter.stop(handle, 10.0)
            assert proof.exit is not None
            assert proof.exit.code == 0

    run(body())


def test_spawn_takes_a_class(make_adapter: MakeAdapter) -> None:
    """spawn(Class) runs that class; a local class is refused."""

    async def body() -> None:
        class Local(Waiter):
            pass

        async with make_adapter() as adapter:
            handle = await adapter.spawn(Waiter, DaemonConfig(name="w"))
            assert (await adapter.stop(handle, 10.0)).proven
            with pytest.raises(ConfigError, match="local"):
                await adapter.spawn(Local, DaemonConfig(name="w"))
            with pytest.raises(ConfigError):
                await adapter.spawn(None, DaemonConfig(name="w"))

    run(body())


def test_unimportable_class_fails_with_its_exit_code(make_adapter: MakeAdapter) -> None:
    """A class that cannot be imported ends with the documented code, and its log says why."""

    async def body() -> None:
        async with make_adapter() as adapter:
            handle = await adapter.launch(
                ask(DaemonConfig(name="w", daemon="no.such.module:C", restart=NEVER))
            )
            assert (await adapter.wait(handle)).code == 66
            await adapter.stop(handle, 5.0)
            assert any("no module" in line for line in await adapter.logs(handle, 50))

    run(body())


def test_a_dead_warden_loses_no_daemon(make_adapter: MakeAdapter) -> None:
    """When the warden is killed its daemons live on, are still ours to signal and stop, and new ones start under a new warden."""

    async def body() -> None:
        async with make_adapter() as adapter:
            handle = await adapter.launch(ask(SLEEPER))
            other = await adapter.launch(ask(SLEEPER))
            assert send_signal(adapter.helper_pid, 9)
            await until(lambda: adapter._link is None or adapter._link.closed)
            assert (await adapter.status(handle)).phase is Phase.RUNNING
            fresh = await adapter.launch(ask(SLEEPER))
            await adapter.signal(handle, Signal.TERM)
            assert (await adapter.wait(handle)).signal in (15, None)
            proof = await adapter.stop(other, 5.0)
            assert proof.proven
            assert (await adapter.stop(fresh, 5.0)).proven

    run(body())


def test_daemons_are_kept_for_the_next_owner(make_adapter: MakeAdapter) -> None:
    """With keep, a second adapter on the folder adopts what runs and learns exits that happened in between."""

    async def body() -> None:
        first = make_adapter(keep=True)
        await first.prepare()
        handle = await first.launch(ask(SLEEPER))
        await first.close()
        assert read_stat(handle.pid) is not None
        second = NativeAdapter(runtime_dir=first.runtime_dir, state_dir=first.runtime_dir, keep=True)
        assert await second.adopt(DaemonHandle.from_json(handle.to_json())) is Ownership.OURS
        await second.kill(handle)
        assert (await second.wait(handle)).signal == 9
        await second.close()

    run(body())


def test_unusable_runtime_folder_is_one_error(tmp_path: Path) -> None:
    """A runtime folder that cannot be made is an error that names it."""
    (tmp_path / "file").write_text("in the way")

    async def body() -> None:
        adapter = NativeAdapter(runtime_dir=str(tmp_path / "file" / "x"))
        with pytest.raises(PlatformIOError, match="cannot use"):
            await adapter.prepare()
        await adapter.close()

    run(body())


def test_adapter_by_exec_in_a_folder_of_its_own() -> None:
    """Without arguments the adapter makes a folder, starts its warden by exec, and leaves nothing."""

    async def body() -> str:
        async with NativeAdapter() as adapter:
            assert (await adapter.probe()).version
            handle = await adapter.launch(
                ask(
                    DaemonConfig(
                        name="t", binary_path=sys.executable, args=("-I", "-S", "-c", "pass"), restart=NEVER
                    )
                )
            )
            assert (await adapter.wait(handle)).code == 0
            return adapter.runtime_dir

    assert not os.path.exists(run(body()))


def test_a_spare_midwife_is_used_and_its_loss_is_harmless(make_adapter: MakeAdapter) -> None:
    """After a single start one process waits for the next; used, killed or never used, every start is answered."""

    def spares(adapter: NativeAdapter, known: set[int]) -> list[int]:
        return [pid for pid in children_of(adapter.helper_pid) if pid not in known]

    def is_gone(parent: int, child: int) -> bool:
        return child not in children_of(parent)

    async def body() -> None:
        async with make_adapter() as adapter:
            known: set[int] = set()
            for turn in range(6):
                handle = await adapter.launch(ask(SLEEPER))
                known.add(handle.pid)
                (spare,) = await until(
                    lambda: [pid for pid in spares(adapter, known) if children_of(pid) == []][:1]
                )
                if turn % 2:
                    stat = read_stat(spare)
                    assert stat is not None
                    assert stat.ppid == adapter.helper_pid
                    send_signal(spare, 9)
                    await until(partial(is_gone, adapter.helper_pid, spare))
            for pid in known:
                assert read_stat(pid) is not None

    run(body())
