"""Stopping with proof: TERM, deadline, KILL, and the container's pid namespace and control group are empty."""

from __future__ import annotations

import asyncio
import time

from duende.adapters.container.engine import State
from duende.adapters.container.pausing import wake_to_end
from duende.adapters.container.records import KILL_GRACE, Record
from duende.adapters.contract import StopCertificate, StopStep
from duende.adapters.native import foreign
from duende.errors import DuendeError, InstanceNotFoundError, InvalidStateError
from duende.kernel.process import read_stat
from duende.signals import Signal
from duende.states import ProcessExit

STRAGGLERS_MAX = 20


async def stop(record: Record, timeout: float) -> StopCertificate:
    """End the daemon of *record*; the exit itself is seen by the adapter, which this waits for."""
    began = time.monotonic()
    steps: list[StopStep] = []
    escalated = False
    stragglers: tuple[str, ...] = ()
    for signal, patience in ((Signal.TERM, timeout), (Signal.KILL, KILL_GRACE)):
        if record.exit is not None:
            break
        if signal is Signal.KILL:
            stragglers = _others(record)
        try:
            how = await send(record, signal)
        except InstanceNotFoundError:
            how = ""  # it has just ended, and the adapter is about to hear of it
        except DuendeError as error:
            steps.append(StopStep(time.monotonic() - began, f"{signal.value} could not be sent: {error}"))
            if signal is Signal.TERM:
                continue
            break
        if how:
            steps.append(StopStep(time.monotonic() - began, f"{signal.value} {how}"))
            escalated = escalated or signal is Signal.KILL
        if signal is Signal.TERM and record.watch is not None and record.watch.deaf_to(signal.number()):
            text = "TERM has no handler, and process 1 takes no default action (pid_namespaces(7)): KILL ends it as TERM would"
            steps.append(StopStep(time.monotonic() - began, text))
            continue
        if await ended(record, patience):
            break
    proven, proof, blocked = await prove(record)
    return StopCertificate(
        name=record.handle.name,
        steps=tuple(steps),
        escalated=escalated,
        proven=proven,
        proof=proof,
        stragglers=stragglers if escalated else (),
        blocked_by=blocked,
        exit=record.exit,
        duration=time.monotonic() - began,
    )


async def send(record: Record, signal: Signal) -> str:
    """Send *signal* to the daemon; in words, to whom.

    A process on this host gets it through a pidfd that was checked first: at once, and also when the runtime hangs. One that its runtime
    restarts by itself gets it through the runtime, which must know that it was wanted.

    Raises:
        InstanceNotFoundError: it has ended.
        IdentityError: the process is not ours any more, or nobody can tell.
        PlatformError: the runtime did not deliver it.
    """
    handle, number = record.handle, signal.number()
    record.sent |= {number}
    if handle.pid and not record.delegated:
        foreign.send(handle, number)
        how = f"to {handle.pid}"
    else:
        try:
            await record.engine.kill(handle.instance, number)
        except InvalidStateError as error:
            raise InstanceNotFoundError(f"{handle.name!r} has ended: {error}") from error
        how = f"to container {handle.instance[:12]}"
    if record.paused and signal in (Signal.KILL, Signal.TERM, Signal.INT, Signal.QUIT):
        await wake_to_end(record)
    return how


async def ended(record: Record, patience: float) -> bool:
    """Whether it has ended within *patience* seconds."""
    if record.exit is not None:
        return True
    future: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()
    record.waiters.append(future)
    try:
        async with asyncio.timeout(patience):
            await future
    except TimeoutError:
        return record.exit is not None
    finally:
        if future in record.waiters:
            record.waiters.remove(future)
    return True


async def prove(record: Record) -> tuple[bool, str, tuple[str, ...]]:
    """(nothing is left for certain, how that is known or what stands in its way, what is left)."""
    watch, what = record.watch, f"container {record.handle.instance[:12]}"
    state: State | None = None
    doubt = ""
    try:
        state = await record.engine.inspect(record.handle.instance)
    except InstanceNotFoundError:
        pass  # removed: then it runs nowhere
    except DuendeError as error:
        doubt = str(error)
    missed = state is not None and record.missed(state)
    if state is not None and (state.alive or state.restarting) and not missed:
        return False, f"{what} is {state.status}", (f"{state.pid} {record.handle.name} ({state.status})",)
    if watch is None:
        if doubt:
            return False, f"nobody can tell whether {what} runs: {doubt}", ()
        return (
            True,
            f"{record.engine.runtime.value} says that {what} does not run, and its process 1 ended with all others",
            (),
        )
    stat = read_stat(watch.first)
    if stat is not None and stat.start_time == watch.first_started and stat.state not in "ZX":
        return False, f"process 1 of {what} is still there", (str(stat),)
    left = watch.group.processes()
    if left:
        return (
            False,
            f"the control group of {what} is not empty",
            tuple(str(read_stat(pid) or pid) for pid in left),
        )
    said = "its runtime says that it does not run"
    if doubt:
        said = f"{record.engine.runtime.value} did not say: {doubt}"
    elif missed:
        said = f"{record.engine.runtime.value} has missed that and says that it runs"
    return True, f"process 1 of the pid namespace of {what} is dead, its control group is empty; {said}", ()


def _others(record: Record) -> tuple[str, ...]:
    """Processes besides the main one and the runtime's init that KILL is about to end."""
    if record.watch is None:
        return ()
    known = (record.watch.first, record.watch.main)
    found = [read_stat(pid) for pid in record.watch.group.processes() if pid not in known]
    return tuple(f"{stat.pid} {stat.comm}" for stat in found if stat is not None)[:STRAGGLERS_MAX]
