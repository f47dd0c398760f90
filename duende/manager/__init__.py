"""Many daemons: registry, restarts, health, journal, and a control socket for the command."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.manager.manager import DaemonManager as DaemonManager
    from duende.manager.view import DaemonView as DaemonView

__all__ = ["DaemonManager", "DaemonView"]


def __getattr__(name: str) -> object:
    if name == "DaemonManager":
        from duende.manager.manager import DaemonManager

        return DaemonManager
    if name == "DaemonView":
        from duende.manager.view import DaemonView

        return DaemonView
    raise AttributeError(f"module 'duende.manager' has no attribute {name!r}")
