"""Signals by the numbers of macOS (<sys/signal.h>), and by those of the system this runs on: the two differ where launchd is a stand-in."""

from __future__ import annotations

import signal

NAMES = {
    1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "EMT", 8: "FPE", 9: "KILL", 10: "BUS", 11: "SEGV",
    12: "SYS", 13: "PIPE", 14: "ALRM", 15: "TERM", 16: "URG", 17: "STOP", 18: "TSTP", 19: "CONT", 20: "CHLD", 21: "TTIN",
    22: "TTOU", 23: "IO", 24: "XCPU", 25: "XFSZ", 26: "VTALRM", 27: "PROF", 28: "WINCH", 29: "INFO", 30: "USR1", 31: "USR2",
}  # fmt: skip
"""Number -> name without SIG."""


def host_number(number: int) -> int:
    """The number that this system has for the signal that macOS calls *number*; the same where it has no such signal."""
    found = getattr(signal, f"SIG{NAMES.get(number, '')}", None)
    return int(found) if isinstance(found, int) else number
