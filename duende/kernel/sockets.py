"""The few Unix sockets that are needed before anything is loaded, as plain descriptors (unix(7)).

The module `socket` brings `enum`, `selectors` and more: a sixth of the warden's memory and a tenth of a manager's start. `_socket`, which
it is built on, brings nothing.
"""

from __future__ import annotations

import _socket
import os


def pair() -> tuple[int, int]:
    """Two connected stream sockets.

    Raises:
        OSError: no descriptor is to be had.
    """
    one, other = _socket.socketpair()
    return one.detach(), other.detach()


def listen(path: str) -> int:
    """A listening socket at *path* that only this user reaches; a stale one is replaced.

    Raises:
        OSError: the path cannot be used.
    """
    made = _socket.socket(_socket.AF_UNIX)
    try:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # the first one here
        made.bind(path)
        os.chmod(path, 0o600)
        made.listen(4)
    except OSError:
        made.close()
        raise
    return made.detach()


def answers(path: str) -> bool:
    """Whether somebody listens at *path*.

    Raises:
        OSError: nobody can tell.
    """
    probe = _socket.socket(_socket.AF_UNIX)
    try:
        probe.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    finally:
        probe.close()
    return True
