"""A block device served by a daemon: `daemon = "duende.ublk.server:BlockServer"`.

Settings: `size` (a size, required), `path` (a file or block device that holds the blocks; absent: memory), `direct` (false; past the page cache),
`queues` (1), `depth` (64), `max_io` ("512KiB", the longest request), `device` (a number; absent: the kernel chooses), `recovery` (false; after a
crash the next instance goes on with the same device, and requests that were under way are asked again; needs `device` and `path`), `clean` (true:
remove orphans first), `io_flusher` (true), `partitions` (false: the kernel looks for no partition table, and a server that is killed while it starts leaves
nothing that waits). A device that swap lies on also needs `lock_memory`, and memory rather than a file.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time

from duende.config.model import DaemonConfig
from duende.daemon import Daemon, DaemonContext
from duende.errors import DuendeError, PlatformTimeoutError, UblkError
from duende.kernel.prctl import set_io_flusher
from duende.kernel.process import read_stat
from duende.states import ExitReason, HealthStatus
from duende.ublk.backing import Backing, File, Memory
from duende.ublk.control import UblkControl
from duende.ublk.layout import ANY, SECTOR, DeviceInfo, Feature, Parameters, State, mark_of
from duende.ublk.orphans import clean_orphans
from duende.ublk.queue import Queue
from duende.ublk.settings import Settings, settings_of

LOG = logging.getLogger("duende.ublk")
LOOK_EVERY_S = 0.02
NODE_WITHIN_S = 5.0
JOIN_S = 5.0
WATCH_EVERY_S = 0.5
LEAST_REQUESTS = 4
"""Of a queue of any block device (BLKDEV_MIN_RQ, <linux/blk-mq.h>)."""
FLAGS = Feature.CMD_IOCTL_ENCODE | Feature.USER_COPY
RECOVERY = Feature.USER_RECOVERY | Feature.USER_RECOVERY_REISSUE


class BlockServer(Daemon):
    """Serves one device until it is stopped; then the device goes, and so do blocks in memory."""

    name = "ublk-server"
    announces_ready = True

    def __init__(self, control: UblkControl | None = None) -> None:
        self._control = control
        self._node = -1
        self._queues: list[Queue] = []
        self._backing: Backing | None = None
        self._deleted = False
        self.device = -1
        """Its number, once there is one."""
        self.recovered = False
        """Whether it went on with the device of an earlier instance."""

    async def init(self, config: DaemonConfig) -> None:
        """Make the device ready and start it.

        Raises:
            ConfigError: settings are missing or wrong.
            UblkError: the driver is not there, or refuses.
            DaemonIOError: the file cannot be used.
        """
        settings = settings_of(config)
        if settings.io_flusher:
            self._flush_without_waiting()
        if self._control is None:
            self._control = UblkControl()
        await asyncio.to_thread(self._begin, self._control, settings)

    async def run(self, ctx: DaemonContext) -> ExitReason | None:
        """Serve."""
        ctx.status(f"serving /dev/ublkb{self.device}" + (", recovered" if self.recovered else ""))
        ctx.ready()
        while not await ctx.sleep(WATCH_EVERY_S):
            if not all(queue.alive for queue in self._queues):
                problems = [str(queue.problem) for queue in self._queues if queue.problem is not None]
                return ExitReason.error(
                    f"ublk device {self.device} is no longer served: {'; '.join(problems) or 'it was stopped'}"
                )
        return ExitReason.graceful()

    async def shutdown(self, timeout: float) -> None:
        """Stop and delete the device."""
        await asyncio.to_thread(self._end, timeout)

    async def health_check(self) -> HealthStatus:
        """Healthy while every queue is served; tells what was done."""
        if not self._queues or not all(queue.alive for queue in self._queues):
            return HealthStatus.unhealthy(f"ublk device {self.device} is not served")
        return HealthStatus.healthy()

    def counts(self) -> dict[str, int]:
        """What all queues have done."""
        each = [queue.counts for queue in self._queues]
        fields = ("requests", "read_bytes", "written_bytes", "errors")
        return {name: sum(getattr(one, name) for one in each) for name in fields}

    def _flush_without_waiting(self) -> None:
        try:
            set_io_flusher()
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
            # Without CAP_SYS_RESOURCE, or before Linux 5.6: only a device that swap lies on needs it, and lock_memory matters more.
            LOG.warning("PR_SET_IO_FLUSHER: %s: do not swap to this device", error.strerror)

    def _begin(self, control: UblkControl, settings: Settings) -> None:
        kept = settings.device if settings.recovery else None
        if settings.clean:
            for cleaned in clean_orphans(control, keep=kept):
                LOG.warning("orphan %d: %s", cleaned.device, cleaned.reason)
        found = _waiting(control, kept) if kept is not None else None
        self.recovered = found is not None
        info = found or self._added(control, settings)
        self.device = info.device
        try:
            self._serve(control, settings, info)
        except BaseException:
            self._end(JOIN_S)
            raise

    def _added(self, control: UblkControl, settings: Settings) -> DeviceInfo:
        return control.add(
            DeviceInfo(
                queues=settings.queues,
                depth=max(settings.depth, LEAST_REQUESTS) + 1,
                device=ANY if settings.device is None else settings.device,
                max_io_bytes=settings.max_io_bytes,
                flags=FLAGS | (RECOVERY if settings.recovery else 0),
                server_flags=mark_of(os.getpid()),
            )
        )

    def _serve(self, control: UblkControl, settings: Settings, info: DeviceInfo) -> None:
        size = settings.bytes
        self._backing = (
            Memory(size)
            if settings.path is None
            else File(
                settings.path,
                size,
                room=info.max_io_bytes,
                slots=info.queues * info.depth,
                direct=settings.direct,
            )
        )
        if self.recovered:
            _begin_recovery(control, self.device)
        else:
            control.set_parameters(
                self.device, Parameters(sectors=size // SECTOR, max_sectors=info.max_io_bytes // SECTOR)
            )
        self._node = self._open(control.character(self.device))
        self._queues = [
            Queue(self._node, number, info.depth, self._backing, partitions=settings.partitions)
            for number in range(info.queues)
        ]
        for queue in self._queues:
            queue.start()
        for queue in self._queues:
            if not queue.fetched.wait(NODE_WITHIN_S) or queue.problem is not None:
                raise UblkError(
                    f"cannot serve queue {queue.number} of ublk device {self.device}: {queue.problem or 'the driver does not answer'}",
                    errno=getattr(queue.problem, "errno", None) or errno.EIO,
                    command="FETCH_REQ",
                    device=self.device,
                )
        (control.end_recovery if self.recovered else control.start)(self.device, os.getpid())
        if not self.recovered:
            self._keep_one_back(settings.depth)

    def _keep_one_back(self, depth: int) -> None:
        """Have the kernel use one request less than there are in each queue.

        The driver learns that a server is gone by a fetch of its that is still open (up to Linux 6.15). One that is killed while it works on all
        requests at once has none: nobody would be told, and everybody would wait for ever. So there is one that is never used.
        """
        path = f"/sys/block/ublkb{self.device}/queue/nr_requests"
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(str(max(depth, LEAST_REQUESTS)))
        except OSError as error:
            LOG.warning(
                "%s: %s: if this server is killed while it is fully busy, its users may wait for ever",
                path,
                error.strerror,
            )

    def _open(self, path: str) -> int:
        """The node, which comes a moment after the device, and is busy while an earlier server is still being ended."""
        deadline = time.monotonic() + NODE_WITHIN_S
        while True:
            try:
                return os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EBUSY) or time.monotonic() >= deadline:
                    raise UblkError(
                        f"cannot open {path}: {error.strerror}",
                        errno=error.errno or 0,
                        command="open",
                        device=self.device,
                        remedy="check that /dev is a devtmpfs, or udev runs",
                    ) from error
            time.sleep(LOOK_EVERY_S)

    def _end(self, timeout: float) -> None:
        """Stop, let the queues end, close the node, delete: in this order, or the driver waits for us. Done once."""
        control = self._control
        if control is None or self.device < 0 or self._deleted:
            return
        self._deleted = True
        problems = []
        try:
            control.stop(self.device, timeout)
        except DuendeError as error:
            problems.append(str(error))
        ended = all([queue.join(JOIN_S) for queue in self._queues])  # noqa: C419  (every one of them is waited for)
        if self._node >= 0:
            os.close(self._node)
            self._node = -1
        try:
            control.delete(self.device, timeout)
        except (UblkError, PlatformTimeoutError) as error:
            problems.append(str(error))
        if ended and self._backing is not None:
            self._backing.close()
        for problem in problems:
            LOG.warning("ending device %d: %s", self.device, problem)
        control.close()


def _waiting(control: UblkControl, device: int) -> DeviceInfo | None:
    """The device that waits for a new server; None where there is none, or what there was is dead, and deleted.

    The kernel takes a moment until it has noticed that a server is gone. One that lives keeps its device: adding it again is then refused.
    """
    deadline = time.monotonic() + NODE_WITHIN_S
    while True:
        found = control.find(device)
        if found is None or found.state in (State.QUIESCED, State.FAIL_IO):
            return found
        if found.state == State.DEAD:
            control.delete(device)
            return None
        if read_stat(found.server_pid) is not None or time.monotonic() >= deadline:
            raise UblkError(
                f"cannot serve ublk device {device}: process {found.server_pid} does",
                errno=errno.EEXIST,
                command="START_USER_RECOVERY",
                device=device,
                remedy="stop that one, or choose another settings.device",
            )
        time.sleep(LOOK_EVERY_S)


def _begin_recovery(control: UblkControl, device: int) -> None:
    """Begin; the driver is busy while the end of the old server is not over."""
    deadline = time.monotonic() + NODE_WITHIN_S
    while True:
        try:
            control.begin_recovery(device)
            return
        except UblkError as error:
            if error.errno != errno.EBUSY or time.monotonic() >= deadline:
                raise
        time.sleep(LOOK_EVERY_S)
