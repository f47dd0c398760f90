"""Exit codes of the command; the table of `duende --help`."""

from __future__ import annotations

OK = 0
FAILED = 1
USAGE = 2
NOT_RUNNING = 3
"""As systemctl status has it for an inactive unit."""
NOT_FOUND = 4
"""As systemctl status has it for an unknown unit; also: no manager."""
CHANGING = 5
UNHEALTHY = 6

OF_PHASE = {
    "Running": OK,
    "Created": NOT_RUNNING,
    "Stopped": NOT_RUNNING,
    "Failed": NOT_RUNNING,
    "Starting": CHANGING,
    "Stopping": CHANGING,
    "Paused": CHANGING,
}
"""Exit code of `duende status` by state."""

TABLE = """\
exit codes:
  0  done; status: running and not known to be unhealthy
  1  the operation failed; the error says why
  2  usage
  3  status: not running (Created, Stopped, Failed)
  4  no such daemon, or no manager
  5  status: Starting, Stopping or Paused
  6  status: running, but unhealthy
  64-78  duende run: see `duende run --help`
"""
