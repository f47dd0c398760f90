"""`python -m bench.block_cost`: blocks of a ublk server of ours beside a loop device and an nbd device of the same size, in one guest, by fio."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from duende.adapters.contract import SpawnRequest
from duende.adapters.pepita.adapter import PepitaAdapter
from duende.adapters.pepita.libraries import libraries_of
from duende.config.model import DaemonConfig, PlatformSection, ResourceConfig
from duende.ids import DaemonId
from fixtures.pepita import build
from fixtures.runtimes.pepita import pepita
from fixtures.ublk.inside import MODULES

PROGRAMS = ("fio", "nbd-server", "nbd-client")
WITHIN = 300.0
COLUMNS = ("randread", "randwrite", "read", "write")
HEADS = ("4 KiB read, IOPS", "4 KiB write, IOPS", "128 KiB read, MiB/s", "128 KiB write, MiB/s")


def files() -> list[str]:
    """The programs and their libraries, for the guest.

    Raises:
        SystemExit: a program is not installed.
    """
    found: dict[str, None] = {}
    for name in PROGRAMS:
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if path is None:
            print(f"{name} is not installed: nox -s lab")
            raise SystemExit(2)
        found[f"{path}:/opt/programs/{name}"] = None
        found |= dict.fromkeys(libraries_of(name, path))
    return list(found)


async def measured() -> dict[str, Any]:
    """What the guest measured.

    Raises:
        TimeoutError: it did not say all in time.
    """
    with pepita(shared=False) as runtime, tempfile.TemporaryDirectory(prefix="df-") as folder:
        adapter = PepitaAdapter(command=str(runtime.command), runtime_dir=folder, state_dir=folder)
        modules = build.kernel().parent / "extra"
        config = DaemonConfig(
            name="blocks",
            daemon="fixtures.ublk.speed:Speed",
            resources=ResourceConfig(memory_bytes=1 << 30, cpu_quota_percent=200.0),
            platform=PlatformSection(
                pepita={"memory_mb": 1024, "vcpus": 2, "files": [f"{modules}:{MODULES}", *files()]}
            ),
        )
        handle = await adapter.launch(SpawnRequest(daemon_id=str(DaemonId.new()), config=config))
        try:
            return await _told(adapter, handle)
        finally:
            await adapter.stop(handle, 5.0)
            await adapter.close()


async def _told(adapter: PepitaAdapter, handle: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        for line in await adapter.logs(handle, 100):
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            if said["what"] not in found:
                found[said["what"]] = said
                print(f"... {said['what']}", file=sys.stderr, flush=True)
        if "done" in found or "failed" in found:
            return found
        await asyncio.sleep(0.5)
    raise TimeoutError(f"the guest has said {sorted(found)} only")


def main() -> int:
    """Print the table; 0 when all was measured."""
    build.module("ublk_drv")
    found = asyncio.run(measured())
    if "failed" in found:
        print(found["failed"]["why"])
        return 1
    peers = {name: found[name] for name in ("ublk", "ublk, 2 queues", "loop", "nbd") if name in found}
    base = peers["loop"]
    print(f"{'':16}" + "".join(f"{head:>28}" for head in HEADS))
    for name, row in peers.items():
        cells = (f"{row[each]:.0f} ({row[each] / base[each]:.2f} x loop)" for each in COLUMNS)
        print(f"{name:16}" + "".join(f"{cell:>28}" for cell in cells))
    out = Path(__file__).with_name("out")
    out.mkdir(exist_ok=True)
    (out / "blocks.json").write_text(json.dumps(peers, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
