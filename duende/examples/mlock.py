"""The book's second example: lock this process into memory, by both ways, or say why that cannot be.

`python -m duende.examples.mlock [--required] [--status]`
"""

from __future__ import annotations

import os
import sys

from duende.config.model import ResourceConfig
from duende.errors import PlatformError
from duende.mlock import (
    MlockResult,
    apply_memory_config,
    is_memory_locked,
    lock_daemon_memory,
    locked_bytes,
    look,
    unlock_daemon_memory,
)

USAGE = """usage: python -m duende.examples.mlock [--required] [--status]

--required  it is an error if memory cannot be locked (exit code 1)
--status    only say what is locked and what may be
"""


def main(argv: list[str]) -> int:
    """Run the example; the exit code."""
    unknown = [word for word in argv if word not in ("--required", "--status")]
    if unknown:
        wanted = unknown[0] in ("-h", "--help")
        print(USAGE if wanted else f"unknown option {unknown[0]!r}\n{USAGE}", end="")
        return 0 if wanted else 64
    print("=== duende mlock Example ===")
    print("DT-007: Swap Deadlock Prevention\n")
    if "--status" in argv:
        return _status()
    required = "--required" in argv
    print("Method 1: Direct lock_daemon_memory() call")
    print(f"  required = {str(required).lower()}")
    try:
        _tell(lock_daemon_memory(required))
        unlock_daemon_memory()
        print("\nMethod 2: Using apply_memory_config()")
        print(f"  lock_memory = true\n  lock_memory_required = {str(required).lower()}")
        _tell(apply_memory_config(ResourceConfig(lock_memory=True, lock_memory_required=required)))
    except PlatformError as error:
        print(f"  Result: ERROR - {error}")
        return 1
    print("\n=== Example Complete ===\n")
    print("For production use in containers:")
    print("  docker run --cap-add=IPC_LOCK --ulimit memlock=-1:-1 ...")
    return 0


def _tell(result: MlockResult) -> None:
    text = {
        "success": "SUCCESS - All memory locked",
        "failed": f"FAILED - {os.strerror(result.errno)} (errno={result.errno}), continuing",
        "disabled": "DISABLED - this platform does not lock memory",
    }
    print(f"  Result: {text[result.state]}")
    print(f"  VmLck: {locked_bytes() // 1024} KB")


def _status() -> int:
    report = look()
    print(f"Memory locked: {str(is_memory_locked()).lower()}")
    print(f"VmLck: {report.locked // 1024} KB")
    print(f"CAP_IPC_LOCK: {str(report.capable).lower()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
