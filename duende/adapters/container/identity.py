"""Whose a container is: looked at again by the kernel's word or the runtime's, before anything is sent to it."""

from __future__ import annotations

from duende.adapters.container.engine import State
from duende.adapters.container.launching import Launching
from duende.adapters.container.plan import LABEL_ID
from duende.adapters.container.records import Record
from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, Ownership
from duende.adapters.native import foreign
from duende.errors import DuendeError, IdentityError, InstanceNotFoundError


class Identity(Launching):
    """What `verify` and `adopt` are made of."""

    def _record_of(self, handle: DaemonHandle) -> Record | None:
        record = self._records.get(handle.daemon_id)
        return record if record is not None and record.handle.instance == handle.instance else None

    async def _living(self, handle: DaemonHandle, what: str) -> Record:
        """The record of a daemon that lives and is ours; one of another process is looked at first.

        Raises:
            InstanceNotFoundError: it has ended.
            IdentityError: it is not ours, or nobody can tell.
        """
        record = self._record_of(handle)
        if record is not None and record.exit is not None:
            raise InstanceNotFoundError(
                f"cannot send {what} to {handle.name!r}: it has ended ({record.exit})"
            )
        if record is not None and (record.handle.pid or record.delegated):
            return record  # its pidfd, or the runtime, says no where it is not there any more
        try:
            found = await self._adopt(handle) if record is None else (await self._look(handle))[0]
        except DuendeError as error:
            raise IdentityError(
                f"cannot send {what} to {handle.name!r}: nobody can tell whose its container is: {error.problem}",
                remedy=error.remedy,
            ) from error
        record = record or self._record_of(handle)
        if found is Ownership.OURS and record is not None:
            return record
        if found is Ownership.GONE:
            raise InstanceNotFoundError(f"cannot send {what} to {handle.name!r}: its container does not run")
        raise IdentityError(
            f"cannot send {what} to {handle.name!r}: container {handle.instance[:12]} is a stranger now",
            remedy="forget the handle; the daemon it was for is gone",
        )

    async def _adopt(self, handle: DaemonHandle) -> Ownership:
        if self._record_of(handle) is not None and self._exit_of(handle.daemon_id) is None:
            return Ownership.OURS
        found, state = await self._look(handle, ask=True)
        if found is not Ownership.OURS or state is None:
            return found
        engine = self._engine_of(handle)
        self._ready_notify()
        record = Record(
            handle, engine, None, delegated="delegated" in handle.data, init="init" in handle.data
        )
        await self._hold(record, state)
        self._begin_watch(record)
        self._put(record)
        try:
            await self._listen(engine)
        except DuendeError as error:
            self._emit(AdapterEvent(daemon_id=handle.daemon_id, kind=EventKind.ALERT, detail=str(error)))
        self._settle(record)  # it may have ended between the look and the stream
        return found

    async def _look(self, handle: DaemonHandle, *, ask: bool = False) -> tuple[Ownership, State | None]:
        """Whose it is, and its state where the runtime was asked (always, with *ask*); raises where it was and did not say."""
        record = self._record_of(handle)
        if record is not None:
            handle = record.handle
        delegated = "delegated" in handle.data
        if handle.pid and handle.boot_id == self._boot and not delegated:
            found = foreign.verify(handle, self._boot)
            if found is Ownership.OURS and not ask:
                return found, None
            if found in (Ownership.GONE, Ownership.STRANGER) and not ask:
                return Ownership.GONE, None  # this run is over, whoever has its number now
        try:
            engine = self._engine_of(handle)
            state = await engine.inspect(handle.instance)
        except InstanceNotFoundError:
            return await self._namesake(handle), None
        if state.labels.get(LABEL_ID) != handle.daemon_id:
            return Ownership.STRANGER, state
        if not state.alive and not state.restarting:
            return Ownership.GONE, state
        if state.started_at != handle.data.get("started") and not delegated:
            return (
                Ownership.STRANGER,
                state,
            )  # somebody else has started it again: another run than the handle's
        return Ownership.OURS, state

    async def _namesake(self, handle: DaemonHandle) -> Ownership:
        """The container is gone; one that has its name now is a stranger."""
        try:
            await self._engine_of(handle).inspect(handle.data.get("container", handle.instance))
        except DuendeError:
            return Ownership.GONE
        return Ownership.STRANGER
