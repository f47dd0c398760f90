"""Starting a job: check, write its property list, bootstrap, kickstart; nothing is left of a start that fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import plistlib
import secrets
import time
from typing import Any
from xml.parsers.expat import ExpatError

import msgspec

from duende.adapters.contract import DaemonHandle, Platform, SpawnRequest
from duende.adapters.launchd.exchange import Exchange, remove
from duende.adapters.launchd.ignored import delegated, refuse_ignored
from duende.adapters.launchd.launchctl import Answer, Launchctl, refusal
from duende.adapters.launchd.parse import STARTING, Trouble
from duende.adapters.launchd.records import NotifySocket, Record
from duende.adapters.launchd.render import (
    TOKEN,
    check_options,
    encode,
    label_of,
    log_path,
    notifies,
    notify_path,
    render,
)
from duende.config.model import DaemonConfig
from duende.errors import DuendeError, InstanceNotFoundError, NotSupportedError, PlatformIOError, SpawnError

BUSY_PATIENCE = 2.0
"""Seconds in which a label that launchd is still tearing down becomes free; it says 5 or 37 until then."""
BUSY_EVERY = 0.05
SWEEP_EVERY = 0.5
"""Seconds between looks for a job that perhaps came of a start that was given up."""
SWEEPS = 4
"""So many looks in a row that find nothing are needed: launchd may answer them before what was asked earlier."""
SWEEPING = "duende launchd sweep"
"""Name of tasks that closing gives some time."""


class Starter(Exchange):
    """Builds and loads."""

    async def start_job(self, request: SpawnRequest) -> DaemonHandle:
        """Start what *request* says; raises as `PlatformAdapter.launch` does.

        Raises:
            NotSupportedError: there is no launchctl here.
        """
        config = request.config
        check_options(config)
        refuse_ignored(config)
        launchctl = self._launchctl_for(config)
        if not launchctl.found:
            raise NotSupportedError(
                "launchd",
                f"start {config.name!r}: there is no {launchctl.command[0]} here",
                remedy="launchctl is part of macOS; elsewhere use another adapter",
            )
        domain = str(config.platform.launchd.get("domain") or await self.domain())
        token = secrets.token_hex(16)
        job = render(
            request,
            domain,
            environ=os.environ,
            runtime_dir=self.runtime_dir,
            state_dir=self.state_dir,
            start_id=token,
            env_file=_env_file(config),
        )
        check_host(config, job, domain)
        data = encode(job)
        folder = str(config.platform.launchd.get("plist_dir") or self.plist_dir(domain))
        path = os.path.join(os.path.abspath(folder), f"{label_of(config.name, request.daemon_id)}.plist")
        handle = self._handle_of(request, domain, path, token, launchctl)
        old = self._records.get(request.daemon_id)
        if old is not None:
            self._drop(old)
        record = Record(handle, launchctl)
        if os.path.exists(path):
            await self._make_room(record, config)  # before anything of it is written over
        self._make_folders(config, path)
        record.log_from = _size_of(handle.data.get("log", ""))
        try:
            if notifies(config):
                socket = notify_path(self.runtime_dir, request.daemon_id)
                record.notify = NotifySocket(socket, request.daemon_id, self._emit)
            write_plist(path, data, durable=record.delegated)
            await self._load(record, config)
            await self._run(record, config)
        except BaseException:
            record.release()
            remove_ours(path, token)
            await asyncio.shield(self._spawn_task(self._take_back(record)))
            raise
        self._records[request.daemon_id] = record
        return record.handle

    def _launchctl_for(self, config: DaemonConfig) -> Launchctl:
        words = config.platform.launchd.get("command")
        if not words:
            return self.launchctl
        return Launchctl((words,) if isinstance(words, str) else tuple(words), self.timeout)

    def _handle_of(
        self, request: SpawnRequest, domain: str, path: str, token: str, launchctl: Launchctl
    ) -> DaemonHandle:
        config = request.config
        data = {"domain": domain, "plist": path, "token": token}
        log = log_path(config, self.state_dir)
        if log is not None:
            data["log"] = log
        if delegated(config):
            data["delegated"] = "1"
        if notifies(config):
            data["notify"] = "1"
        if "command" in config.platform.launchd:
            data["command"] = msgspec.json.encode(list(launchctl.command)).decode()
        return DaemonHandle(
            daemon_id=request.daemon_id,
            name=config.name,
            platform=Platform.MACOS,
            instance=label_of(config.name, request.daemon_id),
            boot_id=self._boot,
            config_hash=request.config_hash,
            data=data,
        )

    async def _load(self, record: Record, config: DaemonConfig) -> None:
        """Bootstrap the job; what an earlier start of it left, and does not run, makes room."""
        domain, path = record.handle.data["domain"], record.handle.data["plist"]
        deadline = time.monotonic() + BUSY_PATIENCE
        answer = await record.launchctl.run("bootstrap", domain, path)
        while not answer.ok and answer.trouble is Trouble.LOADED and time.monotonic() < deadline:
            if not await self._make_room(record, config):
                await asyncio.sleep(BUSY_EVERY)
            answer = await record.launchctl.run("bootstrap", domain, path)
        if not answer.ok:
            raise _not_loaded(config, record, answer)

    async def _make_room(self, record: Record, config: DaemonConfig) -> bool:
        """Unload what has that label and does not run; whether there was anything.

        Raises:
            SpawnError: it runs.
        """
        try:
            job = await self.look(record.handle)
        except InstanceNotFoundError:
            return False  # it is being torn down
        if job.alive or job.state in STARTING:
            raise SpawnError(
                f"cannot start {config.name!r}: launchd runs a job of that label, {record.target} ({job.state})",
                step="name",
                path=record.target,
                remedy=f"stop it (launchctl bootout {record.target}) or adopt it",
            )
        trouble = await self.bootout(record.launchctl, record.target)
        if trouble:
            raise SpawnError(
                f"cannot start {config.name!r}: cannot unload its last start: {trouble}", step="name"
            )
        return True

    async def _run(self, record: Record, config: DaemonConfig) -> None:
        """Have it run, and know its process."""
        pid = 0
        if not record.delegated:
            answer = await record.launchctl.run("kickstart", "-p", record.target)
            words = answer.out.split()
            if not answer.ok or not words or not words[-1].isdecimal():
                raise SpawnError(
                    f"cannot start {config.name!r}: launchctl kickstart: {answer.text}", step="kickstart"
                )
            pid = int(words[-1])  # a bare number, or "service spawned with pid: N" at a terminal
        else:
            with contextlib.suppress(InstanceNotFoundError):
                pid = (await self.look(record.handle)).pid
        self._begin_watch(record, pid)
        if not record.handle.start_time:
            await self._refuse_unspawned(record, config)

    async def _refuse_unspawned(self, record: Record, config: DaemonConfig) -> None:
        """It is over already: tell a program that could not be run from one that has done its work."""
        job = await self.look(record.handle)
        if job.spawn_failed:
            what = config.binary_path or config.daemon
            raise SpawnError(
                f"cannot start {config.name!r}: launchd could not run {what}", step="exec", path=str(what)
            )

    async def _take_back(self, record: Record) -> None:
        """Leave nothing of a start that failed, or that nobody waits for any more."""
        if not await self._taken_back(record):
            self._spawn_task(self._sweep(record)).set_name(SWEEPING)

    async def _sweep(self, record: Record) -> None:
        """Launchd does not answer: what was asked of it may yet come about, and is looked for until it says for certain that it is gone."""
        looks = 0
        while looks < SWEEPS:
            await asyncio.sleep(SWEEP_EVERY)
            looks = looks + 1 if await self._taken_back(record) else 0

    async def _taken_back(self, record: Record) -> bool:
        """Unload what came of that very start; whether nothing is left of it. What another start made of its label stays."""
        try:
            if not self.is_ours(record.handle, await self.look(record.handle)):
                return True
            return not await self.bootout(record.launchctl, record.target)
        except InstanceNotFoundError:
            return True
        except DuendeError:
            return False

    def _make_folders(self, config: DaemonConfig, path: str) -> None:
        from duende.adapters.native.logs import prepare

        log = log_path(config, self.state_dir)
        if log is not None:
            prepare(log)
            if config.user is not None:
                _give(log, config.user)
        for folder, mode in ((os.path.dirname(path), 0o755), (self.runtime_dir, 0o711)):
            try:
                os.makedirs(folder, mode=mode, exist_ok=True)
            except OSError as error:
                raise PlatformIOError(
                    f"cannot use {folder}: {error.strerror}",
                    remedy="choose another folder, or use the domain of this user",
                ) from error


def write_plist(path: str, data: bytes, *, durable: bool) -> None:
    """Write a property list whole or not at all; only its owner may read it (its environment may hold secrets).

    Only one that launchd is to find again after a loss of power must be *durable*.

    Raises:
        PlatformIOError: it cannot be written.
    """
    temporary = f"{path}.{os.getpid()}.new"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        remove(temporary)
        raise PlatformIOError(
            f"cannot write {path}: {error.strerror}", remedy="check the folder and its rights"
        ) from error


def remove_ours(path: str, token: str) -> None:
    """Remove a property list unless another start has written its own there."""
    try:
        with open(path, "rb") as file:
            found = plistlib.load(file)
    except (OSError, ValueError, ExpatError):
        return  # it was never written
    if found.get("EnvironmentVariables", {}).get(TOKEN) == token:
        remove(path)


def check_host(config: DaemonConfig, job: dict[str, Any], domain: str) -> None:
    """Refuse what cannot start on this host: launchd itself would only say 78, afterwards.

    Raises:
        SpawnError: the program, the folder, the user or the group is not there.
    """
    program, folder = job["Program"], job["WorkingDirectory"]
    if not os.path.isfile(program):
        raise _absent(config, "run", program, 2, "exec", "check binary_path, or install it")
    if not os.access(program, os.X_OK):
        raise _absent(config, "run", program, 13, "exec", "chmod +x, or check the rights on its folders")
    if not os.path.isdir(folder):
        raise _absent(config, "enter working_dir", folder, 2, "working_dir", "create it, or correct it")
    if domain == "system":
        _check_owner(config)


def _check_owner(config: DaemonConfig) -> None:
    import grp
    import pwd

    for what, name, look in (("user", config.user, pwd.getpwnam), ("group", config.group, grp.getgrnam)):
        if name is None:
            continue
        try:
            look(name)
        except KeyError:
            raise SpawnError(
                f"cannot start {config.name!r}: no {what} {name!r}",
                step=what,
                path=name,
                remedy="launchd takes names, not numbers; correct it",
            ) from None


def _absent(config: DaemonConfig, doing: str, path: str, errno: int, step: str, remedy: str) -> SpawnError:
    return SpawnError(
        f"cannot start {config.name!r}: cannot {doing} {path!r}: {os.strerror(errno)}",
        errno=errno,
        step=step,
        path=path,
        remedy=remedy,
    )


def _not_loaded(config: DaemonConfig, record: Record, answer: Answer) -> DuendeError:
    if answer.trouble is Trouble.DISABLED:
        return SpawnError(
            f"cannot start {config.name!r}: the job {record.target} is disabled",
            step="name",
            path=record.target,
            remedy=f"launchctl enable {record.target}",
        )
    if answer.trouble in (Trouble.DENIED, Trouble.NO_DOMAIN):
        return refusal(f"start {config.name!r}", answer)
    return SpawnError(
        f"cannot start {config.name!r}: launchctl bootstrap: {answer.text}",
        step="bootstrap",
        path=record.handle.data["plist"],
        remedy="the log of launchd says more: log show --last 5m --predicate 'process == \"launchd\"'",
    )


def _env_file(config: DaemonConfig) -> dict[str, str]:
    if config.env_file is None:
        return {}
    from duende.config import read_env_file

    return read_env_file(config.env_file)


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size if path else 0
    except OSError:
        return 0  # the daemon makes it


def _give(path: str, user: str) -> None:
    import pwd

    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
