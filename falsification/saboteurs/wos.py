"""Defects of WOS and of its adapter."""

from __future__ import annotations

from falsification.kit.saboteur import mutant

mutant(
    "wos-start-dawdles",
    breaks="the adapter waits a little before it asks for a process",
    file="duende/adapters/wos/adapter.py",
    old="        answer = await control.call(words)\n        if answer.code != 0:\n            self._early",
    new="        await asyncio.sleep(0.06)\n        answer = await control.call(words)\n        if answer.code != 0:\n            self._early",
)
mutant(
    "wos-picks-the-weakest",
    breaks="the scheduler takes 7 for the strongest level",
    file="fixtures/wos/scheduler.py",
    old="queue = next(each for each in self._levels if each)",
    new="queue = next(each for each in reversed(self._levels) if each)",
)
mutant(
    "wos-priority-is-dropped",
    breaks="every daemon gets the adapter's own priority",
    file="duende/adapters/wos/render.py",
    old="str(priority_of(config, settings, default))",
    new="str(default)",
)
mutant(
    "wos-forgets-ageing",
    breaks="nobody ages",
    file="fixtures/wos/scheduler.py",
    old="        self._age()\n",
    new="",
)
mutant(
    "wos-ages-for-ever",
    breaks="whoever has aged keeps the level it ran on",
    file="fixtures/wos/kernel.py",
    old="        process.picks += 1\n",
    new="        process.picks += 1\n        process.priority = decision.level\n",
)
mutant(
    "wos-wait-leaves-the-zombie",
    breaks="waiting for a child tells its end and leaves it in the table",
    file="fixtures/wos/calls/native.py",
    old="                kernel.reap(child, process)\n",
    new="                process.children.discard(number)\n",
)
mutant(
    "wos-orphans-stay-orphans",
    breaks="children of a dead parent are given to nobody",
    file="fixtures/wos/table.py",
    old="            child.parent = INIT\n",
    new="",
)
mutant(
    "wos-counts-no-processes",
    breaks="the guard for MAX_PROCESSES looks at nothing",
    file="fixtures/wos/guards.py",
    old='("MAX_PROCESSES", len(processes)',
    new='("MAX_PROCESSES", 0',
)
mutant(
    "wos-drops-arguments",
    breaks="a module gets its name and no arguments",
    file="fixtures/wos/calls/basic.py",
    old="(process.name, *process.birth.args)",
    new="(process.name,)",
)
