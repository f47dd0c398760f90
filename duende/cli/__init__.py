"""The `duende` command.

Exit codes: 0 done and well · 1 the operation failed · 2 usage · 3 not running (status: Stopped, Failed or Created) · 4 no such daemon or no
manager · 5 starting, stopping or paused (status) · 6 running but unhealthy (status) · 64-78 as `duende run` documents for a daemon's end.
"""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run the command line *argv* (default: the process's own); the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["run"]:
        # On the path of every daemon's start: no argument parser, no tables, nothing but the host.
        from duende.host.main import main as run

        return run(arguments[1:])
    early = None
    if arguments[:1] == ["manager"]:
        from duende.manager.early import fork_early

        early = fork_early(arguments)
        from duende.manager.service import plainly

        options = plainly(arguments[1:])
        if options is not None:  # the usual command line of a manager needs no grammar, nor the memory of one
            from duende.manager.service import serve

            return serve(options, early)
    from duende.cli.command import dispatch

    return dispatch(arguments, early)
