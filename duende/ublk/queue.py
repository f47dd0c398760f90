"""One hardware queue of a device: its requests are fetched, done and committed by one thread, as the driver demands."""

from __future__ import annotations

import errno
import mmap
import threading
from typing import NamedTuple

from duende.kernel.capabilities import keep_only
from duende.kernel.uring import Ring
from duende.ublk.backing import Backing
from duende.ublk.layout import (
    DESCRIPTOR,
    IO_COMMAND,
    SECTOR,
    IoOp,
    Request,
    buffer_at,
    descriptors_at,
    descriptors_bytes,
)

ALL, CAP_SYS_ADMIN = (1 << 64) - 1, 21
"""<linux/capability.h>."""
OK, ABORT = 0, -errno.ENODEV
"""Results of a fetch (UBLK_IO_RES_OK, UBLK_IO_RES_ABORT): a request is there; there will be none any more."""


class Counts(NamedTuple):
    """What a queue has done so far."""

    requests: int
    read_bytes: int
    written_bytes: int
    errors: int


class Queue:
    """Serves one queue in a thread of its own, from `start` until the device is stopped."""

    def __init__(
        self, node: int, number: int, depth: int, backing: Backing, *, partitions: bool = False
    ) -> None:
        """*node* is the open character device. Only with *partitions* does the kernel read the device's partition table when it starts."""
        self._partitions = partitions
        self._node = node
        self.number = number
        self._depth = depth
        self._backing = backing
        self.fetched = threading.Event()
        """Set when every request has been fetched once: the driver waits for that before the device starts."""
        self.problem: BaseException | None = None
        """Why the thread ended before the device did."""
        self.counts = Counts(0, 0, 0, 0)
        self._thread = threading.Thread(target=self._run, name=f"ublk-queue-{number}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait until it has ended; whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            if not self._partitions:
                # The kernel reads the partition table of a device only if all threads that serve it are privileged (ublk_drv.c,
                # nr_privileged_daemon). It does so under the device's lock: a server that is killed just then could never be replaced, and not
                # even end, where its requests wait for the next one.
                keep_only(ALL & ~(1 << CAP_SYS_ADMIN))
            self._serve()
        except BaseException as error:  # noqa: BLE001  (a thread has nobody to raise it to; the server looks)
            self.problem = error
        finally:
            self.fetched.set()

    def _serve(self) -> None:
        node, number, depth = self._node, self.number, self._depth
        with (
            Ring(depth) as ring,
            mmap.mmap(
                node,
                descriptors_bytes(depth),
                mmap.MAP_SHARED | mmap.MAP_POPULATE,
                mmap.PROT_READ,
                offset=descriptors_at(number),
            ) as descriptors,
        ):
            for tag in range(depth):
                ring.command(node, IoOp.FETCH_REQ, IO_COMMAND.pack(number, tag, -1, 0), tag)
            ring.submit()
            self.fetched.set()
            left = depth
            while left:
                ring.submit(1)
                for tag, result in ring.completions():
                    if result != OK:
                        # ABORT is the usual end; anything else is the driver's word that this tag is lost.
                        left -= 1
                        if result != ABORT:
                            raise OSError(-result, f"tag {tag} of queue {number} cannot be served")
                        continue
                    done = self._do(tag, descriptors)
                    ring.command(node, IoOp.COMMIT_AND_FETCH_REQ, IO_COMMAND.pack(number, tag, done, 0), tag)

    def _do(self, tag: int, descriptors: mmap.mmap) -> int:
        """Do one request; its result, an error number below 0."""
        flags, sectors, first, _ = DESCRIPTOR.unpack_from(descriptors, tag * DESCRIPTOR.size)
        what: int = flags & 0xFF
        offset, length = int(first) * SECTOR, int(sectors) * SECTOR
        slot = self.number * self._depth + tag
        requests, read, written, errors = self.counts
        try:
            if what == Request.FLUSH:  # is of the whole device, and says nothing of where
                self._backing.flush()
                self.counts = Counts(requests + 1, read, written, errors)
                return 0
            if offset + length > self._backing.size:
                raise OSError(errno.EIO, "beyond the end")
            if what == Request.READ:
                self._backing.read(self._node, buffer_at(self.number, tag), offset, length, slot)
                self.counts = Counts(requests + 1, read + length, written, errors)
                return length
            if what == Request.WRITE:
                self._backing.write(self._node, buffer_at(self.number, tag), offset, length, slot)
                self.counts = Counts(requests + 1, read, written + length, errors)
                return length
            if what not in (Request.DISCARD, Request.WRITE_ZEROES):
                raise OSError(errno.EOPNOTSUPP, "unknown request")
            self._backing.zero(offset, length)
        except OSError as error:
            self.counts = Counts(requests + 1, read, written, errors + 1)
            return -(error.errno or errno.EIO)
        self.counts = Counts(requests + 1, read, written, errors)
        return length
