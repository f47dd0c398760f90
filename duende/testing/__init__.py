"""The public kit for authors of daemons and adapters: a clock moved by hand, a harness, a fake adapter with
knobs.
"""

from __future__ import annotations

from duende.testing.clock import ManualClock
from duende.testing.harness import DaemonTestHarness

__all__ = ["DaemonTestHarness", "ManualClock"]
