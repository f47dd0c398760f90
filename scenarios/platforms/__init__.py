"""Where the daemons of a scenario run: on this host, in units of a private systemd, in containers of a private
Docker or Podman, under a private WOS kernel, as jobs of a stand-in of launchd.

| file | what it is |
|---|---|
| `base.py` | the contract, and the native platform |
| `containers.py` | Docker and Podman |
| `units.py` | systemd as PID 1 of a container |
| `modules.py` | WOS: daemons are WebAssembly modules |
| `jobs.py` | a stand-in of launchd |
| `entry.py` | enters one by its name, and keeps the runtimes that scenarios share |
"""

from __future__ import annotations

from scenarios.platforms.base import LEVELS, Native, Platform
from scenarios.platforms.entry import Shared, enter

__all__ = ["LEVELS", "Native", "Platform", "Shared", "enter"]
