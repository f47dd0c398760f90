"""Scenarios: real daemons at work, faults on a seeded schedule, a history of what happened, checkers over it.

| file | what it is |
|---|---|
| `scenario.py` | what a scenario is made of, as values |
| `engine.py` | runs one: workload and nemesis side by side, then heal, recover, check |
| `history.py` | operations: invoke, then ok, fail or info; JSON lines |
| `schedule.py` | the nemesis's plan, a pure function of the seed |
| `nemesis.py` | injects and heals by that plan, with a proof that each fault took effect |
| `lab.py` | what a workload drives; every call is in the history |
| `platforms/` | where the daemons run: this host, systemd, Docker, Podman, a stand-in of launchd |
| `drivers.py` | managers: in this process, or in one of their own over the control socket |
| `look.py` | what can be seen of processes from outside |
| `shrink.py` | makes a failing schedule smaller |
| `ledger.py` | puts results where the gate reads them |
| `checks/` | pure functions, history to true, unknown or false; worst wins |
| `faults/` | what can be done to a system: inject, prove, heal |
| `workloads/` | what the daemons are asked to do |
| `catalog/` | one file per scenario |

The reaper that undoes what a fault did, even when the scenario is killed, is the lab's: `fixtures/reaper.py`.

`python -m scenarios --list` names them, `python -m scenarios S001 S014 --seed 7` runs some, each on all its
platforms, or on those that `--adapter docker` names.
"""
