"""A view of the file systems of a process's own: mount namespaces (mount_namespaces(7)), read-only trees (mount_setattr(2), Linux 5.12), and what a
process sees of it all.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from duende.kernel.raw import syscall

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 2, 4, 4096, 16384, 1 << 19
"""<linux/mount.h>"""
MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY = 1
KERNEL_TREES = ("/proc", "/sys", "/dev")
"""Not made read-only: what is written there are no files (as ProtectSystem=strict, systemd.exec(5))."""
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108  (mount points of the daemon's own)
"""What PrivateTmp= makes anew."""


def own_view(
    *, read_only: bool, writable: Iterable[str] = (), private_tmp: bool = False, kept: Iterable[str] = ()
) -> None:
    """Give this process, and all that it starts, a view of its own: with *read_only* nothing can be written but below *writable*, with *private_tmp*
    /tmp and /var/tmp are empty and its own, but for the *kept* paths in them. As another user than root by a user namespace, in which its
    number stays what it is.

    Raises:
        OSError: the kernel refused, or a path is not there.
    """
    user, group = os.geteuid(), os.getegid()
    _checked(_libc().unshare(ctypes.c_int(CLONE_NEWNS | (CLONE_NEWUSER if user else 0))), "unshare")
    if user:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    _mount("none", "/", None, MS_REC | MS_SLAVE, None)  # what is mounted here stays here
    if private_tmp:
        _private_tmp(list(kept))
    if read_only:
        for path in writable:
            _mount(path, path, None, MS_BIND | MS_REC, None)
        _set_read_only("/", read_only=True)
        trees = [
            path for path in (*KERNEL_TREES, *(TEMPORARY if private_tmp else ())) if os.path.ismount(path)
        ]
        for path in (*trees, *writable):
            _set_read_only(path, read_only=False)


def _private_tmp(kept: list[str]) -> None:
    held = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in kept]
    for folder in TEMPORARY:
        if os.path.isdir(folder):
            _mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for path, fd in held:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            os.makedirs(path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        _mount(f"/proc/self/fd/{fd}", path, None, MS_BIND | MS_REC, None)
        os.close(fd)


def options_of(pid: int) -> dict[str, str]:
    """Mount point -> options, as a process sees them (proc(5), mountinfo); the last mount on a point counts. Empty where it cannot be seen."""
    try:
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return {}
    return {row[4]: row[5] for row in rows if len(row) > 5}


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, about: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), about)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None) -> None:
    _checked(
        _libc().mount(
            os.fsencode(source),
            os.fsencode(target),
            None if kind is None else kind.encode(),
            ctypes.c_ulong(flags),
            None if data is None else data.encode(),
        ),
        target,
    )


def _set_read_only(path: str, *, read_only: bool) -> None:
    attributes = struct.pack(
        "=QQQQ", MOUNT_ATTR_RDONLY if read_only else 0, 0 if read_only else MOUNT_ATTR_RDONLY, 0, 0
    )
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    syscall(
        MOUNT_SETATTR,
        ctypes.c_int(AT_FDCWD),
        os.fsencode(path),
        ctypes.c_uint(AT_RECURSIVE),
        buffer,
        ctypes.c_size_t(len(attributes)),
        about=path,
    )
