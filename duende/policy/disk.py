"""DiskQuota: how much a folder may hold, by what its file system has: a qgroup of btrfs, or a project quota of ext4 or XFS.

A quota is the folder's and not a process's: it stays when the daemon ends, as its files do, until another is set or it is removed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from duende.errors import PlatformResourceError
from duende.kernel import quota
from duende.policy.cgroups.readings import number
from duende.policy.cgroups.view import read_text

LEAST = 1 << 16
"""Bytes: below it the file system's own records of an empty folder are more (a subvolume of btrfs begins with a node of 16 KiB)."""
OURS = 0x4000_0000
"""Bit of the numbers given to projects here: far from those that people write into /etc/projid."""
FILES_MOST = 1_000_000
"""How many files of a folder are counted to its project when it gets a quota."""


class DiskQuota:
    """The quota of *folder*. Nothing is changed before `apply`."""

    def __init__(self, folder: str) -> None:
        """For an absolute path of a folder that exists.

        Raises:
            PlatformResourceError: it is none.
        """
        self.folder = folder
        try:
            about = os.stat(folder)
        except OSError as error:
            raise PlatformResourceError(
                f"cannot limit the disk use of {folder}: {error.strerror}",
                remedy="make the folder first, or name another: resources.disk_folder",
            ) from error
        if not stat.S_ISDIR(about.st_mode):
            raise PlatformResourceError(f"cannot limit the disk use of {folder}: it is no folder")
        self._inode = about.st_ino

    def apply(self, most: int) -> None:
        """Let the folder hold at most *most* bytes; 0 takes the limit away. What it holds already stays, also where that is more.

        Raises:
            PlatformResourceError: the file system has no quotas, they are off, or this process may not; what is missing is said.
        """
        if most and most < LEAST:
            raise PlatformResourceError(
                f"cannot limit the disk use of {self.folder} to {most} bytes: an empty folder needs as much",
                remedy=f"use {LEAST} or more",
            )
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _btrfs(fd):
                self._limit_subvolume(fd, most)
            else:
                self._limit_project(fd, most)
        finally:
            os.close(fd)

    def shown(self) -> tuple[int, int] | None:
        """(limit, used) in bytes, as the file system has it; a limit of 0 is none. None where it cannot be told."""
        try:
            fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if not (uuid := _btrfs(fd)):
                project = quota.project_of(fd)
                return quota.project_quota(fd, project) if project else (0, 0)
            group = f"/sys/fs/btrfs/{uuid}/qgroups/0_{quota.subvolume_of(fd)}"
        except OSError:
            return None
        finally:
            os.close(fd)
        used, flags = number(read_text(f"{group}/referenced")), number(read_text(f"{group}/limit_flags"))
        most = number(read_text(f"{group}/max_referenced")) if flags is not None and flags & 1 else 0
        return None if used is None else (most or 0, used)

    # -- below ---------------------------------------------------------------------------------------------------------------

    def _limit_subvolume(self, fd: int, most: int) -> None:
        if self._inode != quota.BTRFS_SUBVOLUME_INODE:
            raise PlatformResourceError(
                f"cannot limit the disk use of {self.folder}: btrfs has quotas of subvolumes, and it is none",
                remedy=f"make it one: btrfs subvolume create {self.folder}",
            )
        try:
            quota.limit_subvolume(fd, most or quota.NONE)
        except OSError as error:
            off = error.errno in (errno.ENOTCONN, errno.EINVAL)
            raise self._refused(
                error, "quotas are off on this btrfs" if off else "", f"btrfs quota enable {self.folder}"
            ) from error

    def _limit_project(self, fd: int, most: int) -> None:
        try:
            project = quota.project_of(fd)
            fresh = not project
            if fresh:
                project = OURS | self._inode & (OURS - 1)
            limit, _ = quota.project_quota(fd, project)
        except OSError as error:
            off = error.errno in (errno.ESRCH, errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
            raise self._refused(
                error,
                "its file system has no quotas for folders, or they are off" if off else "",
                "use btrfs, or ext4 or XFS mounted with prjquota",
            ) from error
        if fresh and limit:
            raise PlatformResourceError(
                f"cannot limit the disk use of {self.folder}: project {project} has a quota of somebody else's",
                remedy="give the folder a project of its own: chattr -p NUMBER FOLDER",
            )
        try:
            if fresh:
                for path, folder in _below(self.folder):
                    _count(path, project, folder=folder)
            quota.limit_project(fd, project, most)
        except OSError as error:
            raise self._refused(error, "", "") from error

    def _refused(self, error: OSError, why: str, remedy: str) -> PlatformResourceError:
        if error.errno in (errno.EPERM, errno.EACCES):
            why, remedy = "this process may not", "run as root (CAP_SYS_ADMIN)"
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
        return PlatformResourceError(
            f"cannot limit the disk use of {self.folder}: {why or error.strerror} ({name})", remedy=remedy
        )


def _btrfs(fd: int) -> str:
    """The UUID of the btrfs that *fd* is on, empty on every other file system."""
    try:
        return quota.btrfs_id(fd)
    except OSError:
        return ""


def _below(folder: str) -> Iterator[tuple[str, bool]]:
    """*folder*, and all folders and plain files in it: (path, whether it is a folder).

    Raises:
        PlatformResourceError: there are too many.
    """
    yield folder, True
    count = 0
    for where, folders, files in os.walk(folder):
        count += len(folders) + len(files)
        if count > FILES_MOST:
            raise PlatformResourceError(
                f"cannot limit the disk use of {folder}: it holds more than {FILES_MOST} files already",
                remedy="give it a project by hand: chattr -R -p NUMBER +P FOLDER",
            )
        for name in folders:
            if not os.path.islink(f"{where}/{name}"):
                yield f"{where}/{name}", True
        for name in files:
            if stat.S_ISREG(os.lstat(f"{where}/{name}").st_mode):
                yield f"{where}/{name}", False


def _count(path: str, project: int, *, folder: bool) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        quota.set_project(fd, project, inherit=folder)
    finally:
        os.close(fd)
