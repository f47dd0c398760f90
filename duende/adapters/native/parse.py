"""From the warden's answers to values: pure."""

from __future__ import annotations

import os
from typing import Any

from duende.adapters.contract import StopCertificate, StopStep
from duende.errors import SpawnError
from duende.states import ProcessExit

_STEPS = {
    "exec": (
        "cannot run {about}",
        {2: "check binary_path", 13: "chmod +x, or check the rights on its folders", 8: "it needs a #! line"},
    ),
    "working_dir": (
        "cannot enter working_dir {about}",
        {2: "create it, or correct working_dir", 13: "the daemon's user must be allowed to enter it"},
    ),
    "user": ("cannot become user {about}", {1: "only root may change the user"}),
    "group": ("cannot become group {about}", {1: "only root may change the group"}),
    "limit": ("cannot set {about}", {1: "a limit above the hard limit needs CAP_SYS_RESOURCE"}),
    "nice": ("cannot set niceness {about}", {13: "only root may go below 0", 1: "only root may go below 0"}),
    "network_namespace": (
        "cannot enter the network namespace {about}",
        {
            2: "make it: ip netns add NAME",
            22: "that is no network namespace: name a file of /run/netns",
            1: "only root may enter one",
        },
    ),
    "mounts": (
        "cannot give it a view of the files of its own: {about}",
        {
            1: "run as root, or where users may make user namespaces",
            2: "security.writable_paths: create it",
            38: "this kernel has no mount_setattr (Linux 5.12)",
        },
    ),
    "log": ("cannot open the log pipe {about}", {}),
    "fork": (
        "cannot create a process {about}",
        {11: "the process limit of this user or system is reached", 12: "out of memory"},
    ),
    "preload": (
        "the preloaded interpreter of {about} ended",
        {
            2: "does that Python import duende? see the adapter's stderr; or set platform.native.preload = false"
        },
    ),
}


def spawn_error(name: str, entry: tuple[Any, ...]) -> SpawnError:
    """The error for a report entry (id, 0, errno, step, about)."""
    _, _, errno, step, about = entry
    pattern, remedies = _STEPS.get(step, ("cannot {step} {about}", {}))
    what = pattern.format(about=repr(about) if about else "", step=step).rstrip()
    reason = f": {os.strerror(errno)}" if errno and step != "preload" else ""
    return SpawnError(
        f"cannot start {name!r}: {what}{reason}",
        errno=errno,
        step=step,
        path=about,
        remedy=remedies.get(errno, ""),
    )


def process_exit(entry: tuple[Any, ...]) -> ProcessExit:
    """The exit of a report entry (id, pid, code, signal, dumped, at, leftovers)."""
    return ProcessExit(code=entry[2], signal=entry[3], core_dumped=bool(entry[4]), at=entry[5])


def certificate(name: str, message: tuple[Any, ...], seen: ProcessExit | None) -> StopCertificate:
    """The certificate in a message ("stopped", request, id, steps, escalated, proven, proof, stragglers, blocked, duration)."""
    _, _, _, steps, escalated, proven, proof, stragglers, blocked, duration = message
    return StopCertificate(
        name=name,
        steps=tuple(StopStep(at, what) for at, what in steps),
        escalated=escalated,
        proven=proven,
        proof=proof,
        stragglers=tuple(stragglers),
        blocked_by=tuple(blocked),
        exit=seen,
        duration=duration,
    )
