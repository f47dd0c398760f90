"""Faults on runtimes prove their effect. Those on real runtimes do so in S041; here are the parts that need none."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from fixtures.daemons import command
from fixtures.lease import Reaper
from fixtures.runtimes.daemon import PrivateDaemon
from scenarios.faults.base import Awaited, Fault, NoEffectError
from scenarios.faults.processes import Stop, kill
from scenarios.faults.runtimes import RuntimeGone, RuntimeHangs, ThenKilled, answers, frozen, stack_of
from scenarios.look import outside, space_of, state_of

PROGRAM = """\
import contextlib, socket
listener = socket.socket(socket.AF_UNIX)
listener.bind({path!r})
listener.listen()
while True:
    with contextlib.suppress(OSError), listener.accept()[0] as client:
        client.send(b"1.0")
"""


class Listener(PrivateDaemon):
    """A daemon of our own that accepts connections."""

    name = "listener"
    programs = ()

    @property
    def socket(self) -> Path:
        """Where it answers."""
        return self.folder / "listener.sock"

    def argv(self) -> list[str]:
        """It says its version to whoever connects."""
        program = PROGRAM.format(path=str(self.socket))
        return [sys.executable, "-I", "-S", "-c", program]

    def ping(self, within: float) -> str:
        """Its version.

        Raises:
            OSError: nobody answers.
        """
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.settimeout(within)
            client.connect(str(self.socket))
            return client.recv(10).decode()

    def start(self) -> str:
        """Start it over the socket that a killed one has left."""
        self.socket.unlink(missing_ok=True)
        return super().start()


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """One obedient daemon, ready."""
    process = subprocess.Popen(command("obedient"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def strike(fault: Fault) -> tuple[str, str]:
    """Inject and heal; proof and what healing did."""

    async def both() -> tuple[str, str]:
        with Reaper() as reaper:
            return await fault.inject(reaper, 0), await fault.heal()

    return asyncio.run(both())


def test_a_runtime_is_gone_and_comes_back(tmp_path: Path) -> None:
    """Its death and a refusing socket are the proof; healing starts another that answers."""
    with Reaper() as reaper:
        listener = Listener(tmp_path, reaper)
        listener.start()
        before = listener.pid
        proof, done = strike(RuntimeGone(listener))
        assert proof == f"listener ({before}) is dead, and nobody answers at its socket"
        assert done == "listener 1.0 answers"
        assert answers(listener)
        assert listener.pid != before


def test_a_runtime_that_lives_on_is_no_effect(tmp_path: Path) -> None:
    """What answers after it was killed was not killed."""
    with Reaper() as reaper:
        listener = Listener(tmp_path, reaper)
        listener.start()
        cast("Any", listener).kill = lambda: None
        with pytest.raises(NoEffectError, match="lives on"):
            strike(RuntimeGone(listener))
        PrivateDaemon.kill(listener)


def test_a_runtime_hangs_and_goes_on(tmp_path: Path) -> None:
    """State T and silence are the proof; healed, the same process answers again."""
    with Reaper() as reaper:
        listener = Listener(tmp_path, reaper)
        listener.start()
        before = listener.pid
        proof, done = strike(RuntimeHangs(listener))
        assert proof == f"listener ({before}) is in state T and gives no answer"
        assert done == "listener runs on"
        assert (listener.ping(5.0), listener.pid) == ("1.0", before)


def test_killed_meanwhile_proves_both(tmp_path: Path, victim: subprocess.Popen[bytes]) -> None:
    """The runtime and the daemon on it are dead; healing brings the runtime back."""
    with Reaper() as reaper:
        listener = Listener(tmp_path, reaper)
        listener.start()
        fault = ThenKilled(RuntimeGone(listener), lambda: [victim.pid])
        assert fault.name == "kill-listener-then-kill"
        proof, done = strike(fault)
        assert proof.endswith(f"; SIGKILL ended {victim.pid}")
        assert done == "listener 1.0 answers"


def test_a_fault_waits_for_somebody_to_do_it_to(victim: subprocess.Popen[bytes]) -> None:
    """Nobody at first, then one; and no effect where nobody comes."""
    looks = iter([[], [], [victim.pid]])
    assert (
        strike(Awaited(kill(lambda: [victim.pid]), lambda: next(looks)))[0] == f"SIGKILL ended {victim.pid}"
    )
    with pytest.raises(NoEffectError, match="nobody to do it to"):
        strike(Awaited(kill(list), list, within=0.0))


def test_another_program_has_another_stack() -> None:
    """The same process after execve(2), and the same process without."""
    then = "print(2, flush=True); input()"
    line = f"import os, sys; print(1, flush=True); input(); os.execv(sys.executable, [sys.executable, '-c', {then!r}])"
    process = subprocess.Popen(
        [sys.executable, "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    before = stack_of(process.pid)
    assert before == stack_of(process.pid)
    assert before not in ("", "0")
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "2\n"
    assert stack_of(process.pid) not in ("", "0", before)
    process.communicate("\n")
    assert stack_of(process.pid) == ""


def test_stopped_is_not_frozen(victim: subprocess.Popen[bytes]) -> None:
    """A process that runs, or that a signal stopped, is in no freezer."""
    assert not frozen(victim.pid)

    async def stopped() -> None:
        with Reaper() as reaper:
            fault = Stop(lambda: [victim.pid])
            await fault.inject(reaper, 0)
            assert state_of(victim.pid) == "T"
            assert not frozen(victim.pid)
            await fault.heal()

    asyncio.run(stopped())


def test_a_process_is_found_by_its_number_elsewhere(victim: subprocess.Popen[bytes]) -> None:
    """In the pid namespace of this process a number is what it is; in one that nobody has there is none."""
    assert outside(victim.pid, space_of(os.getpid())) == victim.pid
    with pytest.raises(ProcessLookupError):
        outside(victim.pid, "pid:[1]")
