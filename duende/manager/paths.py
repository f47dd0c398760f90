"""Where a manager keeps its things unless told otherwise. Imports nothing: it is asked before anything is loaded."""

from __future__ import annotations

import os


def default_state_dir() -> str:
    """`$XDG_STATE_HOME/duende`, or `/var/lib/duende` for root (XDG Base Directory, FHS 3.0)."""
    if os.geteuid() == 0 and "XDG_STATE_HOME" not in os.environ:
        return "/var/lib/duende"
    return os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "duende")


def default_runtime_dir() -> str:
    """`$XDG_RUNTIME_DIR/duende`, or `/run/duende` for root, or a folder of this user under the temporary one."""
    if os.environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(os.environ["XDG_RUNTIME_DIR"], "duende")
    if os.geteuid() == 0:
        return "/run/duende"
    temporary = os.environ.get("TMPDIR", "/tmp")  # noqa: S108  (the folder in it is made for this user alone)
    return os.path.join(temporary, f"duende-{os.geteuid()}")
