"""Files of daemons, applied to a manager: one file after the other, and on disk before anything is done about it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from duende.config.load import Fleet, config_hash, load_fleet
from duende.config.model import DaemonConfig
from duende.errors import ConfigError, DaemonIOError, DuendeError, NotFoundError, StateError
from duende.ids import DaemonId
from duende.manager.definitions import Definition, Definitions, config_of, define
from duende.manager.manager import DaemonManager
from duende.states import Phase
from duende.supervision import Wish
from duende.supervisor import Supervisor


class Applied:
    """The definitions of one manager, and what changes them."""

    def __init__(self, manager: DaemonManager) -> None:
        self._manager = manager
        self._turn = asyncio.Lock()
        self.definitions = Definitions(manager.folders.state_dir)
        self.remarks: list[str] = []
        """What was found when the manager came up and somebody should know."""

    async def boot(self, path: str | None) -> None:
        """Bring a manager up: the daemons of the fleet file at *path* and those applied earlier, adopted where they run, started where that
        is wanted.

        Raises:
            ConfigError: there is a file, and nothing in it can be used.
            DuendeError: a daemon cannot be registered.
        """
        async with self._turn:
            self.definitions.load()
            names = self._register_fleet(path) if path is not None else []
            absent = self._register_earlier(path, set(names))
            adopted = set(await self._manager.resume())
            for name in absent - adopted:  # taken out of its file, and not running: nothing is left of it
                await self._manager.unregister(name)
            for name in absent & adopted:
                self._remark(name, f"no longer in {path}: stop and forget it, or apply a file that has it")
            for view in self._manager.list():
                supervisor = self._manager.find(view.name)
                if supervisor is not None and at_rest(supervisor) and self._manager.wanted_at_boot(view.name):
                    supervisor.begin()
            await self._keep_fleet(path, names, gone=absent - adopted)

    def _register_fleet(self, path: str) -> list[str]:
        path = os.path.abspath(path)
        found = load_fleet(path)
        names = []
        for name, config in found:
            if isinstance(config, ConfigError):
                self.remarks.append(f"{name}: {config}")
                continue
            earlier = self.definitions.get(config.name)
            daemon_id = ""
            if earlier is not None:  # a changed daemon is another one, and what runs of the old one is ended
                daemon_id = earlier.daemon_id if _same(earlier, config) else str(DaemonId.new())
            self._manager.register(config, checked=True, daemon_id=daemon_id)
            names.append(config.name)
        if found and not names:
            raise ConfigError(f"cannot use {path}", problems=tuple(self.remarks), source=path)
        return names

    def _register_earlier(self, path: str | None, present: set[str]) -> set[str]:
        """Register what was applied earlier and is not *present*; the names of those that came from the very *path* and left it since."""
        absent = set()
        for name, definition in self.definitions.items():
            if name in present:
                continue
            try:
                config = config_of(definition)
                self._manager.register(config, checked=True, daemon_id=definition.daemon_id)
                self.definitions.know(name, config)
            except DuendeError as error:
                self.remarks.append(f"{name} (from {definition.source}): {error}")
                continue
            if path is not None and definition.source == os.path.abspath(path):
                absent.add(name)
        return absent

    async def _keep_fleet(self, path: str | None, names: list[str], gone: set[str]) -> None:
        source = os.path.abspath(path) if path is not None else ""
        changes = {}
        for name in names:
            supervisor = self._manager.find(name)
            if supervisor is not None:
                changes[name] = define(supervisor.config, supervisor.daemon_id, source)
        if not changes and not gone:
            return
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, self.definitions.keep, changes, gone)
        except OSError as error:
            self.remarks.append(f"cannot write {self.definitions.path}: {error.strerror or error}")

    def _remark(self, name: str, text: str) -> None:
        self.remarks.append(f"{name}: {text}")
        supervisor = self._manager.find(name)
        if supervisor is not None:
            supervisor.note = text

    async def apply(self, path: str) -> dict[str, Any]:
        """Make the daemons of a file or folder known and start those that are to be started; a broken one isolates itself.

        What runs already and has not changed is left alone; what changed is stopped, replaced and started, once. A second file waits until
        the first one has taken the place of what was there, though not until its daemons are ready.

        Raises:
            ConfigError: nothing in it can be used.
            DaemonIOError: it cannot be kept; then nothing was done.
        """
        path = os.path.abspath(path)
        fleet = load_fleet(path)
        async with self._turn:
            plan = Plan(self._manager, fleet, path)
            self._keep(plan)
            await asyncio.gather(*(self._swap(plan, config) for config in plan.changed))
            for config in plan.new:
                self._manager.register(config, checked=True, daemon_id=plan.ids[config.name])
            starts = self._manager.begin_each(plan.wanted())
            starts.update(plan.under_way())
        results = await self._manager.begun(starts)
        return {
            "registered": [config.name for config in plan.new],
            "changed": [config.name for config in plan.changed if config.name not in plan.errors],
            "errors": plan.errors,
            "failed": {name: str(error) for name, error in results.items() if error is not None},
        }

    def _keep(self, plan: Plan) -> None:
        changed = {config.name: config for config in (*plan.new, *plan.changed)}
        self._write({name: define(config, plan.ids[name], plan.source) for name, config in changed.items()})

    def _write(self, changes: dict[str, Definition]) -> None:
        try:
            self.definitions.keep(changes)
        except OSError as error:
            path = self.definitions.path
            raise DaemonIOError.of("write", path, error, "make room, or check the rights") from error

    async def _swap(self, plan: Plan, config: DaemonConfig) -> None:
        """Stop what runs under the old definition and put the new one in its place, or say why not and keep the old one."""
        name = config.name
        old = self._manager.find(name)
        if old is None:
            return
        wish = old.wish
        certificate = await old.stop(wish)
        try:
            if not certificate.proven:
                raise StateError(
                    f"cannot replace {name!r}: {certificate.proof}", remedy="see `duende status`"
                )
            self._manager.replace(config, daemon_id=plan.ids[name], wish=wish)
        except DuendeError as error:
            plan.errors[name] = str(error)
            self.definitions.keep({name: define(old.config, old.daemon_id, plan.source)})
            return
        if wish is Wish.UP:
            plan.restarted.append(name)

    async def limits(self, name: str, values: dict[str, str]) -> dict[str, Any]:
        """The limits of a daemon, after *values* were put in force: for what runs, for every start to come, and for the next manager.

        Raises:
            NotFoundError: there is none of that name.
            DaemonIOError: they are in force, and could not be written down.
        """
        from duende.manager.limiting import limits_of

        supervisor = self._manager.find(name)
        if supervisor is None:
            raise NotFoundError(f"there is no daemon {name!r}", remedy="see `duende ps`")
        async with self._turn:
            found = await limits_of(supervisor, values)
            kept = self.definitions.get(name)
            if values and kept is not None:
                self._write({name: define(supervisor.config, kept.daemon_id, kept.source)})
        return found

    async def forget(self, name: str) -> None:
        """Forget a daemon that does not run, its definition too.

        Raises:
            NotFoundError: there is none of that name.
            StateError: it is active.
            DaemonIOError: that cannot be kept.
        """
        async with self._turn:
            await self._manager.unregister(name)
            try:
                self.definitions.keep({}, without=[name])
            except OSError as error:
                raise DaemonIOError.of("write", self.definitions.path, error, "make room") from error


def _same(definition: Definition, config: DaemonConfig) -> bool:
    try:
        return config_hash(config_of(definition)) == config_hash(config)
    except ConfigError:
        return False  # of another version of duende


def at_rest(supervisor: Supervisor) -> bool:
    """Whether it neither runs nor is about to."""
    phase = supervisor.status.phase
    return supervisor.next_restart_at is None and phase in (Phase.CREATED, Phase.STOPPED, Phase.FAILED)


class Plan:
    """What a file changes in a manager."""

    def __init__(self, manager: DaemonManager, fleet: Fleet, source: str) -> None:
        """Compare.

        Raises:
            ConfigError: nothing in the file can be used.
        """
        self.source = source
        self.errors: dict[str, str] = {}
        """By name: what is wrong with it."""
        self.new: list[DaemonConfig] = []
        self.changed: list[DaemonConfig] = []
        self.restarted: list[str] = []
        """Changed ones that are to run again."""
        self._again: list[str] = []
        self._starting: list[Supervisor] = []
        for name, found in fleet:
            if isinstance(found, ConfigError):
                self.errors[name] = str(found)
            else:
                self._sort(manager, found)
        if fleet and len(self.errors) == len(fleet):
            problems = tuple(self.errors.values())
            raise ConfigError(
                f"cannot use {source}: " + "; ".join(problems), problems=problems, source=source
            )
        self.ids = {config.name: str(DaemonId.new()) for config in (*self.new, *self.changed)}

    def _sort(self, manager: DaemonManager, config: DaemonConfig) -> None:
        try:
            manager.adapter_of(config)
        except DuendeError as error:
            self.errors[config.name] = str(error)
            return
        known = manager.find(config.name)
        if known is None:
            self.new.append(config)
        elif config_hash(known.config) != config_hash(config):
            self.changed.append(config)
        elif config.autostart and at_rest(known):
            self._again.append(config.name)
        elif known.status.phase is Phase.STARTING:
            self._starting.append(known)

    def under_way(self) -> dict[str, asyncio.Future[None]]:
        """What is unchanged and starts already: done means that it runs."""
        return {known.name: known.expect() for known in self._starting}

    def wanted(self) -> list[str]:
        """Whom to start now: what is new and starts by itself, what ran before it changed, and what is unchanged and at rest."""
        return [config.name for config in self.new if config.autostart] + self.restarted + self._again
