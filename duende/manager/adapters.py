"""The adapters of one manager: its own, and those that single daemons ask for by `platform.adapter`, made when first asked for."""

from __future__ import annotations

from duende.adapters.contract import EventSink, Platform, PlatformAdapter
from duende.config.model import DaemonConfig
from duende.errors import StateError
from duende.manager.folders import Folders


class Adapters:
    """Makes, shares and closes them; all report to one sink."""

    def __init__(self, given: PlatformAdapter | None, folders: Folders, *, keep: bool) -> None:
        self._default = given
        self._folders = folders
        self._keep = keep
        self._named: dict[str, PlatformAdapter] = {}
        self._sink: EventSink | None = None

    @property
    def default(self) -> PlatformAdapter:
        """The manager's own.

        Raises:
            StateError: the manager is not open.
        """
        if self._default is None or self._sink is None:
            raise StateError("the manager is not open", remedy="use `async with DaemonManager(...)`")
        return self._default

    def open(self, sink: EventSink) -> None:
        """Have the manager's own, and report to *sink* from now on."""
        if self._default is None:
            from duende.adapters.choose import default_adapter

            self._default = default_adapter(
                self._folders.runtime_dir, self._folders.state_dir, keep=self._keep
            )
        self._sink = sink
        self._default.subscribe(sink)

    def of(self, config: DaemonConfig) -> PlatformAdapter:
        """The adapter that runs this daemon.

        Raises:
            StateError: the manager is not open.
            NotSupportedError: this version has no such adapter, or what it needs is not installed.
        """
        name = config.platform.adapter
        if name is None or self._sink is None:
            return self.default
        made = self._named.get(name)
        if made is None:
            from duende.adapters.choose import adapter_named

            if name == "native" and self.default.platform.value == "native":
                made = self.default
            else:
                made = adapter_named(
                    name,
                    runtime_dir=self._folders.runtime_dir,
                    state_dir=self._folders.state_dir,
                    keep=self._keep,
                )
                made.subscribe(self._sink)
            self._named[name] = made
        return made

    def on(self, platform: Platform) -> PlatformAdapter | None:
        """One of those made so far that runs daemons on *platform*."""
        made = (*self._named.values(), self._default)
        return next((each for each in made if each is not None and each.platform is platform), None)

    async def close(self) -> None:
        """Close all of them; one that fails does not keep the others open."""
        for adapter in {id(each): each for each in (*self._named.values(), self._default) if each}.values():
            await adapter.close()
