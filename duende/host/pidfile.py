"""A PID file that is a lock as well: whoever holds it is the one instance."""

from __future__ import annotations

import fcntl
import os

from duende.errors import AlreadyRunningError, DaemonIOError

TRIES = 5


class PidFile:
    """Take it before `init`, let it go at the end; a stale file of a dead process is taken over."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd: int | None = None

    def take(self) -> None:
        """Lock the file and write this process's PID.

        Raises:
            AlreadyRunningError: another instance holds it.
            DaemonIOError: it cannot be written.
        """
        for _ in range(TRIES):
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            except OSError as error:
                raise self._unusable(error) from error
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
                os.close(fd)
                raise AlreadyRunningError(
                    f"cannot start: another instance holds {self.path} (pid {owner})",
                    remedy="stop that one, or use another --pid-file",
                ) from None
            try:
                # The owner before us may have removed the file between our open and our lock: then ours is a
                # file nobody can see.
                if os.stat(self.path).st_ino == os.fstat(fd).st_ino:
                    os.ftruncate(fd, 0)
                    os.write(fd, b"%d\n" % os.getpid())
                    os.fsync(fd)
                    self._fd = fd
                    return
            except FileNotFoundError:
                pass  # removed just now: try once more
            except OSError as error:
                os.close(fd)
                raise self._unusable(error) from error
            os.close(fd)
        raise AlreadyRunningError(f"cannot start: {self.path} changes hands too quickly", remedy="try again")

    def release(self) -> None:
        """Remove the file while it is still locked, then let go; harmless when not held."""
        if self._fd is None:
            return
        try:
            if os.stat(self.path).st_ino == os.fstat(self._fd).st_ino:
                os.unlink(self.path)
        except FileNotFoundError:
            pass  # removed by somebody else
        finally:
            os.close(self._fd)
            self._fd = None

    def _unusable(self, error: OSError) -> DaemonIOError:
        return DaemonIOError.of(
            "write the PID file", self.path, error, "correct pid_file or the rights on its folder"
        )
