"""Faults of files: a full disk, a deleted log, a folder that disappears."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from fixtures.lease import Lease, Reaper
from scenarios.faults.base import Fault, Leased, NoEffectError

BALLAST = "ballast"
BLOCK = 64 * 1024


class SmallDisk:
    """A tmpfs of a few KiB on a folder of our own, which can be filled. Needs the right to mount."""

    def __init__(self, folder: Path, kib: int) -> None:
        self.folder = folder
        self._kib = kib

    async def mount(self, reaper: Reaper) -> Lease:
        """Mount it; the lease unmounts.

        Raises:
            NoEffectError: this user may not mount.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lease = reaper.lease("umount", path=str(self.folder))
        command = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={self._kib}k,mode=755",
            "duende-scenario",
            str(self.folder),
        ]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, complaint = await process.communicate()
        if process.returncode != 0:
            lease.release()
            raise NoEffectError(f"cannot mount a tmpfs: {complaint.decode().strip()}")
        return lease


class DiskFull(Fault):
    """No space left where *folder* is; healed by removing the ballast."""

    name = "disk-full"

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / BALLAST

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Write until ENOSPC; proven by that error."""
        with open(self._ballast, "wb", buffering=0) as file:  # noqa: ASYNC230 - a tmpfs of a few KiB
            size = BLOCK
            while size:
                try:
                    if file.write(bytes(size)) == 0:
                        break
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise NoEffectError(f"cannot fill the disk: {error}") from error
                    size //= 2  # the last bytes too, or a short line still fits
        free = os.statvfs(self._ballast).f_bavail
        if free:
            raise NoEffectError(f"{free} blocks are still free")
        return f"ENOSPC in {self._ballast.parent} after {self._ballast.stat().st_size} bytes"

    async def heal(self) -> str:
        """Remove the ballast."""
        self._ballast.unlink(missing_ok=True)
        return f"removed {self._ballast}"


class DeletedLog(Fault):
    """The log file is deleted under whoever writes it; nothing to heal."""

    name = "delete-log"

    def __init__(self, path: Callable[[], Path]) -> None:
        self._path = path
        self.removed = 0
        """Bytes that were deleted on purpose."""

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Unlink it; proven by its absence or by another file in its place."""
        path = self._path()
        try:
            inode, size = path.stat().st_ino, path.stat().st_size
            path.unlink()
        except FileNotFoundError as error:
            raise NoEffectError(f"there is no {path}") from error
        if path.exists() and path.stat().st_ino == inode:
            raise NoEffectError(f"{path} is still the same file")
        self.removed += size
        return f"deleted {path} with {size} bytes"

    async def heal(self) -> str:
        """Nothing to do."""
        return "what is deleted stays deleted"


class FolderIsFile(Fault):
    """A file stands where a folder should be, so nothing can be made below it, not even by root."""

    name = "folder-is-file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Put an empty file in place of the folder; proven by ENOTDIR."""
        if self._folder.is_dir():
            shutil.rmtree(self._folder)
        self._folder.touch()
        try:
            (self._folder / "probe").touch()
        except NotADirectoryError:
            return f"{self._folder} is a file"
        raise NoEffectError(f"something can still be made in {self._folder}")

    async def heal(self) -> str:
        """Make it a folder again."""
        if self._folder.is_file():
            self._folder.unlink()
        self._folder.mkdir(parents=True, exist_ok=True)
        return f"{self._folder} is a folder"


class FolderGone(Leased):
    """A folder is moved away as a whole; healed by making it again, empty."""

    name = "folder-gone"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Rename and remove it; proven by its absence."""
        away = self._folder.with_name(self._folder.name + ".gone")
        self.leases.append(reaper.lease("remove", path=str(away)))
        try:
            self._folder.rename(away)
        except FileNotFoundError as error:
            raise NoEffectError(f"there is no {self._folder}") from error
        shutil.rmtree(away)
        if self._folder.exists():
            raise NoEffectError(f"{self._folder} is there again")
        return f"{self._folder} is gone"

    async def heal(self) -> str:
        """Make it again."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return f"made {self._folder}; {await super().heal()}"
