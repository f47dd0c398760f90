"""Block devices served by a process (the kernel's ublk driver): its control protocol, a server, and orphans."""

from __future__ import annotations

from duende.ublk.control import UblkControl
from duende.ublk.layout import DeviceInfo, Feature, Parameters, State
from duende.ublk.orphans import Cleaned, Finding, clean_orphans, find_orphans, force_delete

__all__ = [
    "Cleaned",
    "DeviceInfo",
    "Feature",
    "Finding",
    "Parameters",
    "State",
    "UblkControl",
    "clean_orphans",
    "find_orphans",
    "force_delete",
]
