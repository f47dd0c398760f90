"""Disk quotas of one folder, by the file system's own calls: qgroups of btrfs, and project quotas (quotactl(2)) of ext4 and XFS.

Layouts and numbers from <linux/btrfs.h>, <linux/fs.h>, <linux/quota.h> and <linux/dqblk_xfs.h>; they are the same on all 64-bit machines.
"""

from __future__ import annotations

import ctypes
import fcntl
import struct

from duende.kernel.raw import syscall

BTRFS_IOC_FS_INFO = 0x8400941F
BTRFS_IOC_INO_LOOKUP = 0xD0009412
BTRFS_IOC_QGROUP_LIMIT = 0x8030942B
BTRFS_QGROUP_LIMIT_MAX_RFER = 1
BTRFS_SUBVOLUME_INODE = 256
"""BTRFS_FIRST_FREE_OBJECTID: the root folder of every subvolume has this number, and nothing else has."""
NONE = 2**64 - 1
"""The limit that takes one away (BTRFS_QGROUP_LIMIT_CLEAR_VALUE)."""
FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR = 0x801C581F, 0x401C5820
FSXATTR = struct.Struct("=IIIII8s")
FS_XFLAG_PROJINHERIT = 0x200
QUOTACTL_FD = 443
PRJQUOTA = 2
Q_GETQUOTA, Q_SETQUOTA = 0x800007, 0x800008
DQBLK = struct.Struct("=QQQQQQQQI4x")
QIF_BLIMITS = 1
BLOCK = 1024
"""Bytes in which block limits are counted (QIF_DQBLKSIZE)."""


def btrfs_id(fd: int) -> str:
    """The UUID of the btrfs that *fd* is on, as /sys/fs/btrfs names it.

    Raises:
        OSError: it is another file system (ENOTTY).
    """
    text = bytearray(1024)
    fcntl.ioctl(fd, BTRFS_IOC_FS_INFO, text)
    raw = bytes(text[16:32]).hex()
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


def subvolume_of(fd: int) -> int:
    """The number of the subvolume that *fd* is in.

    Raises:
        OSError: the kernel refused.
    """
    text = bytearray(4096)
    struct.pack_into("=QQ", text, 0, 0, BTRFS_SUBVOLUME_INODE)
    fcntl.ioctl(fd, BTRFS_IOC_INO_LOOKUP, text)
    return int(struct.unpack_from("=Q", text)[0])


def limit_subvolume(fd: int, most: int) -> None:
    """Let the subvolume that *fd* is in refer to at most *most* bytes; `NONE` is no limit.

    Raises:
        OSError: quotas are off on this file system (ENOTCONN, EINVAL before Linux 5.10), or this process may not.
    """
    fcntl.ioctl(
        fd,
        BTRFS_IOC_QGROUP_LIMIT,
        struct.pack("=QQQQQQ", 0, BTRFS_QGROUP_LIMIT_MAX_RFER, most, 0, 0, 0),
    )


def project_of(fd: int) -> int:
    """The project that a file or folder is counted to, 0 for none.

    Raises:
        OSError: its file system has no projects.
    """
    text = bytearray(FSXATTR.size)
    fcntl.ioctl(fd, FS_IOC_FSGETXATTR, text)
    return int(FSXATTR.unpack(text)[3])


def set_project(fd: int, project: int, *, inherit: bool) -> None:
    """Count a file or folder to *project*; with *inherit* also all that will be made in it.

    Raises:
        OSError: its file system has no projects, or this process may not.
    """
    text = bytearray(FSXATTR.size)
    fcntl.ioctl(fd, FS_IOC_FSGETXATTR, text)
    flags, *rest = FSXATTR.unpack(text)
    rest[2] = project
    fcntl.ioctl(fd, FS_IOC_FSSETXATTR, FSXATTR.pack(flags | (FS_XFLAG_PROJINHERIT if inherit else 0), *rest))


def project_quota(fd: int, project: int) -> tuple[int, int]:
    """(limit, used), in bytes, of a project on the file system of *fd*; a limit of 0 is none.

    Raises:
        OSError: project quotas are off there (ESRCH), or the kernel is older than Linux 5.14 (ENOSYS).
    """
    buffer = ctypes.create_string_buffer(DQBLK.size)
    _quotactl(fd, Q_GETQUOTA, project, buffer)
    hard, _, used, *_ = DQBLK.unpack(buffer.raw)
    return hard * BLOCK, used


def limit_project(fd: int, project: int, most: int) -> None:
    """Let a project have at most *most* bytes on the file system of *fd*; 0 is no limit.

    Raises:
        OSError: as `project_quota`, or this process may not.
    """
    text = DQBLK.pack(most // BLOCK, 0, 0, 0, 0, 0, 0, 0, QIF_BLIMITS)
    _quotactl(fd, Q_SETQUOTA, project, ctypes.create_string_buffer(text, len(text)))


def _quotactl(fd: int, command: int, project: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
    which = ctypes.c_uint(command << 8 | PRJQUOTA)
    syscall(QUOTACTL_FD, ctypes.c_uint(fd), which, ctypes.c_uint(project), buffer)
