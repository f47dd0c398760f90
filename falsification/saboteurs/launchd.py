"""Defects of the launchd adapter, and of the detection of macOS."""

from __future__ import annotations

from falsification.kit.saboteur import mutant

mutant(
    "launchd-start-dawdles",
    breaks="a little time passes between loading a job and running it",
    file="duende/adapters/launchd/starting.py",
    old="            await self._run(record, config)\n",
    new="            await asyncio.sleep(0.12)\n            await self._run(record, config)\n",
)
mutant(
    "launchd-runs-a-placeholder",
    breaks="the job's program gets an hour as its argument instead of what was given",
    file="duende/adapters/launchd/render.py",
    old='        "ProgramArguments": argv,',
    new='        "ProgramArguments": [argv[0], "3600"],',
)
mutant(
    "launchd-is-told-not-to-restart",
    breaks="a delegated restart policy does not reach launchd",
    file="duende/adapters/launchd/render.py",
    old='    return {"KeepAlive": keep_alive(config), "RunAtLoad": True,',
    new='    return {"KeepAlive": False, "RunAtLoad": True,',
)
mutant(
    "launchd-is-sent-numbers-of-linux",
    breaks="signals go to launchd by the numbers of Linux, of which macOS has another idea",
    file="duende/adapters/launchd/stopping.py",
    old='str(signal.number("darwin"))',
    new='str(signal.number("linux"))',
)
mutant(
    "detection-finds-no-macos",
    breaks="macOS is looked for under a name it has not",
    file="duende/adapters/choose.py",
    old='Platform.MACOS if host.system == "darwin"',
    new='Platform.MACOS if host.system == "macos"',
)
