"""Which start a handle is for, and whether it is still that one."""

from __future__ import annotations

from duende.adapters.contract import DaemonHandle
from duende.adapters.systemd import parse
from duende.adapters.systemd.asking import GONE
from duende.adapters.systemd.bus import PROPERTIES, SERVICE, Refusal
from duende.adapters.systemd.cgroup import MARK
from duende.adapters.systemd.records import Record, unit_path
from duende.adapters.systemd.start import Starter
from duende.errors import IdentityError, InstanceNotFoundError, StatusFailedError
from duende.kernel.process import read_stat
from duende.states import DaemonStatus, Phase


class Identity(Starter):
    """Finding units by their handles: the invocation id says which start, whatever the name."""

    async def _signal_path(self, handle: DaemonHandle, record: Record | None) -> str:
        """The object of the start that *handle* is for; raises as `signal` does."""
        if record is not None:
            return record.invocation_path if record.state.invocation else record.path
        if not handle.data.get("delegated"):
            return unit_path(_invocation(handle))
        found = await self._look_up(handle)
        if found is None:
            raise InstanceNotFoundError(
                f"{handle.name!r} has ended: {handle.instance} belongs to another start"
            )
        return found.invocation_path

    async def _look_up(self, handle: DaemonHandle) -> Record | None:
        """The unit of *handle* as it is now; None where its name belongs to another start.

        Raises:
            InstanceNotFoundError: systemd has no such unit (any more).
            IdentityError: the handle does not say which start it is for.
            PlatformError: systemd does not answer.
        """
        invocation = _invocation(handle)
        delegated = "delegated" in handle.data
        record = Record(
            handle.daemon_id,
            handle.name,
            handle.instance,
            delegated=delegated,
            notify="notify" in handle.data,
        )
        try:
            await self.read(record)
            if record.state.invocation != invocation and not (delegated and await self._has_mark(record)):
                if not record.state.invocation:
                    raise InstanceNotFoundError(
                        f"{handle.name!r} has ended: {handle.instance} is not running"
                    )
                return None
        except Refusal as refusal:
            if refusal.short in GONE:
                raise InstanceNotFoundError(
                    f"{handle.name!r} has ended: systemd has no {handle.instance}"
                ) from refusal
            raise self.bus.error_of(refusal) from refusal
        return record

    async def _has_mark(self, record: Record) -> bool:
        """Whether the unit was made for this daemon: systemd's own restarts change the invocation id, not the environment."""
        (value,) = await self.bus.call(record.path, PROPERTIES, "Get", "ss", [SERVICE, "Environment"])
        return f"{MARK}={record.daemon_id}" in parse.plain(value)

    async def _ended(self, handle: DaemonHandle, path: str) -> DaemonStatus:
        """The status of a unit that is still loaded and has ended, and that nobody here saw end."""
        record = Record(handle.daemon_id, handle.name, handle.instance, delegated=False, notify=False)
        try:
            await self.read(record, path)
        except Refusal as refusal:
            if refusal.short in GONE:
                return DaemonStatus(Phase.STOPPED)
            raise StatusFailedError(
                f"cannot ask for {handle.name!r}: {self.bus.error_of(refusal)}"
            ) from refusal
        return parse.status_of(record.state)

    def _is_paused(self, handle: DaemonHandle, record: Record | None) -> bool:
        pid = handle.pid
        if record is not None and record.delegated:
            pid = 0  # systemd may have started another since
        stat = read_stat(pid) if pid else None
        if stat is not None and stat.start_time == handle.start_time:
            return stat.state in "Tt"
        return record is not None and record.paused


def _invocation(handle: DaemonHandle) -> str:
    found = handle.data.get("invocation", "")
    if len(found) != 32 or not handle.instance:
        raise IdentityError(
            f"cannot look at {handle.name!r}: its handle has no invocation id of systemd",
            remedy="forget the handle; find the unit by: systemctl list-units 'duende-*'",
        )
    return found
