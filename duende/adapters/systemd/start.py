"""Starting a unit and knowing that the program runs: the longest of the verbs."""

from __future__ import annotations

import asyncio
import os
import time

from dbus_fast import Variant

from duende.adapters.contract import DaemonHandle, SpawnRequest
from duende.adapters.native.ignored import asks_for_bounds
from duende.adapters.systemd import memory, parse
from duende.adapters.systemd.bus import MANAGER, MANAGER_PATH, PROPERTIES, UNIT, Refusal
from duende.adapters.systemd.cgroup import MARK
from duende.adapters.systemd.facts import OLDEST, Facts
from duende.adapters.systemd.ignored import refuse_ignored
from duende.adapters.systemd.records import Record
from duende.adapters.systemd.render import EXEC_TIMEOUT, Property, render, unit_name
from duende.adapters.systemd.sweeping import Sweeping
from duende.config.model import DaemonConfig, LogDestination, ReadinessKind, RestartPolicy, readiness_of
from duende.errors import (
    AccessError,
    DuendeError,
    PlatformConfigError,
    PlatformError,
    PlatformTimeoutError,
    SpawnError,
)
from duende.kernel.process import environment_value, read_stat, start_time

LOOK_EVERY = 0.001
"""Seconds between looks at a process that systemd has forked and that has not become the program yet: exec takes 2 to 5 ms."""
EXEC_GRACE = 2.0
"""Seconds beyond systemd's own deadline for the answer to arrive."""


class Starter(Sweeping):
    """The start of units."""

    async def start_unit(self, request: SpawnRequest) -> DaemonHandle:
        """Start what *request* says; see `PlatformAdapter.launch`.

        Raises:
            SpawnError: it could not be started; nothing is left behind.
            PlatformError: systemd cannot take the configuration, or does not answer.
        """
        config = request.config
        facts = await self.facts()
        _check_version(facts)
        refuse_ignored(config, facts)
        properties = render(request, facts, runtime_dir=self.runtime_dir, env_file=_env_file(config))
        self._prepare(config)
        await self._bound(config)
        previous = self._records.get(request.daemon_id)
        if previous is not None:
            if previous.exit is None:
                raise _taken(config.name, previous.unit, "it runs already")
            await self.release(previous)
        record = Record(
            request.daemon_id,
            config.name,
            unit_name(config.name, request.daemon_id),
            delegated=config.restart.delegate and config.restart.policy is not RestartPolicy.NEVER,
            notify=readiness_of(config) is ReadinessKind.NOTIFY,
        )
        doomed = self._doomed.get(record.unit)
        if doomed is not None:  # a start before this one was given up: what came of it goes first
            try:
                await self._take_back(doomed)
            except Refusal as refusal:
                raise self._refused(config, record.unit, refusal) from refusal
            self._doomed.pop(record.unit, None)
        self._remember(record)
        record.held = self.bus.generation  # by AddRef
        try:
            await self._submit(record, config, properties)
            return self._started(record, request, facts, await self._seen_pid(record))
        except BaseException as error:
            await self._undo(record, error)
            raise

    async def _bound(self, config: DaemonConfig, before: DaemonConfig | None = None) -> None:
        """Limit the folder and the network namespace of a daemon ahead of its start, or in the place of the limits of *before*.

        Raises:
            PlatformResourceError: a limit cannot be enforced.
            PlatformConfigError: systemd is on another machine, or in a container: its paths are not those of this process.
        """
        if not asks_for_bounds(config) and before is None:
            return
        from duende.adapters import bounds

        if not self.bus.local and not config.best_effort:
            raise PlatformConfigError(
                f"cannot limit the disk use or the network of {config.name!r}: systemd's files are not those of this process",
                remedy="run duende where systemd is, or set best_effort = true to run without these limits",
            )
        if self.bus.local:
            await asyncio.to_thread(bounds.apply, config, before)

    async def _submit(self, record: Record, config: DaemonConfig, properties: list[Property]) -> None:
        self._starting += 1
        try:
            try:
                job = await self._start_transient(record, properties)
            except Refusal as refusal:
                if refusal.short not in ("UnitExists", "AlreadyExists"):
                    raise
                await self._make_room(record, config)
                job = await self._start_transient(record, properties)
            await self._executed(record, config, job)
        except Refusal as refusal:
            raise self._refused(config, record.unit, refusal) from refusal
        finally:
            self._starting -= 1
            if not self._starting:
                self._finished.clear()

    async def _start_transient(self, record: Record, properties: list[Property]) -> str:
        fds: list[int] = []
        body = []
        for name, signature, value in properties:
            if signature == "h":
                fds.append(value)
                value = len(fds) - 1  # noqa: PLW2901  (on the wire a descriptor is its place among those sent along)
            body.append([name, Variant(signature, value)])
        signature, arguments = "ssa(sv)a(sa(sv))", [record.unit, "fail", body, []]
        record.asked = time.monotonic()
        try:
            (job,) = await self.bus.call(
                MANAGER_PATH, MANAGER, "StartTransientUnit", signature, arguments, fds=fds
            )
        except Refusal:
            record.asked = 0.0  # nothing comes of it
            raise
        return str(job)

    async def _executed(self, record: Record, config: DaemonConfig, job: str) -> None:
        """Wait until the program runs: for the job of Type=exec, for the process of Type=notify, whose job lasts until READY=1."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()
        if job in self._finished:
            done.set_result(self._finished.pop(job))
        else:
            self._jobs[job] = done
        limit = EXEC_TIMEOUT + EXEC_GRACE
        try:
            done.add_done_callback(lambda _: record.wake())
            known, notify = record.state, record.notify
            if not notify and not self.bus.local:
                # Finding its number here takes a few files: time that systemd needs anyway, until the exec has happened.
                await record.until(lambda: done.done() or known.ended or known.main_pid > 0, limit)
                if known.main_pid > 0 and not done.done():
                    record.host = known.main_pid, await self.host_pid(record)
            # A main process that has ended already is enough to know: the job lasts until what it left behind has ended as well.
            if not await record.until(
                lambda: done.done() or known.ended or (notify and known.main_pid > 0), limit
            ):
                raise PlatformTimeoutError(f"start {record.unit}", limit)
            if not done.done() and not known.ended:
                # Where nobody here can see the process, systemd's word that there is one must do.
                await self._became_program(record, done, limit)
            if not done.done() and not known.ended:
                return
            result = done.result() if done.done() else "failed"
        finally:
            self._jobs.pop(job, None)
        if result == "done":
            return
        if result == "lost":
            raise SpawnError(
                f"cannot start {config.name!r}: the connection to systemd broke meanwhile",
                step="bus",
                remedy="try again",
            )
        self._judge(record, config, result)

    async def _seen_pid(self, record: Record) -> int:
        """The number of its main process here; raises as `host_pid` does."""
        inside, here = record.host
        if here and inside == (record.state.exec_pid or record.state.main_pid):
            return here
        return await self.host_pid(record)

    async def _became_program(self, record: Record, done: asyncio.Future[str], limit: float) -> None:
        """Wait until the process that systemd forked is seen to run the program: then its environment is the daemon's, mark and all."""
        deadline = asyncio.get_running_loop().time() + limit
        pid = 0
        while not done.done() and not record.state.ended and asyncio.get_running_loop().time() < deadline:
            pid = pid or await self.host_pid(record)
            if not pid or environment_value(pid, MARK) == record.daemon_id:
                return
            stat = read_stat(pid)
            if stat is None or stat.state in "ZX":
                await record.until(
                    lambda: done.done() or record.state.ended, self.timeout
                )  # it has ended: systemd will tell
                return
            await asyncio.sleep(LOOK_EVERY)

    def _judge(self, record: Record, config: DaemonConfig, result: str) -> None:
        """What a job that failed means: the program could not be run, or it ran and ended before systemd looked (seen with 252).

        Raises:
            SpawnError: it could not be run.
        """
        error = parse.start_error(config, record.state)
        if error is not None:
            raise error
        if record.state.ended:
            return  # its end is reported like any other
        raise SpawnError(
            f"cannot start {config.name!r}: systemd says job {result}, result {record.state.result or 'unknown'}",
            step="job",
            remedy=f"journalctl{' --user' if self.user else ''} -u {record.unit}",
        )

    def _started(self, record: Record, request: SpawnRequest, facts: Facts, pid: int) -> DaemonHandle:
        state = record.state
        config = request.config
        data = {
            "unit": record.unit,
            "invocation": state.invocation,
            "main_pid": str(state.exec_pid or state.main_pid),
            "systemd": facts.version_text,
        }
        if record.delegated:
            data["delegated"] = "1"
        if record.notify:
            data["notify"] = "1"
        if config.logging.destination is LogDestination.FILE and config.logging.path is not None:
            data["log"] = config.logging.path
        record.handle = DaemonHandle(
            daemon_id=record.daemon_id,
            name=record.name,
            platform=self.platform,
            instance=record.unit,
            pid=pid,
            start_time=start_time(pid) if pid else 0,
            boot_id=self._boot if pid else "",
            config_hash=request.config_hash,
            data=data,
        )
        record.watch_memory(memory.watch(record.unit, pid))
        record.started = True
        record.seen_pid = state.main_pid
        # What happened meanwhile is reported once the caller has the handle.
        asyncio.get_running_loop().call_soon(self.look, record)
        return record.handle

    async def _undo(self, record: Record, error: BaseException) -> None:
        """A start that failed leaves no unit behind, now or as soon as systemd answers."""
        if isinstance(error, SpawnError) and error.step == "name":
            self._drop(record)  # the unit of that name is not ours
            return
        if record.asked:
            self._doom(record)  # first of all: whoever asked may not wait for what follows
        try:
            if record.state.active in ("active", "activating", "deactivating", "reloading"):
                await self.unit_call(record.path, "Kill", "si", ["all", 9])
                await self.unit_call(record.path, "Stop", "s", ["replace"])
                await record.until(lambda: record.state.gone or record.removed, self.timeout)
            if record.state.sub:
                await self.release(record)
            if record.removed:
                self._doomed.pop(record.unit, None)
        except (Refusal, PlatformError):
            pass  # it is not there, or systemd is not: the error of the start says more
        finally:
            self._drop(record)

    async def _make_room(self, record: Record, config: DaemonConfig) -> None:
        """Unload a unit of this name that an earlier process of ours left and that has ended.

        Raises:
            SpawnError: it runs, or is not ours.
        """
        (path,) = await self.bus.call(MANAGER_PATH, MANAGER, "LoadUnit", "s", [record.unit])
        old = Record(
            record.daemon_id, record.name, record.unit, delegated=record.delegated, notify=record.notify
        )
        old.path = str(path)
        await self.read(old)
        (state,) = await self.bus.call(old.path, PROPERTIES, "Get", "ss", [UNIT, "LoadState"])
        if parse.plain(state) == "masked":
            raise _masked(config.name, record.unit)
        (transient,) = await self.bus.call(old.path, PROPERTIES, "Get", "ss", [UNIT, "Transient"])
        if not parse.plain(transient):
            raise _taken(config.name, record.unit, "a unit file of that name exists")
        if not old.state.gone or await self.processes(old):
            raise _taken(config.name, record.unit, f"systemd runs a unit of that name ({old.state.active})")
        self._by_path[old.path] = old
        try:
            await self._hold(old)
            await self.release(old)
        finally:
            self._by_path[record.path] = record
        if not old.removed:
            raise _taken(config.name, record.unit, "it has ended, and another process keeps it")

    def _refused(self, config: DaemonConfig, unit: str, refusal: Refusal) -> DuendeError:
        short, text = refusal.short, refusal.text
        if short == "UnitMasked":
            return _masked(config.name, unit)
        if short in ("UnitExists", "AlreadyExists"):
            return _taken(config.name, unit, text)
        if short in ("PropertyReadOnly", "UnknownProperty"):
            version = self._facts.version if self._facts is not None else 0
            return PlatformConfigError(
                f"cannot start {config.name!r}: systemd {version} does not know a setting: {text}",
                remedy="update systemd, or leave the setting out",
            )
        if short in ("InvalidArgs", "InvalidSignature", "NotSupported"):
            return PlatformConfigError(
                f"cannot start {config.name!r}: systemd refuses the configuration: {text}"
            )
        error = self.bus.error_of(refusal)
        if isinstance(error, AccessError | PlatformTimeoutError):
            return error
        return SpawnError(f"cannot start {config.name!r}: {error}", step="bus")

    def _prepare(self, config: DaemonConfig) -> None:
        logging = config.logging
        if logging.destination is LogDestination.FILE and logging.path is not None and self.bus.local:
            try:
                os.makedirs(os.path.dirname(logging.path), mode=0o755, exist_ok=True)
            except OSError as error:
                raise SpawnError(
                    f"cannot write the log {logging.path}: {error.strerror}",
                    errno=error.errno or 0,
                    step="log",
                    path=logging.path,
                    remedy="correct logging.path or the rights on its folder, or set logging.destination to null",
                ) from error
        if config.daemon is not None:
            os.makedirs(self.runtime_dir, mode=0o711, exist_ok=True)


def _env_file(config: DaemonConfig) -> dict[str, str]:
    if config.env_file is None:
        return {}
    from duende.config import read_env_file

    return read_env_file(config.env_file)


def _check_version(facts: Facts) -> None:
    if facts.version < OLDEST:
        raise PlatformConfigError(
            f"systemd {facts.version_text or 'of unknown version'} is too old: {OLDEST} is needed",
            remedy="update systemd, or use the native adapter",
        )


def _taken(name: str, unit: str, why: str) -> SpawnError:
    return SpawnError(
        f"cannot start {name!r}: the name {unit} is taken: {why}",
        step="name",
        path=unit,
        remedy=f"stop it (systemctl stop {unit}) or adopt it",
    )


def _masked(name: str, unit: str) -> SpawnError:
    return SpawnError(
        f"cannot start {name!r}: the unit {unit} is masked",
        step="name",
        path=unit,
        remedy=f"systemctl unmask {unit}",
    )
