"""The manager's own monitor: what every daemon uses, at an interval, and a history of it that the next manager goes on with."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from duende.errors import DaemonIOError, SerializationError
from duende.manager.kept import move_aside
from duende.observe.exposition import Family
from duende.observe.ring import RingBuffer
from duende.observe.ringfile import RingFile
from duende.observe.trees import NOTHING, TreeMonitor, Usage
from duende.observe.turns import Turns

CAPACITY = 720
"""Samples of one daemon that are kept: an hour at one every 5 s, 40 KB."""
RECORDS = 1 << 17
"""Samples of all daemons on disk, 12 MB: all that is kept of 182 daemons, the latest of more."""
FILE = "history"
COLUMNS = Usage._fields
_RECORD = struct.Struct(f"<16sd{len(COLUMNS)}d")
"""Digest of the daemon's name, Unix time, what it used."""
Roots = Callable[[], dict[str, int]]
_TEXTS = {
    "cpu_percent": (
        "duende_daemon_cpu_ratio",
        "Processors that its processes kept busy, 1 is one.",
        0.01,
        "ratio",
    ),
    "rss_bytes": (
        "duende_daemon_resident_memory_bytes",
        "Resident memory of its processes, together.",
        1.0,
        "bytes",
    ),
    "threads": ("duende_daemon_threads", "Threads of its processes.", 1.0, ""),
    "processes": ("duende_daemon_processes", "Its processes.", 1.0, ""),
}


class Sampling:
    """Samples the trees of processes of all daemons of one manager."""

    def __init__(self, state_dir: str, interval: float, roots: Roots) -> None:
        """*roots* gives the main process of each daemon, 0 where it has none. The history of an earlier manager is read; one that cannot be
        is set aside, one that cannot be written is kept in memory alone, and both are told.
        """
        self.interval = interval
        self.trouble = ""
        """Why the history is not on disk."""
        self.latest: dict[str, Usage] = {}
        self._roots = roots
        self._monitor = TreeMonitor()
        self._rings: dict[bytes, RingBuffer] = {}
        self._file = self._opened(os.path.join(state_dir, FILE))
        self._task: asyncio.Task[None] | None = None
        if self._file is not None:
            self._load(self._file)

    def start(self) -> None:
        """Sample from now on, in the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Sample no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._monitor.close()
        if self._file is not None:
            self._file.close()

    def history(self, name: str, seconds: float = math.inf) -> list[list[float]]:
        """The samples of the last *seconds*, oldest first: Unix time, then the `COLUMNS`; empty of a daemon never sampled."""
        ring = self._rings.get(_key(name))
        if ring is None:
            return []
        return [list(each) for each in ring.between(time.time() - seconds)]

    def told(self, name: str, seconds: float) -> dict[str, Any]:
        """The same for the control socket."""
        return {
            "name": name,
            "interval": self.interval,
            "columns": ["time", *COLUMNS],
            "samples": self.history(name, seconds),
            "trouble": self.trouble,
        }

    def families(self) -> list[Family]:
        """What daemons used at the last look, for exporters."""
        return [
            Family(
                metric,
                "gauge",
                text,
                tuple(
                    ({"daemon": name}, factor * getattr(used, column))
                    for name, used in self.latest.items()
                    if not math.isnan(getattr(used, column))
                ),
                unit,
            )
            for column, (metric, text, factor, unit) in _TEXTS.items()
        ]

    async def _run(self) -> None:
        async for _ in Turns(self.interval):
            roots = self._roots()
            # Not in the loop: a look at a thousand daemons takes a tenth of a second.
            self.keep(await asyncio.to_thread(self._monitor.look, roots))

    def keep(self, used: Mapping[str, Usage]) -> None:
        """Keep what was seen just now; of daemons without a process nothing is."""
        now = time.time()
        self.latest = {name: each for name, each in used.items() if each is not NOTHING}
        keys = {name: _key(name) for name in used}
        records = []
        for name, each in self.latest.items():
            self._push(keys[name], now, each)
            records.append(_RECORD.pack(keys[name], now, *each))
        known = set(keys.values())
        self._rings = {key: ring for key, ring in self._rings.items() if key in known}
        if self._file is None or not records:
            return
        try:
            self._file.append(records)
            self._tell("")
        except DaemonIOError as error:
            self._tell(str(error))

    def _push(self, key: bytes, at: float, values: Sequence[float]) -> None:
        ring = self._rings.setdefault(key, RingBuffer(CAPACITY, len(COLUMNS)))
        # The clock may have been set back: what came later is not earlier for that.
        ring.push(max(at, ring[-1][0]) if len(ring) else at, *values)

    def _load(self, file: RingFile) -> None:
        for payload in file:
            key, at, *values = _RECORD.unpack(payload)
            self._push(key, at, values)

    def _opened(self, path: str) -> RingFile | None:
        try:
            try:
                return RingFile(path, _RECORD.size, RECORDS)
            except SerializationError as error:
                aside = move_aside(path)
                sys.stderr.write(f"duende manager: {error.problem}: set aside as {aside}\n")
                return RingFile(path, _RECORD.size, RECORDS)
        except DaemonIOError as error:
            self._tell(str(error))
            return None

    def _tell(self, trouble: str) -> None:
        if bool(trouble) != bool(self.trouble):
            sys.stderr.write(f"duende manager: {trouble or 'the history can be written again'}\n")
        self.trouble = trouble


def _key(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()
