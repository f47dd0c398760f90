"""The control protocol of ublk: devices are added, given parameters, started, stopped, recovered and deleted. What the kernel refuses is an error with
its number, the command and a remedy.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from typing import Self

from duende.errors import PlatformTimeoutError, UblkError
from duende.ublk.channel import Channel, KernelChannel
from duende.ublk.layout import (
    ANY,
    INFO_BYTES,
    PARAMS_BYTES,
    DeviceInfo,
    Feature,
    Op,
    Parameters,
    control_command,
)

TIMEOUT = 5.0
"""Seconds that a command may take."""
_NODE = re.compile(r"ublkc([0-9]{1,9})")
_REMEDY = {
    errno.ENODEV: "look at the devices there are: duende ublk list",
    errno.EEXIST: "choose another number, or let the kernel choose",
    errno.EBUSY: "stop it first, and whoever uses it",
    errno.EPERM: "become root (CAP_SYS_ADMIN)",
    errno.EACCES: "become root (CAP_SYS_ADMIN)",
    errno.EINVAL: "correct the parameters, or the order of the commands",
    errno.EOPNOTSUPP: "use a newer kernel: it does not know this command, or not in its encoded form (Linux 6.4)",
    errno.ENOMEM: "ask for fewer queues, or a smaller depth",
    errno.ENOSPC: "delete a device: there are as many as the driver allows (/sys/module/ublk_drv/parameters/ublks_max)",
}


class UblkControl:
    """The control device. A context manager; of one thread at a time."""

    def __init__(self, channel: Channel | None = None, *, nodes: str = "/dev") -> None:
        """Open it, or speak through *channel*; *nodes* is where the nodes of devices are.

        Raises:
            UblkError: there is no driver, or it may not be used.
        """
        self._channel = channel if channel is not None else KernelChannel()
        self.nodes = nodes
        self._late: list[ctypes.Array[ctypes.c_char] | None] = []
        """Memory of commands that were given up: the kernel may still write there, as long as the channel is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; devices stay as they are."""
        self._channel.close()

    def features(self) -> Feature:
        """What the driver can. Raises as the others do."""
        buffer = ctypes.create_string_buffer(8)
        self._do(Op.GET_FEATURES, ANY, buffer)
        return Feature(int.from_bytes(buffer.raw, "little"))

    def devices(self) -> list[int]:
        """Numbers of all devices, by their nodes."""
        found = (_NODE.fullmatch(name) for name in os.listdir(self.nodes))
        return sorted(int(each[1]) for each in found if each is not None)

    def character(self, device: int) -> str:
        """The node that a server serves."""
        return os.path.join(self.nodes, f"ublkc{device}")

    def block(self, device: int) -> str:
        """The node of the block device."""
        return os.path.join(self.nodes, f"ublkb{device}")

    def add(self, wanted: DeviceInfo) -> DeviceInfo:
        """Add a device; as it came to be: with its number, and with as many queues as there are processors at most.

        Raises:
            UblkError: the number is taken (EEXIST), or the kernel refuses something of it (EINVAL).
            PlatformTimeoutError: the driver does not answer.
        """
        buffer = ctypes.create_string_buffer(wanted.pack(), INFO_BYTES)
        self._do(Op.ADD_DEV, wanted.device, buffer)
        return DeviceInfo.unpack(buffer.raw)

    def info(self, device: int) -> DeviceInfo:
        """How it is; raises as `add` does, ENODEV of one that there is not."""
        buffer = ctypes.create_string_buffer(INFO_BYTES)
        self._do(Op.GET_DEV_INFO, device, buffer)
        return DeviceInfo.unpack(buffer.raw)

    def find(self, device: int) -> DeviceInfo | None:
        """The same, None where there is no such device."""
        try:
            return self.info(device)
        except UblkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def set_parameters(self, device: int, parameters: Parameters) -> None:
        """Say what the block device will be; before it is started. Raises as `add` does."""
        buffer = ctypes.create_string_buffer(parameters.pack(), PARAMS_BYTES)
        self._do(Op.SET_PARAMS, device, buffer)

    def parameters(self, device: int) -> Parameters:
        """What the block device is. Raises as `add` does."""
        buffer = ctypes.create_string_buffer(PARAMS_BYTES.to_bytes(4, "little"), PARAMS_BYTES)
        self._do(Op.GET_PARAMS, device, buffer)
        return Parameters.unpack(buffer.raw)

    def start(self, device: int, server: int, timeout: float = TIMEOUT) -> None:
        """Make the block device appear; comes back when the process *server* has fetched on every queue and the kernel has read the partition table.
        Raises as `add` does.
        """
        self._do(Op.START_DEV, device, data=server, timeout=timeout)

    def stop(self, device: int, timeout: float = TIMEOUT) -> None:
        """Make the block device go; one that is stopped already stays so. Raises as `add` does."""
        self._do(Op.STOP_DEV, device, timeout=timeout)

    def delete(self, device: int, timeout: float = TIMEOUT) -> bool:
        """Delete it; comes back when its server has closed it. Whether there was one. Raises as `add` does."""
        return self._delete(Op.DEL_DEV, device, timeout)

    def delete_async(self, device: int) -> bool:
        """Delete it once its server closes it, without waiting for that (Linux 6.5). Whether there was one. Raises as `add` does."""
        return self._delete(Op.DEL_DEV_ASYNC, device, TIMEOUT)

    def begin_recovery(self, device: int) -> None:
        """Let a new server take over a device whose server has gone; then it opens the device and fetches. Raises as `add` does, EBUSY while the
        old one is still going.
        """
        self._do(Op.START_USER_RECOVERY, device)

    def end_recovery(self, device: int, server: int, timeout: float = TIMEOUT) -> None:
        """Let requests go on, to the process *server*, once that has fetched on every queue. Raises as `add` does."""
        self._do(Op.END_USER_RECOVERY, device, data=server, timeout=timeout)

    def quiesce(self, device: int, within: float) -> None:
        """Have the device hold requests back, so that its server may be replaced (Linux 6.16). Raises as `add` does."""
        self._do(Op.QUIESCE_DEV, device, data=int(within * 1000), timeout=within + TIMEOUT)

    def _delete(self, operation: Op, device: int, timeout: float) -> bool:
        try:
            self._do(operation, device, timeout=timeout)
        except UblkError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def _do(
        self,
        operation: Op,
        device: int,
        buffer: ctypes.Array[ctypes.c_char] | None = None,
        *,
        data: int = 0,
        timeout: float = TIMEOUT,
    ) -> None:
        payload = control_command(
            device,
            address=0 if buffer is None else ctypes.addressof(buffer),
            length=0 if buffer is None else len(buffer),
            data=data,
        )
        try:
            result = self._channel.carry(operation, payload, timeout)
        except PlatformTimeoutError:
            self._late.append(buffer)
            raise
        if result < 0:
            name = "ublk" if device == ANY else f"ublk device {device}"
            raise UblkError(
                f"cannot do {operation.name} of {name}: {os.strerror(-result)}",
                errno=-result,
                command=operation.name,
                device=-1 if device == ANY else device,
                remedy=_REMEDY.get(-result, ""),
            )
