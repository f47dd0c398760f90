"""Starting: from a request to a container that runs, or to one clear error and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sys
import time

import msgspec

from duende.adapters.container import parse, source
from duende.adapters.container.cgroup import device_of
from duende.adapters.container.checks import check_of
from duende.adapters.container.confined import handed_over
from duende.adapters.container.engine import Engine, Facts, Plan, Runtime
from duende.adapters.container.history import keep_tail
from duende.adapters.container.ignored import refuse_ignored
from duende.adapters.container.pausing import PROBED, probed_by
from duende.adapters.container.plan import LABEL_ID, Place, plan_of
from duende.adapters.container.records import SETTLE_EVERY, Record
from duende.adapters.container.settings import Settings, settings_of
from duende.adapters.container.sweeping import Sweeping
from duende.adapters.contract import DaemonHandle, SpawnRequest
from duende.config.model import DaemonConfig, ReadinessKind, readiness_of
from duende.errors import (
    DuendeError,
    InstanceNotFoundError,
    InvalidStateError,
    NotSupportedError,
    PlatformConfigError,
    PlatformIOError,
    SpawnError,
)
from duende.kernel.process import LOWEST_PID

NAME_TAKEN = ("already in use", "name is in use", "already exists")
"""What Docker, Podman and containerd say of a name that another container has."""


EXEC_TIMEOUT = 2.0
"""Seconds for a runtime's init to execute the program; it takes milliseconds."""


UNSEEN_TIMEOUT = 0.2
"""The same where process 1 was gone, or cannot be seen from here: seconds for the runtime to notice its end."""


class Launching(Sweeping):
    """What `launch` is made of."""

    async def _start_one(self, request: SpawnRequest) -> DaemonHandle:
        from duende.config import normalise

        config = normalise(request.config)
        request = msgspec.structs.replace(request, config=config)
        settings = settings_of(config)
        engine = await self.engine()
        facts = await engine.facts()
        refuse_ignored(config, facts)
        async with self._starts():
            await self._listen(engine)
            plan = self._plan(request, settings, facts)
            if settings.init is None and engine.socket in self._no_init:
                plan = msgspec.structs.replace(plan, init=False)
            await self._make_room(engine, plan, request.daemon_id)
            pull = settings.pull == "missing"
            try:
                return await self._run(engine, plan, request, pull=pull)
            except SpawnError as error:
                if error.step != "init" or settings.init is not None:
                    raise
            # Nobody asked for an init by name, and the runtime has none: `stop` does without.
            self._no_init.add(engine.socket)
            plan = self._plan(
                request, settings, facts
            )  # again: what was written for the first one went with it
            return await self._run(engine, msgspec.structs.replace(plan, init=False), request, pull=pull)

    def _plan(self, request: SpawnRequest, settings: Settings, facts: Facts) -> Plan:
        config = request.config
        found = None
        if config.daemon is not None and settings.mount_source:
            found = source.source_of(config.daemon, request.import_path)
        for path in config.security.writable_paths:
            if not os.path.exists(path):
                raise PlatformConfigError(
                    f"cannot start {config.name!r}: security.writable_paths: {path!r} is not on this host",
                    remedy="create it: it is mounted into the container under the same path",
                )
        return plan_of(request, settings, facts, self._place(request, facts), found)

    def _place(self, request: SpawnRequest, facts: Facts) -> Place:
        config = request.config
        file_env: dict[str, str] = {}
        if config.env_file is not None:
            from duende.config import read_env_file

            file_env = read_env_file(config.env_file)
        throttled = config.resources.io_read_bps or config.resources.io_write_bps
        notify = readiness_of(config) is ReadinessKind.NOTIFY
        return Place(
            image=self._image_of(config),
            notify_dir=self._ready_notify() if notify else "",
            daemon_dir=self._daemon_dir(request) if config.daemon is not None else "",
            device=device_of(facts.root_dir) if throttled and facts.root_dir else "",
            python=sys.version_info[:2],
            nproc=_process_limit() if facts.runtime is Runtime.PODMAN else 0,
            log_path=f"{self.state_dir}/logs/{config.name}-{request.daemon_id[:8]}.log",
            file_env=file_env,
            seccomp=handed_over(config, facts.runtime, self._profile_path(request.daemon_id)),
        )

    def _image_of(self, config: DaemonConfig) -> str:
        image = config.platform.container_image or self.image
        if not image:
            raise PlatformConfigError(
                f"cannot start {config.name!r} in a container: neither platform.container_image nor the adapter's image says in which",
                remedy='set platform.container_image, for example "python:3.11-slim"',
            )
        return image

    def _daemon_dir(self, request: SpawnRequest) -> str:
        """The folder in which the daemon makes its health socket, and the path the manager asks, which leads there.

        What the container's root makes there belongs to the host's root, so nobody else may enter the folder above it.
        """
        folder, link = self._daemon_paths(request.daemon_id)
        try:
            os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
            os.makedirs(folder, exist_ok=True)
            os.chmod(folder, 0o777 if request.config.user is not None else 0o755)
            if not os.path.islink(link):
                os.symlink(f"{folder}/{source.DAEMON_SOCKET}", link)
        except OSError as error:
            raise PlatformIOError(
                f"cannot use {self.runtime_dir}: {error.strerror}", remedy="choose another runtime folder"
            ) from error
        return folder

    def _daemon_paths(self, daemon_id: str) -> tuple[str, str]:
        return f"{self.runtime_dir}/containers/{daemon_id[:13]}", f"{self.runtime_dir}/{daemon_id[:13]}.sock"

    def _profile_path(self, daemon_id: str) -> str:
        return f"{self.runtime_dir}/containers/{daemon_id[:13]}.seccomp.json"

    def _drop_dir(self, daemon_id: str) -> None:
        folder, link = self._daemon_paths(daemon_id)
        shutil.rmtree(folder, ignore_errors=True)
        for path in (link, self._profile_path(daemon_id)):
            try:
                os.unlink(path)
            except OSError:
                pass  # most have none, and a folder that is gone has nothing left either

    async def _make_room(self, engine: Engine, plan: Plan, daemon_id: str) -> None:
        """Remove the container of an earlier run of the same daemon; the end of its output is kept."""
        record = self._records.get(daemon_id)
        if record is None and plan.name not in self._doomed:
            return  # the first run here: a container of an earlier manager shows as a name that is taken
        await self._remove_earlier(engine, plan.name, daemon_id)

    async def _remove_earlier(self, engine: Engine, name: str, daemon_id: str) -> bool:
        """Whether the name is free now: a container with it that carries our id is ours alone, even if it runs."""
        try:
            found = await engine.inspect(name)
        except InstanceNotFoundError:
            self._doomed.pop(name, None)
            return True
        if found.labels.get(LABEL_ID) != daemon_id:
            return False
        await keep_tail(engine, found.id, self.state_dir, daemon_id)
        record = self._by_container.get(found.id)
        if record is not None and record.exit is not None and record.missed(found):
            try:
                # Docker takes 10 s to remove what it thinks runs and cannot kill: nobody has to wait for that.
                await engine.rename(found.id, f"{name}-{found.id[:12]}")
            except NotSupportedError:
                pass  # it has to be removed at once
            else:
                self._doom(engine, found.id, daemon_id)
                self._doomed.pop(name, None)
                return True
        try:
            await engine.remove(found.id, force=True)
        except InstanceNotFoundError:
            pass  # somebody was quicker
        self._doomed.pop(name, None)
        return True

    async def _run(self, engine: Engine, plan: Plan, request: SpawnRequest, *, pull: bool) -> DaemonHandle:
        name, daemon_id = request.config.name, request.daemon_id
        container = ""
        self._starting += 1
        try:
            container = await self._create(engine, plan, request, pull=pull)
            await engine.start(container)
            record = await self._record(engine, plan, request, container)
        except BaseException as error:
            # Also when whoever asked has given up: what was begun is taken back before anybody hears of it.
            await self._take_back(engine, container or plan.name, daemon_id)
            if not container and not isinstance(error, SpawnError):
                self._doom(engine, plan.name, daemon_id)  # perhaps it is being made right now
            if isinstance(error, SpawnError) and error.step in ("start", "create"):
                raise parse.spawn_error(name, plan.argv[0], error.problem) from error
            if isinstance(error, InvalidStateError | InstanceNotFoundError):
                raise SpawnError(
                    f"cannot start {name!r}: {error}", step="start", remedy="try again"
                ) from error
            raise
        finally:
            self._starting -= 1
            if self._notify is not None:
                self._notify.retry(last=not self._starting)
        return record.handle

    async def _create(self, engine: Engine, plan: Plan, request: SpawnRequest, *, pull: bool) -> str:
        for again in (False, True):
            try:
                return await engine.create(plan, pull=pull)
            except (InvalidStateError, SpawnError) as error:
                if not any(part in str(error) for part in NAME_TAKEN):
                    raise
                if again or not await self._remove_earlier(engine, plan.name, request.daemon_id):
                    raise SpawnError(
                        f"cannot start {request.config.name!r}: {engine.runtime.value} has a container {plan.name!r} that is not this daemon's",
                        step="name",
                        path=plan.name,
                        remedy=f"remove it: {engine.runtime.value} rm -f {plan.name}",
                    ) from error
        raise SpawnError(f"cannot start {request.config.name!r}: its name stays taken", step="name")

    async def _take_back(self, engine: Engine, container: str, daemon_id: str) -> None:
        removed = await self._discard(engine, container, daemon_id)
        record = self._records.get(daemon_id)
        if removed and (record is None or record.exit is not None):
            self._drop_dir(daemon_id)

    async def _record(self, engine: Engine, plan: Plan, request: SpawnRequest, container: str) -> Record:
        state = await engine.inspect(container)
        data = {
            "runtime": engine.runtime.value,
            "socket": engine.socket,
            "container": plan.name,
            "started": state.started_at,
        }
        if request.config.restart.delegate:
            data["delegated"] = "1"
        if plan.init:
            data["init"] = "1"
        check = check_of(request.config)
        if check is not None and plan.health is None:
            data["health"] = check.to_json()
        probed = probed_by(request.config, check)
        if probed:
            data[PROBED] = probed
        handle = DaemonHandle(
            daemon_id=request.daemon_id,
            name=request.config.name,
            platform=self.platform,
            instance=state.id,
            boot_id=self._boot,
            config_hash=request.config_hash,
            data=data,
        )
        record = Record(handle, engine, None, delegated=request.config.restart.delegate, init=plan.init)
        await self._hold(record, state)
        if plan.init and (record.watch is None or not record.watch.executed):
            await self._check_program(engine, plan, record, state.pid)
        self._begin_watch(record)
        self._put(record)
        if not state.alive or record.watch is None:
            self._settle(record)  # it was quicker than the answer
        return record

    async def _check_program(self, engine: Engine, plan: Plan, record: Record, pid: int) -> None:
        """The runtime's init could start, its child was not seen to: find out whether there is such a program at all.

        Raises:
            SpawnError: there is none, as that init says in its last words.
        """
        patience = EXEC_TIMEOUT if record.watch is not None else UNSEEN_TIMEOUT if pid >= LOWEST_PID else 0.0
        deadline = time.monotonic() + patience
        while (state := await engine.inspect(record.handle.instance)).alive:
            if time.monotonic() >= deadline or (record.watch is not None and record.watch.runs()):
                return  # it lives, so it runs something
            await asyncio.sleep(SETTLE_EVERY)
        if state.exit_code in parse.NOT_EXECUTED:
            words = await engine.logs(record.handle.instance, 1)
            if words and parse.said_by_init(words[0]):
                record.release()
                raise parse.spawn_error(record.handle.name, plan.argv[0], words[0])

    def _put(self, record: Record) -> None:
        earlier = self._records.get(record.handle.daemon_id)
        if earlier is not None:
            earlier.release()
            self._by_container.pop(earlier.handle.instance, None)
        self._records[record.handle.daemon_id] = record
        self._by_container[record.handle.instance] = record

    async def _remove_ended(self, record: Record) -> None:
        """Give a container that has ended back to nobody: it, its folder and what was kept of its output."""
        self._records.pop(record.handle.daemon_id, None)
        self._by_container.pop(record.handle.instance, None)
        record.release()
        try:
            await self._discard(record.engine, record.handle.instance, record.handle.daemon_id)
        except DuendeError:
            return  # it is on the list of what is removed once the runtime answers
        self._drop_dir(record.handle.daemon_id)


def _process_limit() -> int:
    """RLIMIT_NPROC as Podman's service has it: it lowers its own to the largest pid (Podman 4.3, cmd/podman/early_init_linux.go), and
    without CAP_SYS_RESOURCE its default for containers, which is above, fails.
    """
    try:
        with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
            largest = int(file.read())
    except (OSError, ValueError):
        largest = 32768
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    return largest if hard == resource.RLIM_INFINITY else min(hard, largest)
