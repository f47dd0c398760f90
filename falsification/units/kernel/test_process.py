"""What /proc says, and the one place that signals."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.kernel import oneshot, pidfd, prctl, process
from duende.kernel.process import parse_stat
from falsification.units.loops import run


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=16),
    st.integers(2, 2**22),
    st.integers(0, 2**60),
)
def test_stat_survives_any_command_name(comm: str, pid: int, start: int) -> None:
    """A command name with blanks and parentheses does not shift the other fields."""
    text = f"{pid} ({comm}) S 7 8 9 " + " ".join(["0"] * 15) + f" {start} 1 2\n"
    found = parse_stat(text.encode())
    assert (found.pid, found.comm, found.state, found.ppid, found.pgrp, found.session, found.start_time) == (
        pid,
        comm,
        "S",
        7,
        8,
        9,
        start,
    )


def test_short_stat_is_refused() -> None:
    """A line with too few fields is an error, not a guess."""
    with pytest.raises(ValueError, match="fields"):
        parse_stat(b"5 (x) S 1 2 3\n")


@pytest.mark.parametrize("pid", [1, 0, -1, -5, True, 2.5])
def test_signals_to_init_and_groups_are_impossible(pid: int) -> None:
    """Nothing but a single process above 1 is ever signalled."""
    with pytest.raises(ValueError, match="only single processes"):
        process.send_signal(pid, 0)


def test_own_process_is_found() -> None:
    """The facts about this very process are right."""
    me = os.getpid()
    found = process.read_stat(me)
    assert found is not None
    assert found.ppid == os.getppid()
    assert process.start_time(me) == found.start_time > 0
    assert process.send_signal(me, 0)
    assert str(me) in str(found)
    assert len(process.boot_id()) == 36
    assert process.environment_value(me, "PATH") is not None
    assert process.environment_value(me, "NO_SUCH_VARIABLE_HERE") is None


def test_absent_process_is_none() -> None:
    """A process that does not exist is None everywhere, and is not signalled."""
    child = os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", "pass"], {})
    assert child in process.children_of(os.getpid())
    os.waitpid(child, 0)
    assert process.read_stat(child) is None
    assert process.start_time(child) == 0
    assert process.children_of(child) == []
    assert not process.send_signal(child, 0)


@pytest.mark.parametrize(
    ("code", "signal", "text"), [(3, None, "sys.exit(3)"), (None, 15, "os.kill(os.getpid(), 15)")]
)
def test_pidfd_tells_the_exit(code: int | None, signal: int | None, text: str) -> None:
    """The exit of a child is read through its pidfd, by code or by signal."""
    child = os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", f"import os, sys; {text}"], {})
    fd = os.pidfd_open(child)
    os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOWAIT)
    seen = pidfd.exit_of(fd)
    again = pidfd.exit_of(fd)  # reaped by now: the kernel may tell (6.15) or not
    os.close(fd)
    assert (seen.code, seen.signal) == (code, signal)
    assert not again.known or (again.code, again.signal) == (code, signal)


def test_prctl_sets_the_name() -> None:
    """The name shows up as the kernel's own."""
    with open("/proc/self/comm", encoding="utf-8") as file:
        old = file.read().strip()
    prctl.set_name("a-name-longer-than-fifteen")
    with open("/proc/self/comm", encoding="utf-8") as file:
        assert file.read().strip() == "a-name-longer-t"
    prctl.set_name(old)


def test_prctl_refusal_is_an_error() -> None:
    """An option the kernel does not know raises with its errno."""
    with pytest.raises(OSError, match="Invalid argument"):
        prctl._prctl(99999, 0)


@pytest.mark.parametrize(
    ("text", "code"), [("pass", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9)]
)
def test_small_programs_run_to_their_end(text: str, code: int) -> None:
    """The exit of a probe program is told exactly."""
    assert run(oneshot.run_once((sys.executable, "-I", "-S", "-c", text), 10.0)) == code


def test_small_programs_have_a_deadline() -> None:
    """A probe that takes too long is killed, one that does not exist is 127."""
    assert (
        run(oneshot.run_once((sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"), 0.05))
        == 124
    )
    assert run(oneshot.run_once(("/no/such/program",), 1.0)) == 127


def test_a_cancellation_that_meets_the_end_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is cancelled in the very turn its program ends does not go on as if nothing had been said."""

    async def body() -> None:
        task = asyncio.get_running_loop().create_task(oneshot.run_once(("true",), 10.0))
        finish = oneshot._finish

        def both(ended: asyncio.Future[None]) -> None:
            finish(ended)
            task.cancel()

        monkeypatch.setattr(oneshot, "_finish", both)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(body())
