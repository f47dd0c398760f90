"""What the adapter asks of systemd: facts of it, the state of a unit, its processes and its control group."""

from __future__ import annotations

import os
from typing import Any

from duende.adapters.systemd import parse
from duende.adapters.systemd.bus import MANAGER, MANAGER_PATH, PROPERTIES, SERVICE, UNIT, Bus, Refusal
from duende.adapters.systemd.cgroup import host_pid
from duende.adapters.systemd.facts import Facts, disks, is_unified, usable_controllers, version_number
from duende.adapters.systemd.records import Record
from duende.errors import StatusFailedError

GONE = frozenset(
    ("NoSuchUnit", "NoUnitForInvocationID", "UnknownObject", "UnknownMethod", "UnknownInterface")
)
"""Answers for a unit that systemd does not (any longer) have; the last three are those of an object that does not exist."""


class Asking:
    """Questions; what is known already is not asked again."""

    user: bool
    bus: Bus
    _facts: Facts | None

    async def facts(self) -> Facts:
        """What has to be known of this systemd; asked once for each connection.

        Raises:
            PlatformError: systemd cannot be asked.
        """
        if self._facts is None or not self.bus.connected:
            try:
                (answer,) = await self.bus.call(MANAGER_PATH, PROPERTIES, "GetAll", "s", [MANAGER])
            except Refusal as refusal:
                raise self.bus.error_of(refusal) from refusal
            text = str(parse.plain(answer.get("Version", "")))
            group = str(parse.plain(answer.get("ControlGroup", "")))
            self._facts = Facts(
                version=version_number(text),
                version_text=text,
                user=self.user,
                uid=os.getuid(),
                unified=is_unified(),
                control_group=group,
                controllers=usable_controllers(group, user=self.user),
                disks=disks(),
                environ=dict(os.environ),
            )
        return self._facts

    async def unit_call(
        self, path: str, member: str, signature: str = "", body: list[Any] | None = None
    ) -> list[Any]:
        """Call a method of a unit; raises as `Bus.call` does."""
        return await self.bus.call(path, UNIT, member, signature, body)

    async def read(self, record: Record, path: str | None = None) -> None:
        """Bring *record* up to date by asking; raises as `Bus.call` does, too.

        Raises:
            StatusFailedError: the answer has another form.
        """
        for interface in (SERVICE, UNIT):
            (answer,) = await self.bus.call(path or record.path, PROPERTIES, "GetAll", "s", [interface])
            if not isinstance(answer, dict):
                raise StatusFailedError(f"systemd answered {answer!r} when asked for {record.unit}")
            parse.update(record.state, answer)

    async def host_pid(self, record: Record) -> int:
        """The main process of *record* as numbered here, 0 where it cannot be seen.

        Only who counts in another pid namespace needs the control group for it, and systemd sends no signal for that property.
        """
        pid = record.state.exec_pid or record.state.main_pid
        if self.bus.local:
            return host_pid("", pid, record.daemon_id, local=True)
        if not record.state.group and self._facts is not None:
            found = host_pid(self._facts.likely_group(record.unit), pid, record.daemon_id, local=False)
            if found or record.state.ended:
                return found
        return host_pid(await self.group_of(record), pid, record.daemon_id, local=False)

    async def group_of(self, record: Record) -> str:
        """The control group of the unit; empty where nobody needs it. Raises as `Bus.call` does.

        Raises:
            Refusal: systemd refused.
        """
        if not record.state.group and not self.bus.local:
            try:
                (value,) = await self.bus.call(
                    record.path, PROPERTIES, "Get", "ss", [SERVICE, "ControlGroup"]
                )
            except Refusal as refusal:
                if refusal.short not in GONE:
                    raise
                return ""
            parse.update(record.state, {"ControlGroup": value})
        return record.state.group

    async def processes(self, record: Record) -> list[tuple[int, str]]:
        """The processes in the control group of the unit, as systemd sees them; none once it is unloaded.

        Raises:
            PlatformError: systemd refused, or did not answer.
        """
        try:
            (answer,) = await self.bus.call(record.path, SERVICE, "GetProcesses")
        except Refusal as refusal:
            if refusal.short in GONE:
                return []
            raise self.bus.error_of(refusal) from refusal
        return parse.processes(answer)
