"""Whether daemons can be supervised as processes here."""

from __future__ import annotations

import os
import sys

from duende.adapters.contract import Probe, ProbeState


def probe_native() -> Probe:
    """Usable on Linux from 5.4 (pidfd_open, waitid(P_PIDFD)); elsewhere not yet."""
    version = os.uname().release
    if sys.platform != "linux":
        return Probe(
            state=ProbeState.ABSENT,
            why=f"needs pidfd, subreaper and /proc, which {sys.platform} has not",
            version=version,
        )
    if not hasattr(os, "pidfd_open"):
        return Probe(
            state=ProbeState.UNHEALTHY,
            why="this Python was built without pidfd_open",
            version=version,
            remedy="use a newer Python",
        )
    if not os.path.exists("/proc/self/stat"):
        return Probe(
            state=ProbeState.UNHEALTHY,
            why="/proc is not mounted",
            version=version,
            remedy="mount -t proc proc /proc",
        )
    return Probe(state=ProbeState.USABLE, why="processes, pidfds and a subreaper are there", version=version)
