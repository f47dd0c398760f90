"""`attach_tracer` of the adapters whose daemons are processes of this kernel."""

from __future__ import annotations

import asyncio
from typing import Any

from duende.adapters.contract import DaemonHandle, Ownership, PlatformAdapter
from duende.errors import IdentityError, InstanceNotFoundError, NotSupportedError
from duende.observe.trace import Tracer, attach


async def attached(adapter: PlatformAdapter, handle: DaemonHandle, options: dict[str, Any]) -> Tracer:
    """A tracer on the daemon, and on what it has started and will start. Options are those of `duende.observe.trace.Tracer`.

    Raises:
        NotSupportedError: the daemons of this platform are no processes of this kernel.
        InstanceNotFoundError: it does not run (any more).
        IdentityError: the process of that number is not the daemon, or nobody can tell.
        TracerFailedError: it cannot be traced; the text says what would help.
    """
    if not adapter.capabilities.trace:
        raise NotSupportedError(adapter.platform.value, f"trace {handle.name!r}")
    owner = await adapter.verify(handle)
    if owner is Ownership.GONE or handle.pid <= 1:
        raise InstanceNotFoundError(f"{handle.name!r} does not run", remedy="start it first")
    if owner is not Ownership.OURS:
        raise IdentityError(f"process {handle.pid} is not {handle.name!r}: it was not traced")
    return await asyncio.to_thread(attach, handle.pid, **options)
