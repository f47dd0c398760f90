"""The public kit for authors of daemons and adapters.

| name | what it is for |
|---|---|
| `DaemonTestHarness` | runs a daemon on any adapter and gives health, status, logs, signals, metrics and the stop certificate back |
| `InProcessHarness` | runs a `Daemon` inside the test: no process, no signal, no socket |
| `ManualClock` | time that a test moves by hand |
| `ChaosConfig`, `ChaosInjector` | faults that really act on the daemon, by a seeded schedule, with proofs and a report |
| `LoadTestConfig`, `LoadTester` | load with an open-loop schedule and percentiles of a histogram |
| `duende.testing.fake_adapter` | a whole adapter made of memory, with knobs |
| `duende.testing.plugin` | the same as pytest fixtures, found through an entry point |

Names resolve on first use: nothing is imported that a test does not need.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from duende.testing.chaos import ChaosConfig as ChaosConfig
    from duende.testing.chaos import ChaosInjector as ChaosInjector
    from duende.testing.chaos_report import ChaosReport as ChaosReport
    from duende.testing.clock import ManualClock as ManualClock
    from duende.testing.harness import DaemonTestHarness as DaemonTestHarness
    from duende.testing.histogram import Histogram as Histogram
    from duende.testing.inprocess import InProcessHarness as InProcessHarness
    from duende.testing.load import LoadReport as LoadReport
    from duende.testing.load import LoadTestConfig as LoadTestConfig
    from duende.testing.load import LoadTester as LoadTester

_HOME = {
    "ChaosConfig": "duende.testing.chaos",
    "ChaosInjector": "duende.testing.chaos",
    "ChaosReport": "duende.testing.chaos_report",
    "DaemonTestHarness": "duende.testing.harness",
    "Histogram": "duende.testing.histogram",
    "InProcessHarness": "duende.testing.inprocess",
    "LoadReport": "duende.testing.load",
    "LoadTestConfig": "duende.testing.load",
    "LoadTester": "duende.testing.load",
    "ManualClock": "duende.testing.clock",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  (a list; the linter wants a literal, the table above is the one truth)


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'duende.testing' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
