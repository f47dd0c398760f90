"""S006: last words."""

from __future__ import annotations

from fixtures.daemons import command
from scenarios.checks import output, stops
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon

TIMES = 20
WORDS = "last words"


class LastWords(Workload):
    """A daemon that prints while it handles TERM, stopped again and again."""

    async def run(self, lab: Lab) -> None:
        """Start, stop, look at the end of the log."""
        await lab.manager()
        path = lab.folder / "words.log"
        log = {"destination": "file", "path": str(path)}
        line = command("chatty", lab.report("words"), 500)
        ready = {"kind": "log-line", "pattern": "^ready", "timeout": 10.0}
        await lab.register(daemon("words", line, logging=log, readiness=ready))
        for number in range(TIMES):
            await lab.start("words")
            await lab.stop("words")
            lines = path.read_text().splitlines() if path.exists() else []
            count = lines.count(WORDS)
            # The words of an earlier life would be no proof: every life must have left its own.
            told = lines[-1] if lines and count == number + 1 else f"{count} last words"
            lab.observe("last-line", line=told, number=number)


SCENARIO = Scenario(
    id="S006",
    title="the daemon prints while handling SIGTERM",
    invariant="the last line is captured",
    seen_in="supervisor#11",
    workload=LastWords,
    checks=(output.last_line_captured(WORDS), stops.stops_proven()),
)
