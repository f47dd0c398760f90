"""The kernel that a handle is of, as a process of this host."""

from __future__ import annotations

from duende.adapters.contract import DaemonHandle
from duende.kernel.process import read_stat


def kernel_data(pid: int) -> str:
    """Pid and start time of a kernel's process, as a handle keeps them."""
    stat = read_stat(pid)
    return f"{pid}:{stat.start_time if stat is not None else 0}"


def kernel_is_gone(handle: DaemonHandle) -> bool:
    """Whether the process of the kernel that the handle is of has ended, and with it all that ran in it."""
    try:
        pid, started = (int(each) for each in handle.data.get("kernel", "").split(":"))
    except ValueError:
        return False
    stat = read_stat(pid)
    return stat is None or stat.start_time != started or stat.state in "ZX"
