"""The manager's folders: one manager at a time, sockets and PID files in the runtime folder, journal and logs in the state folder."""

from __future__ import annotations

import fcntl
import os

from duende.config.model import DaemonConfig
from duende.errors import AlreadyRunningError, DaemonIOError


class Folders:
    """State and runtime folder, with the lock that makes them one manager's."""

    def __init__(self, state_dir: str | None, runtime_dir: str | None) -> None:
        self._temporary: str | None = None
        if runtime_dir is None or state_dir is None:
            import tempfile  # brings random, shutil and three compressors: only where it is needed

            self._temporary = tempfile.mkdtemp(prefix="duende-")
        self.state_dir = state_dir or str(self._temporary)
        self.runtime_dir = runtime_dir or str(self._temporary)
        self.temporary = self._temporary is not None
        """Whether a folder goes with this manager: nobody will read what is kept there."""
        self._lock: int | None = None
        self._pid_files: dict[str, DaemonConfig] = {}
        """By name: whose PID file was written."""

    def take(self) -> None:
        """Create the folders and lock them.

        Raises:
            AlreadyRunningError: another manager holds the state folder.
            DaemonIOError: a folder cannot be used.
        """
        for folder, mode in ((self.state_dir, 0o755), (self.runtime_dir, 0o711)):
            try:
                os.makedirs(folder, mode=mode, exist_ok=True)
            except OSError as error:
                raise DaemonIOError.of(
                    "use the folder", folder, error, "choose another with --state-dir or --runtime-dir"
                ) from error
        path = os.path.join(self.state_dir, "manager.lock")
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise DaemonIOError.of("lock", path, error, "check the folder's rights") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(fd, 32).decode(errors="replace").strip()
            os.close(fd)
            raise AlreadyRunningError(
                f"cannot manage {self.state_dir}: a manager runs there already (pid {owner or 'unknown'})",
                remedy="use that one, or another --state-dir",
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._lock = fd

    def give_back(self) -> None:
        """Remove what only this manager needed and let go of the lock."""
        for config in list(self._pid_files.values()):
            self.remove_pid(config)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._temporary is not None:
            import shutil

            shutil.rmtree(self._temporary, ignore_errors=True)

    def pid_path(self, config: DaemonConfig) -> str:
        """Where the PID of a daemon's main process is written."""
        return config.pid_file or os.path.join(self.runtime_dir, f"{config.name}.pid")

    def write_pid(self, config: DaemonConfig, pid: int) -> None:
        """Write the PID file as a whole: a reader sees the old one or the new one.

        Raises:
            DaemonIOError: it cannot be written.
        """
        path = self.pid_path(config)
        temporary = f"{path}.new"
        try:
            fd = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644
            )
            try:
                os.write(fd, b"%d\n" % pid)
            finally:
                os.close(fd)
            os.replace(temporary, path)
        except OSError as error:
            raise DaemonIOError.of("write the PID file", path, error, "correct pid_file") from error
        self._pid_files[config.name] = config

    def remove_pid(self, config: DaemonConfig) -> None:
        """Remove the PID file if this manager wrote it."""
        written = self._pid_files.pop(config.name, None)
        if written is None:
            return
        try:
            os.unlink(self.pid_path(written))
        except FileNotFoundError:
            pass  # removed by somebody else; gone is what was wanted
