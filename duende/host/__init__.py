"""Runs one Daemon in this process: life cycle, signals, PID file, readiness, health and metrics socket."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.config.model import DaemonConfig
    from duende.daemon import Daemon
    from duende.host.lifecycle import Outcome

__all__ = ["run", "run_async"]


def run(daemon: Daemon | type[Daemon], config: DaemonConfig | None = None, **options: str | None) -> None:
    """Run *daemon* until it ends, then leave the process with the exit code that tells how (see
    `duende.host.exitcodes`).

    *config* defaults to one with the daemon's name. *options*: `pid_file`, `socket`, `config_source`, as
    `duende run` has them.

    Raises:
        SystemExit: always; its code says what happened.
    """
    from duende.host.main import run_daemon

    raise SystemExit(run_daemon(daemon, config, **options))


async def run_async(
    daemon: Daemon | type[Daemon], config: DaemonConfig | None = None, **options: str | None
) -> Outcome:
    """Run *daemon* inside a running event loop; says how it ended instead of leaving the process."""
    from duende.host.lifecycle import Host

    return await Host.of(daemon, config, **options).run()
