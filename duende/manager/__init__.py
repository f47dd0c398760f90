"""Many daemons: registry, restarts, health, journal, and a control socket for the command."""

from __future__ import annotations

from duende.manager.manager import DaemonManager
from duende.manager.view import DaemonView

__all__ = ["DaemonManager", "DaemonView"]
