"""One stop: what wos-ctl did, and the proof that nothing is left."""

from __future__ import annotations

from duende.adapters.contract import DaemonHandle, StopCertificate
from duende.adapters.wos import parse, render
from duende.adapters.wos.control import Control
from duende.adapters.wos.identity import kernel_is_gone
from duende.errors import DuendeError
from duende.states import ProcessExit

MARGIN = 5.0
"""Seconds from the deadline of a stop until wos-ctl must have said what it did."""


async def terminate(
    control: Control, handle: DaemonHandle, timeout: float, seen: ProcessExit | None
) -> StopCertificate:
    """TERM, *timeout* seconds, KILL to all of its group; *seen* is its exit where that is known already."""
    words = render.about("terminate", handle, "--timeout", f"{timeout:g}")
    try:
        answer = await control.call(words, timeout + MARGIN)
        if answer.code in (0, 1) and answer.out:
            return parse.certificate(handle.name, parse.read(answer.out, parse.Ended), seen)
    except DuendeError as error:
        return StopCertificate(name=handle.name, proof=f"WOS did not say: {error}", exit=seen)
    proven, proof = False, parse.error_of(answer.code, answer.err, "stop it").problem
    if answer.code == parse.HALTED:
        proven, proof = True, f"its kernel runs nothing any more: {proof}"
    elif answer.code == parse.NO_KERNEL and kernel_is_gone(handle):
        proven, proof = True, "its kernel's process has ended, and with it all that ran in it"
    elif answer.code == parse.ABSENT:
        proven, proof = True, f"WOS has no such process any more: {proof}"
    return StopCertificate(name=handle.name, proven=proven, proof=proof, exit=seen)
