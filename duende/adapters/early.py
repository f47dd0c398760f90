"""What an adapter can do for a manager before either is loaded: fork its helper process while everything is small."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

WARDEN_SOCKET = "warden.sock"
"""Name, in the runtime folder, of the socket on which a helper waits for its next owner."""


def fork_helper(runtime_dir: str, *, keep: bool) -> tuple[socket.socket, int]:
    """Fork the native adapter's warden; gives our end of its socket and its pid.

    Raises:
        OSError: the folder cannot be used, or no process is to be had.
    """
    import socket

    from duende.adapters.native.warden.start import fork_warden, listen

    ours, theirs = socket.socketpair()
    listener = listen(f"{runtime_dir}/{WARDEN_SOCKET}") if keep else None
    try:
        pid = fork_warden(theirs, [ours], listener, keep=keep)
    finally:
        theirs.close()
        if listener is not None:
            listener.close()
    return ours, pid
