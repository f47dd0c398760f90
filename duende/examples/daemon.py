"""A whole daemon: counts once a second until it is asked to end.

Run it by itself, or let duende run it:

    python -m duende.examples.daemon [--mlock] [--foreground]
    duende run duende.examples.daemon:CounterDaemon
"""

from __future__ import annotations

import sys

import msgspec

import duende
from duende import Daemon, DaemonConfig, DaemonContext, ExitReason, HealthStatus

BANNER = """\
┌──────────────────────────────────────────────────────────────┐
│                    duende: the counter daemon                │
│   one class, the same life cycle on every platform           │
└──────────────────────────────────────────────────────────────┘"""
USAGE = """\
usage: python -m duende.examples.daemon [--mlock] [--foreground]

  --mlock        lock memory before init (needs CAP_IPC_LOCK or a memlock limit)
  --foreground   stay in the foreground: it always does; accepted for service files
"""


class CounterDaemon(Daemon):
    """Counts, and says how it is doing."""

    name = "counter-daemon"

    def __init__(self) -> None:
        self.count = 0
        self.running = False

    async def init(self, config: DaemonConfig) -> None:
        """Print what will run; a real daemon would open its connections here."""
        print(f"[INIT] Daemon {config.name!r} initialising", flush=True)
        print(f"[INIT] Memory locked: {memory_state()}", flush=True)
        self.running = True

    async def run(self, ctx: DaemonContext) -> ExitReason:
        """Count once a second until shutdown."""
        print(f"[HEALTH] {(await self.health_check()).kind.value}", flush=True)
        print("[RUN] Counting; press Ctrl+C to stop", flush=True)
        while not ctx.should_shutdown():
            with self.metrics.time():
                self.count += 1
            found = self.metrics.snapshot()
            print(
                f"[RUN] Count: {self.count} | Uptime: {found.uptime_secs:.1f} s"
                f" | Rate: {found.requests_per_second:.2f}/s"
                f" | Memory locked: {memory_state()}",
                flush=True,
            )
            while (signal := ctx.try_recv_signal()) is not None:
                print(f"[RUN] Received {signal.value}", flush=True)
            await ctx.sleep(1.0)
        return ExitReason.graceful()

    async def shutdown(self, timeout: float) -> None:
        """Say goodbye; a real daemon would finish what is in flight."""
        self.running = False
        print(f"[SHUTDOWN] Counted to {self.count}; had {timeout:.0f} s to finish", flush=True)

    async def health_check(self) -> HealthStatus:
        """Healthy while it counts."""
        return HealthStatus.healthy(5) if self.running else HealthStatus.unhealthy("not running")


def memory_state() -> str:
    """Whether memory is locked, and how much, for people."""
    from duende.mlock import is_memory_locked, locked_bytes

    return f"yes ({locked_bytes() // 1024} KiB)" if is_memory_locked() else "no"


def main(argv: list[str]) -> None:
    """Run the example.

    Raises:
        SystemExit: always, with the daemon's exit code.
    """
    unknown = [word for word in argv if word not in ("--mlock", "--foreground", "-f")]
    if unknown:
        help_wanted = unknown[0] in ("-h", "--help")
        print(USAGE if help_wanted else f"unknown option {unknown[0]!r}\n{USAGE}", end="")
        raise SystemExit(0 if help_wanted else 64)
    print(BANNER)
    config = DaemonConfig(name=CounterDaemon.name, daemon="duende.examples.daemon:CounterDaemon")
    if "--mlock" in argv:
        locked = msgspec.structs.replace(config.resources, lock_memory=True, lock_memory_required=True)
        config = msgspec.structs.replace(config, resources=locked)
    duende.run(CounterDaemon, config)


if __name__ == "__main__":
    main(sys.argv[1:])
