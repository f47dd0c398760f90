"""What an adapter can do for a manager before either is loaded: fork its helper process while everything is small."""

from __future__ import annotations

import os

from duende.kernel import sockets

WARDEN_SOCKET = "warden.sock"
"""Name, in the runtime folder, of the socket on which a helper waits for its next owner."""


def fork_helper(runtime_dir: str, *, keep: bool) -> tuple[int, int]:
    """Fork the native adapter's warden; gives the descriptor of our end of its socket, and its pid.

    Raises:
        OSError: the folder cannot be used, or no process is to be had.
    """
    from duende.adapters.native.warden.start import fork_warden

    ours, theirs = sockets.pair()
    listener = sockets.listen(f"{runtime_dir}/{WARDEN_SOCKET}") if keep else None
    try:
        pid = fork_warden(theirs, ours, listener, keep=keep)
    finally:
        os.close(theirs)
        if listener is not None:
            os.close(listener)
    return ours, pid
