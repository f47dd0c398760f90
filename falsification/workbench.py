"""What most attempts need: configurations of test daemons, a manager in a folder of the trial, and looks at real processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, SpawnRequest
from duende.adapters.native.adapter import NativeAdapter
from duende.config.model import DaemonConfig, PlatformSection, RestartConfig, RestartPolicy
from duende.ids import DaemonId
from duende.kernel.process import environment_value
from duende.manager import DaemonManager
from falsification.kit import Trial

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ROOT / "fixtures" / "classes.py"
SCRIPTS = ROOT / "fixtures" / "daemons"


def daemon_class(name: str, as_name: str | None = None, **fields: Any) -> DaemonConfig:
    """The configuration of a Daemon class of fixtures/classes.py."""
    return DaemonConfig(name=as_name or name.lower(), daemon=f"{CLASSES}:{name}", **fields)


def never(config: DaemonConfig) -> DaemonConfig:
    """The same without restarts."""
    return msgspec.structs.replace(config, restart=RestartConfig(policy=RestartPolicy.NEVER))


def exec_path(config: DaemonConfig) -> DaemonConfig:
    """The same, started by exec and not from the preloaded interpreter."""
    return msgspec.structs.replace(config, platform=PlatformSection(native={"preload": False}))


def with_settings(config: DaemonConfig, **settings: Any) -> DaemonConfig:
    """The same with *settings*."""
    return msgspec.structs.replace(config, settings=settings)


async def manager_for(trial: Trial, folder: str = "m", **options: Any) -> DaemonManager:
    """An open manager below the trial's folder, closed with the trial."""
    home = trial.tmp / folder
    manager = DaemonManager(state_dir=str(home / "s"), runtime_dir=str(home / "r"), **options)
    await manager.open()
    trial.defer(manager.close)
    return manager


async def adapter_for(trial: Trial, folder: str = "a") -> NativeAdapter:
    """A native adapter below the trial's folder, closed with the trial."""
    home = trial.tmp / folder
    home.mkdir(parents=True, exist_ok=True)
    adapter = NativeAdapter(runtime_dir=str(home), state_dir=str(home))
    await adapter.prepare()
    trial.defer(adapter.close)
    return adapter


class Arrivals:
    """Notes when daemons of an adapter report readiness."""

    def __init__(self, adapter: NativeAdapter) -> None:
        self.at: dict[str, float] = {}
        adapter.subscribe(self._note)

    def _note(self, event: AdapterEvent) -> None:
        if event.kind is EventKind.READY:
            self.at.setdefault(event.daemon_id, time.monotonic())


def request(config: DaemonConfig) -> SpawnRequest:
    """A request to start *config* under a fresh id."""
    return SpawnRequest(daemon_id=str(DaemonId.new()), config=config)


def alive(pid: int) -> bool:
    """Whether a process of that number exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def bearing(handle_or_id: DaemonHandle | str, name: str = "") -> list[int]:
    """Every living process that carries the mark of a daemon, or (a preloaded one has no environment of its own) its unique *name*."""
    wanted = handle_or_id if isinstance(handle_or_id, str) else handle_or_id.daemon_id
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal() and int(entry) > 1]
    return [
        pid
        for pid in pids
        if alive(pid)
        and (environment_value(pid, "DUENDE_DAEMON_ID") == wanted or (name and _comm(pid) == name))
    ]


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
