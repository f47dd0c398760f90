"""Exit codes of `duende run`, so that a supervisor and a person can tell what happened. 64-78 follow
sysexits.h (BSD) where one fits.
"""

from __future__ import annotations

OK = 0
"""`run` returned gracefully, and `shutdown` finished in time."""
ERROR = 1
"""`run` returned `ExitReason.error`."""
USAGE = 64
"""EX_USAGE: the command line is wrong."""
TARGET = 66
"""EX_NOINPUT: the class cannot be imported, or is no Daemon."""
INIT = 69
"""EX_UNAVAILABLE: `init` raised; the daemon never ran."""
RUN = 70
"""EX_SOFTWARE: `run` raised."""
SHUTDOWN = 71
"""EX_OSERR: `shutdown` raised."""
SHUTDOWN_TIMEOUT = 72
"""`run` or `shutdown` did not finish within shutdown_timeout."""
IO = 74
"""EX_IOERR: the PID file or the socket cannot be used."""
ALREADY_RUNNING = 75
"""EX_TEMPFAIL: another instance holds the PID file."""
RESOURCE = 76
"""`ExitReason.resource_exhausted`, or memory that had to be locked could not be."""
POLICY = 77
"""`ExitReason.policy_violation`."""
CONFIG = 78
"""EX_CONFIG: the configuration is wrong."""
SIGNAL_BASE = 128
"""`ExitReason.by_signal`: 128 plus the signal's number, as shells have it."""
