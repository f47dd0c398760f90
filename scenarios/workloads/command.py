"""A person at the command: what it is asked, how it ends, what it prints."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from duende.kernel.process import read_stat
from scenarios.drivers import DUENDE
from scenarios.lab import Lab

ANSWER_WITHIN = 60.0


class Person:
    """One person, who waits for each command before giving the next."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self.name = name

    async def asks(self, *words: str) -> tuple[int, Any]:
        """Run `duende WORDS --json`; the exit code, and what it answered (None when that is no JSON)."""
        folder = self._lab.folder
        paths = ["--state-dir", str(folder / "state"), "--runtime-dir", str(folder / "run")]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *DUENDE,
            *words,
            "--json",
            *paths,
            stdout=pipe,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **self._lab.reaper.environment},
        )
        out, _ = await asyncio.wait_for(process.communicate(), ANSWER_WITHIN)
        try:
            answer = json.loads(out)
        except ValueError:
            answer = None
        return process.returncode or 0, answer

    async def applies(self, path: Path) -> bool:
        """`duende start PATH`, in the history: ok when it says so, fail when the file is refused, else nobody knows."""
        begun = self._lab.history.invoke(self.name, "apply", {"file": path.stem})
        code, answer = await self.asks("start", str(path))
        facts = {"file": path.stem, "code": code, "error": _error(answer)}
        if code == 0:
            self._lab.history.ok(begun, facts)
        elif facts["error"] == "ConfigError":
            self._lab.history.fail(begun, facts)
        else:
            self._lab.history.info(begun, facts)
        return code == 0


def _error(answer: Any) -> str:
    if not isinstance(answer, dict):
        return "" if answer is None else "no object"
    return str((answer.get("error") or {}).get("kind", ""))


def manager_pids(lab: Lab) -> list[int]:
    """The living manager of this run's folders, by the number in its lock file; nobody when it has ended."""
    try:
        pid = int((lab.folder / "state" / "manager.lock").read_text())
    except (FileNotFoundError, ValueError):
        return []
    stat = read_stat(pid) if pid > 1 else None
    return [pid] if stat is not None and stat.state not in "ZX" else []
