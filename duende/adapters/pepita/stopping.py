"""Stopping with proof: TERM, deadline, KILL, the VM; and the guest's agent, or the end of the VM, says that nothing is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from duende.adapters.contract import StopCertificate, StopStep
from duende.errors import DuendeError, InstanceNotFoundError
from duende.signals import Signal

if TYPE_CHECKING:
    from duende.adapters.pepita.adapter import PepitaAdapter
    from duende.adapters.pepita.exchange import Record

KILL_GRACE = 5.0
"""Seconds from KILL until the guest has reported; then its VM is ended."""
DESTROY_GRACE = 20.0


async def stop(adapter: PepitaAdapter, record: Record, timeout: float) -> StopCertificate:
    """End the daemon of *record*."""
    began = time.monotonic()
    steps: list[StopStep] = []
    escalated = False
    doubt = ""

    def note(what: str) -> None:
        steps.append(StopStep(time.monotonic() - began, what))

    for signal, given in ((Signal.TERM, timeout), (Signal.KILL, KILL_GRACE)):
        patience = max(0.0, given)
        if record.exit is not None:
            break
        try:
            await adapter.send(record.handle, signal)
            note(f"{signal.value} to the main process in {record.handle.instance}")
            escalated = escalated or signal is Signal.KILL
        except InstanceNotFoundError:
            await adapter.settle(record)
            patience = min(patience, KILL_GRACE)
        except DuendeError as error:
            note(f"{signal.value} could not be sent: {error}")
            patience = 0.0
        if await adapter.wait_end(record, patience):
            break
    if record.exit is None:
        escalated = True
        try:
            await adapter.end_vm(record.handle)
            note(f"ended the VM {record.handle.instance}")
        except DuendeError as error:
            doubt = str(error)
        await adapter.wait_end(record, DESTROY_GRACE if not doubt else KILL_GRACE)
    proven = record.exit is not None and bool(record.proof)
    proof = record.proof if proven else doubt or "nobody has said that the VM has ended"
    return StopCertificate(
        name=record.handle.name,
        steps=tuple(steps),
        escalated=escalated,
        proven=proven,
        proof=proof,
        exit=record.exit,
        duration=time.monotonic() - began,
    )
