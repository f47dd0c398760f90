"""Numbers and layouts of the ublk driver, from <linux/ublk_cmd.h> of Linux 6.12, little endian. Pure."""

from __future__ import annotations

import enum
import struct
from typing import Self

import msgspec

from duende.errors import SerializationError

CONTROL = "/dev/ublk-control"
ANY = 0xFFFFFFFF
"""Device id: the kernel chooses."""
NO_QUEUE = 0xFFFF
MAX_QUEUE_DEPTH = 4096
SECTOR = 512
MARK = 0x6475656E
"""In the upper half of a device's `server_flags`, "duen": the lower half is the process that added it."""


def mark_of(pid: int) -> int:
    """`server_flags` for a device that the process *pid* adds."""
    return MARK << 32 | pid


def _encoded(direction: int, number: int, size: int) -> int:
    """An ioctl-encoded operation of the type 'u' (asm-generic/ioctl.h)."""
    return direction << 30 | size << 16 | ord("u") << 8 | number


_READ, _BOTH = 2, 3


class Op(enum.IntEnum):
    """Commands to the control device."""

    GET_QUEUE_AFFINITY = _encoded(_READ, 0x01, 32)
    GET_DEV_INFO = _encoded(_READ, 0x02, 32)
    ADD_DEV = _encoded(_BOTH, 0x04, 32)
    DEL_DEV = _encoded(_BOTH, 0x05, 32)
    START_DEV = _encoded(_BOTH, 0x06, 32)
    STOP_DEV = _encoded(_BOTH, 0x07, 32)
    SET_PARAMS = _encoded(_BOTH, 0x08, 32)
    GET_PARAMS = _encoded(_READ, 0x09, 32)
    START_USER_RECOVERY = _encoded(_BOTH, 0x10, 32)
    END_USER_RECOVERY = _encoded(_BOTH, 0x11, 32)
    GET_DEV_INFO2 = _encoded(_READ, 0x12, 32)
    GET_FEATURES = _encoded(_READ, 0x13, 32)
    DEL_DEV_ASYNC = _encoded(_READ, 0x14, 32)
    UPDATE_SIZE = _encoded(_BOTH, 0x15, 32)
    QUIESCE_DEV = _encoded(_BOTH, 0x16, 32)
    TRY_STOP_DEV = _encoded(_BOTH, 0x17, 32)


class IoOp(enum.IntEnum):
    """Commands of a server to the device that it serves."""

    FETCH_REQ = _encoded(_BOTH, 0x20, 16)
    COMMIT_AND_FETCH_REQ = _encoded(_BOTH, 0x21, 16)
    NEED_GET_DATA = _encoded(_BOTH, 0x22, 16)


class Feature(enum.IntFlag):
    """What a driver can, and what a device was added with."""

    SUPPORT_ZERO_COPY = 1 << 0
    URING_CMD_COMP_IN_TASK = 1 << 1
    NEED_GET_DATA = 1 << 2
    USER_RECOVERY = 1 << 3
    USER_RECOVERY_REISSUE = 1 << 4
    UNPRIVILEGED_DEV = 1 << 5
    CMD_IOCTL_ENCODE = 1 << 6
    USER_COPY = 1 << 7
    ZONED = 1 << 8
    USER_RECOVERY_FAIL_IO = 1 << 9
    UPDATE_SIZE = 1 << 10
    AUTO_BUF_REG = 1 << 11
    QUIESCE = 1 << 12
    PER_IO_DAEMON = 1 << 13


class State(enum.IntEnum):
    """Of a device."""

    DEAD = 0
    LIVE = 1
    QUIESCED = 2
    FAIL_IO = 3


_CONTROL = struct.Struct("<IHHQQHHI")
CONTROL_BYTES = _CONTROL.size


def control_command(
    device: int, *, address: int = 0, length: int = 0, data: int = 0, queue: int = NO_QUEUE
) -> bytes:
    """ublksrv_ctrl_cmd, 32 bytes."""
    return _CONTROL.pack(device, queue, length, address, data, 0, 0, 0)


_INFO = struct.Struct("<HHHHIIiIQQIIQQ")
INFO_BYTES = _INFO.size


class DeviceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """ublksrv_ctrl_dev_info, 64 bytes."""

    queues: int = 1
    depth: int = 128
    state: int = State.DEAD
    max_io_bytes: int = 1 << 19
    device: int = ANY
    server_pid: int = -1
    flags: int = 0
    server_flags: int = 0
    """The server's own; the kernel keeps them for it."""
    owner_uid: int = 0
    owner_gid: int = 0

    def pack(self) -> bytes:
        """As the kernel has it."""
        return _INFO.pack(
            self.queues,
            self.depth,
            self.state,
            0,
            self.max_io_bytes,
            self.device,
            self.server_pid,
            0,
            self.flags,
            self.server_flags,
            self.owner_uid,
            self.owner_gid,
            0,
            0,
        )

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """Of what the kernel wrote.

        Raises:
            SerializationError: it is too short.
        """
        if len(raw) < INFO_BYTES:
            raise SerializationError(f"{len(raw)} bytes are no ublksrv_ctrl_dev_info of {INFO_BYTES}")
        queues, depth, state, _, most, device, pid, _, flags, own, uid, gid, _, _ = _INFO.unpack_from(raw)
        return cls(
            queues=queues,
            depth=depth,
            state=state,
            max_io_bytes=most,
            device=device,
            server_pid=pid,
            flags=flags,
            server_flags=own,
            owner_uid=uid,
            owner_gid=gid,
        )

    @property
    def adder(self) -> int:
        """The process that added it, where that has marked it; 0 of other servers' devices. The kernel names a server from the start on only."""
        return self.server_flags & 0xFFFFFFFF if self.server_flags >> 32 == MARK else 0

    @property
    def state_name(self) -> str:
        """For people."""
        return next((each.name for each in State if each == self.state), f"state {self.state}")


class Type(enum.IntFlag):
    """Which parts of `Parameters` count."""

    BASIC = 1
    DISCARD = 2
    DEVT = 4


class Attribute(enum.IntFlag):
    """Of the basic part."""

    READ_ONLY = 1
    ROTATIONAL = 2
    VOLATILE_CACHE = 4
    FUA = 8


_PARAMS = struct.Struct("<II IBBBBIIQQ IIIIHH IIII 36x")
PARAMS_BYTES = _PARAMS.size


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """ublk_params, 112 bytes: what the block device says of itself. Shifts are powers of two in bytes, other sizes in sectors of 512 bytes."""

    sectors: int
    attributes: int = Attribute.VOLATILE_CACHE
    logical_shift: int = 12
    physical_shift: int = 12
    io_opt_shift: int = 12
    io_min_shift: int = 12
    max_sectors: int = 1024
    chunk_sectors: int = 0
    virt_boundary_mask: int = 0
    discard_alignment: int = 0
    discard_granularity: int = 4096
    max_discard_sectors: int = 1 << 21
    max_write_zeroes_sectors: int = 1 << 21
    max_discard_segments: int = 1
    types: int = Type.BASIC | Type.DISCARD
    character: tuple[int, int] = (0, 0)
    """Major and minor of /dev/ublkcN, told by the kernel (DEVT)."""
    disk: tuple[int, int] = (0, 0)
    """Those of /dev/ublkbN."""

    def pack(self) -> bytes:
        """As the kernel has it; numbers of devices are the kernel's and are not sent."""
        return _PARAMS.pack(
            PARAMS_BYTES,
            self.types & ~Type.DEVT,
            self.attributes,
            self.logical_shift,
            self.physical_shift,
            self.io_opt_shift,
            self.io_min_shift,
            self.max_sectors,
            self.chunk_sectors,
            self.sectors,
            self.virt_boundary_mask,
            self.discard_alignment,
            self.discard_granularity,
            self.max_discard_sectors,
            self.max_write_zeroes_sectors,
            self.max_discard_segments,
            0,
            0,
            0,
            0,
            0,
        )

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """Of what the kernel wrote.

        Raises:
            SerializationError: it is too short.
        """
        if len(raw) < PARAMS_BYTES:
            raise SerializationError(f"{len(raw)} bytes are no ublk_params of {PARAMS_BYTES}")
        found = _PARAMS.unpack_from(raw)
        return cls(
            types=found[1],
            attributes=found[2],
            logical_shift=found[3],
            physical_shift=found[4],
            io_opt_shift=found[5],
            io_min_shift=found[6],
            max_sectors=found[7],
            chunk_sectors=found[8],
            sectors=found[9],
            virt_boundary_mask=found[10],
            discard_alignment=found[11],
            discard_granularity=found[12],
            max_discard_sectors=found[13],
            max_write_zeroes_sectors=found[14],
            max_discard_segments=found[15],
            character=(found[17], found[18]),
            disk=(found[19], found[20]),
        )


class Request(enum.IntEnum):
    """What a block device is asked for: the low byte of op_flags."""

    READ = 0
    WRITE = 1
    FLUSH = 2
    DISCARD = 3
    WRITE_SAME = 4
    WRITE_ZEROES = 5


DESCRIPTOR = struct.Struct("<IIQQ")
"""ublksrv_io_desc: op_flags, nr_sectors, start_sector, addr."""
IO_COMMAND = struct.Struct("<HHiQ")
"""ublksrv_io_cmd: q_id, tag, result, addr (0 where the server copies itself, `Feature.USER_COPY`)."""
_PAGE = 4096
BUFFER_AT = 0x80000000
"""Where in /dev/ublkcN the data of requests is read and written (UBLKSRV_IO_BUF_OFFSET)."""
TAG_SHIFT, QUEUE_SHIFT = 25, 41


def descriptors_at(queue: int) -> int:
    """Where in /dev/ublkcN the descriptors of a queue are mapped: each queue has room for the most there may be."""
    return queue * (-(-MAX_QUEUE_DEPTH * DESCRIPTOR.size // _PAGE) * _PAGE)


def descriptors_bytes(depth: int) -> int:
    """How much of it a queue of that depth has."""
    return -(-depth * DESCRIPTOR.size // _PAGE) * _PAGE


def buffer_at(queue: int, tag: int) -> int:
    """Where in /dev/ublkcN the data of a request lies."""
    return BUFFER_AT + (queue << QUEUE_SHIFT) + (tag << TAG_SHIFT)
