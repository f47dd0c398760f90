"""Limits that are no process's: of the folder a daemon keeps its files in, and of the network namespace it is in.

They are set before a start by whichever adapter runs on this host, and are the same for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from duende.adapters.contract import Found, SettingReport
from duende.config.model import DaemonConfig
from duende.errors import PlatformConfigError, PlatformResourceError
from duende.policy.disk import DiskQuota
from duende.policy.traffic import Shaper, rule


def apply(config: DaemonConfig, before: DaemonConfig | None = None) -> None:
    """Put the limits of *config* in force; those that *before* had and *config* has not are taken away.

    Raises:
        PlatformResourceError: one cannot be enforced, and the configuration does not say `best_effort`.
        PlatformConfigError: nothing says for which folder or namespace it is.
    """
    try:
        if config.resources.disk_bytes or (before is not None and before.resources.disk_bytes):
            DiskQuota(_folder(config)).apply(config.resources.disk_bytes)
        if config.resources.network_bps or (before is not None and before.resources.network_bps):
            Shaper(_namespace(config)).apply(config.resources.network_bps)
        elif config.security.network_namespace is not None:
            _open_up(config.security.network_namespace)
    except PlatformResourceError:
        if not config.best_effort:
            raise


class Usage:
    """What is used of these limits, daemon by daemon: a rate needs the look before."""

    def __init__(self) -> None:
        self._sent: dict[str, tuple[float, int]] = {}

    def of(self, daemon_id: str, config: DaemonConfig) -> dict[str, float]:
        """By the keys of `[resources]`; what cannot be told is left out."""
        found: dict[str, float] = {}
        if config.resources.disk_bytes:
            try:
                shown = DiskQuota(_folder(config)).shown()
            except PlatformResourceError:
                shown = None  # the folder has gone
            if shown is not None:
                found["disk_bytes"] = shown[1]
        if config.resources.network_bps:
            try:
                now, (_, sent) = time.monotonic(), Shaper(_namespace(config)).shown()
            except PlatformResourceError:
                return found
            then, before = self._sent.get(daemon_id, (now - 1e-3, sent))
            self._sent[daemon_id] = (now, sent)
            found["network_bps"] = max(0, sent - before) / max(1e-3, now - then)
        return found

    def forget(self, daemon_id: str) -> None:
        """Drop what is kept of it."""
        self._sent.pop(daemon_id, None)


def explain(config: DaemonConfig) -> Iterator[SettingReport]:
    """Each of these limits beside what the file system and the interface show."""
    resources = config.resources
    if resources.disk_bytes:
        why, limit = "", 0
        try:
            limit, _ = DiskQuota(_folder(config)).shown() or (0, 0)
        except PlatformResourceError as error:
            why = str(error)
        same = limit == resources.disk_bytes
        yield SettingReport(
            key="resources.disk_bytes",
            wanted=str(resources.disk_bytes),
            found=str(limit),
            outcome=Found.HONOURED if same else Found.APPROXIMATED if limit else Found.IGNORED,
            why=why or f"quota of {_folder(config)}",
        )
    if resources.network_bps:
        why, rate = "", 0
        try:
            rate, _ = Shaper(_namespace(config)).shown()
        except PlatformResourceError as error:
            why = str(error)
        yield SettingReport(
            key="resources.network_bps",
            wanted=str(resources.network_bps),
            found=str(rate),
            outcome=Found.HONOURED
            if f"{rate}bps" in rule(resources.network_bps)
            else Found.APPROXIMATED
            if rate
            else Found.IGNORED,
            why=why or "tc-tbf(8); its bucket's share of five seconds is taken off the rate",
        )


def _open_up(namespace: str) -> None:
    """Take away what an earlier daemon of the namespace was limited to."""
    try:
        Shaper(namespace).apply(0)
    except PlatformResourceError:
        pass  # it is not there, which its daemon will be told, or it never had a limit: no tc, or not one interface


def _folder(config: DaemonConfig) -> str:
    folder = config.resources.disk_folder or config.working_dir
    if folder is None:
        raise PlatformConfigError(
            f"cannot limit the disk use of {config.name!r}: nothing says of which folder",
            remedy="set resources.disk_folder, or working_dir",
        )
    return folder


def _namespace(config: DaemonConfig) -> str:
    if config.security.network_namespace is None:
        raise PlatformConfigError(
            f"cannot limit the network of {config.name!r}: it shares this host's, and everybody would be held back",
            remedy='give it a namespace of its own: security.network_namespace = "/run/netns/NAME" (ip-netns(8))',
        )
    return config.security.network_namespace
