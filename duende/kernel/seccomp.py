"""seccomp(2): filters as classic BPF, for allow-lists. Constants from <linux/seccomp.h>, <linux/audit.h> and <linux/bpf_common.h>."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import sys
from collections.abc import Iterable

from duende.kernel.raw import syscall

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_RET_KILL_PROCESS = 0x80000000
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_USER_NOTIF = 0x7FC00000
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND = 0xC0502100, 0xC0182101
NOTIF = struct.Struct("=QIIiIQ6Q")
"""struct seccomp_notif: id, pid, flags, and of the call its number, machine, instruction and arguments."""
RESP = struct.Struct("=QqiI")
"""struct seccomp_notif_resp: id, val, error, flags."""
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64, by the name that uname(2) has for the machine."""
NR_SECCOMP = {"x86_64": 317, "aarch64": 277}
X32_BIT = 0x40000000
"""__X32_SYSCALL_BIT: numbers from here on are those of another calling convention, which no allow-list has."""
EPERM = 1
AF_UNIX = 1
LD_ABS, JEQ, JGE, RET = 0x20, 0x15, 0x35, 0x06
NR_OFFSET, ARCH_OFFSET, ARGS_OFFSET = 0, 4, 16
"""Of struct seccomp_data."""
LONGEST = 4096
"""BPF_MAXINSNS: instructions of a filter."""
Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand: struct sock_filter."""


def program(
    allowed: Iterable[int],
    *,
    machine: str,
    otherwise: int = SECCOMP_RET_KILL_PROCESS,
    refused: Iterable[int] = (),
    unix_only: int | None = None,
    refusal: int = SECCOMP_RET_ERRNO | EPERM,
) -> list[Instruction]:
    """The filter that lets the numbers *allowed* through, answers *refused* by *refusal*, and does *otherwise* with the rest.

    With *unix_only*, the number of socket(2), that call is answered by *refusal* for every family but AF_UNIX. A search in a sorted table: of
    300 calls each costs at most nine comparisons.

    Raises:
        KeyError: the machine is neither x86_64 nor aarch64.
        ValueError: the filter would be longer than the kernel takes.
    """
    actions = dict.fromkeys(allowed, SECCOMP_RET_ALLOW) | dict.fromkeys(refused, refusal)
    code: list[Instruction] = [
        (LD_ABS, 0, 0, ARCH_OFFSET),
        (JEQ, 1, 0, AUDIT_ARCH[machine]),
        (RET, 0, 0, SECCOMP_RET_KILL_PROCESS),
        (LD_ABS, 0, 0, NR_OFFSET),
    ]
    if unix_only is not None:
        code += [
            (JEQ, 0, 4, unix_only),
            (LD_ABS, 0, 0, ARGS_OFFSET),
            (JEQ, 1, 0, AF_UNIX),
            (RET, 0, 0, refusal),
            (LD_ABS, 0, 0, NR_OFFSET),
        ]
    code += _search(_ranges(actions, otherwise))
    if len(code) > LONGEST:
        raise ValueError(f"a filter of {len(code)} instructions is longer than {LONGEST}")
    return code


def _ranges(actions: dict[int, int], otherwise: int) -> list[tuple[int, int]]:
    """(first number, action) of runs of numbers that are treated alike, beginning with 0."""
    found = [(0, actions.get(0, otherwise))]
    for number in sorted({0, *actions, *(number + 1 for number in actions)}):
        action = actions.get(number, otherwise) if number < X32_BIT else SECCOMP_RET_KILL_PROCESS
        if action != found[-1][1]:
            found.append((number, action))
    return [*found, (X32_BIT, SECCOMP_RET_KILL_PROCESS)]


def _search(ranges: list[tuple[int, int]]) -> list[Instruction]:
    if len(ranges) == 1:
        return [(RET, 0, 0, ranges[0][1])]
    middle = len(ranges) // 2
    low, high = _search(ranges[:middle]), _search(ranges[middle:])
    if len(low) < 256:  # a jump is a byte
        return [(JGE, len(low), 0, ranges[middle][0]), *low, *high]
    raise ValueError("the list has too many gaps for one filter")


def run(code: list[Instruction], machine: str, number: int, argument: int = 0) -> int:
    """What the kernel would do with a call: the filter's answer, by an interpreter of its few instructions."""
    data = {NR_OFFSET: number, ARCH_OFFSET: AUDIT_ARCH[machine], ARGS_OFFSET: argument}
    accumulator = position = 0
    while True:
        kind, yes, no, operand = code[position]
        position += 1
        if kind == LD_ABS:
            accumulator = data[operand]
        elif kind == RET:
            return operand
        else:
            true = accumulator == operand if kind == JEQ else accumulator >= operand
            position += yes if true else no


def pack(code: list[Instruction]) -> bytes:
    """The filter as the kernel reads it."""
    return b"".join(struct.pack("=HBBI", *each) for each in code)


def install(packed: bytes, *, listen: bool = False) -> int:
    """Put a filter on this thread, for ever, and on all that it starts. Needs no_new_privs or CAP_SYS_ADMIN.

    With *listen* gives the descriptor on which calls are told that the filter answers by `SECCOMP_RET_USER_NOTIF`, else 0.

    Raises:
        OSError: the kernel refused, or has no seccomp.
    """
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in NR_SECCOMP:
        raise OSError(38, f"no seccomp filters on {sys.platform} {machine}")
    buffer = ctypes.create_string_buffer(packed, len(packed))

    class SockFprog(ctypes.Structure):
        """struct sock_fprog."""

        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    fprog = SockFprog(len(packed) // 8, ctypes.addressof(buffer))
    mode = ctypes.c_uint(SECCOMP_SET_MODE_FILTER)
    flags = ctypes.c_uint(SECCOMP_FILTER_FLAG_NEW_LISTENER if listen else 0)
    try:
        return syscall(NR_SECCOMP[machine], mode, flags, ctypes.byref(fprog))
    except OSError as error:
        raise OSError(error.errno, f"seccomp: {error.strerror}") from None


def next_call(listener: int) -> tuple[int, int]:
    """(what to answer to, number of the call) of the next call that waits on *listener*; poll(2) says whether there is one.

    Raises:
        OSError: it is gone already (ENOENT), or nobody is left who could make one.
    """
    buffer = bytearray(NOTIF.size)
    fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, buffer)
    fields = NOTIF.unpack(buffer)
    return fields[0], fields[3]


def let_pass(listener: int, call: int) -> None:
    """Let a call that waits go on as if there were no filter (Linux 5.5).

    Raises:
        OSError: whoever made it has ended meanwhile (ENOENT).
    """
    fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, RESP.pack(call, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE))
