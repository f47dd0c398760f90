"""pytest fixtures for the suites of daemon authors; found through an entry point, no import and no other plugin needed.

```python
# test_counter.py: plain functions; the daemon runs beside them, on the platform of `pytest --duende-adapter NAME`
from counter import Counter
from duende.testing import ChaosConfig

def test_counts(daemon_harness):
    counter = daemon_harness(Counter)                      # started and ready; stopped after the test
    counter.wait_for_log(r"count 3")
    assert counter.health().is_healthy

def test_survives_chaos(daemon_harness, chaos, load_tester):
    counter = daemon_harness(Counter)
    with chaos(counter, ChaosConfig(seed=7, cpu_stress=0.5, duration=2.0)):
        assert load_tester("quick", lambda: counter.status().is_active).passed
    assert counter.shutdown().proven
```

A test that fails shows the last lines of its daemons' output. Tests that are asynchronous use `duende.testing.DaemonTestHarness` itself, with
`adapter=duende_adapter`. Importing this module loads nothing else of duende: that happens when a fixture is used. The entry point is called as this
module is, so that a suite may also name it in `pytest_plugins` or with `-p`; `-p no:duende.testing.plugin` turns it off.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from duende.adapters.contract import PlatformAdapter
    from duende.config.model import DaemonConfig
    from duende.daemon import Daemon
    from duende.testing.blocking import BlockingChaos, BlockingHarness, LoopThread
    from duende.testing.chaos import ChaosConfig
    from duende.testing.load import LoadReport, LoadTestConfig

OPTION = "--duende-adapter"
DEFAULT = "native"
_HARNESSES = pytest.StashKey[list["BlockingHarness"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that chooses the platform."""
    parser.getgroup("duende", "daemons under test").addoption(
        OPTION,
        default=DEFAULT,
        metavar="NAME",
        help="the platform on which daemons under test run: native (default), systemd, docker, podman, containerd, ..., fake",
    )


@pytest.fixture
def duende_adapter(request: pytest.FixtureRequest) -> str:
    """The name given by `--duende-adapter`; override the fixture to run a module's daemons elsewhere."""
    return str(request.config.getoption(OPTION))


@pytest.fixture
def duende_loop() -> Generator[LoopThread, None, None]:
    """The event loop, in a thread of its own, in which the other fixtures work."""
    from duende.testing.blocking import LoopThread

    loop = LoopThread()
    yield loop
    loop.close()


@pytest.fixture
def daemon_harness(
    request: pytest.FixtureRequest, duende_loop: LoopThread, duende_adapter: str
) -> Generator[Callable[..., BlockingHarness], None, None]:
    """Starts daemons: `daemon_harness(Counter)`, with a configuration and `adapter=` if wanted; all are stopped after the test.

    The adapters are made for the test and closed with it; one that is given as `adapter=` belongs to its giver.

    Raises:
        Exception: a daemon did not stop, or its stop is not proven; an ExceptionGroup for several.
    """
    from duende.testing.blocking import BlockingHarness
    from duende.testing.harness import DaemonTestHarness

    made: list[BlockingHarness] = []
    request.node.stash[_HARNESSES] = made

    def start(
        daemon: Daemon | type[Daemon] | DaemonConfig,
        config: DaemonConfig | None = None,
        *,
        adapter: PlatformAdapter | str | None = None,
    ) -> BlockingHarness:
        harness = BlockingHarness(
            duende_loop, DaemonTestHarness(daemon, config, adapter=adapter or duende_adapter)
        )
        harness.start()
        made.append(harness)
        return harness

    yield start
    problems: list[Exception] = []
    for harness in reversed(made):
        try:
            harness.finish()
        except Exception as error:  # noqa: BLE001  (the other daemons are stopped all the same; raised below)
            problems.append(error)
    if problems:
        raise problems[0] if len(problems) == 1 else ExceptionGroup("daemons that did not stop", problems)


@pytest.fixture
def chaos(duende_loop: LoopThread) -> Generator[Callable[..., BlockingChaos], None, None]:
    """Makes injectors of chaos, to be used with `with`, that are undone after the test at the latest."""
    from duende.testing.blocking import BlockingChaos
    from duende.testing.chaos import ChaosInjector

    made: list[BlockingChaos] = []

    def inject(harness: BlockingHarness, config: ChaosConfig, **options: Any) -> BlockingChaos:
        injected = BlockingChaos(duende_loop, ChaosInjector(config, harness.harness, **options))
        made.append(injected)
        return injected

    yield inject
    for injected in reversed(made):
        injected.close()


@pytest.fixture
def load_tester(
    duende_loop: LoopThread,
) -> Callable[[LoadTestConfig | str, Callable[..., object]], LoadReport]:
    """Runs load: `load_tester("quick", fetch)` with a profile or a `LoadTestConfig`, and a function, asynchronous or not."""
    from duende.testing.blocking import run_load

    return lambda config, operation: run_load(duende_loop, config, operation)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Show the last lines of the daemons of a test that failed."""
    outcome = yield
    report = outcome.get_result()
    if report.when != "call" or not report.failed:
        return
    for harness in item.stash.get(_HARNESSES, []):
        try:
            text = "\n".join(harness.logs(30)) or "(it wrote nothing, or this platform keeps no output)"
        except Exception as error:  # noqa: BLE001  (the report of the test's own failure must come out whatever happens)
            text = f"(its output cannot be read: {error})"
        report.sections.append((f"last lines of daemon {harness.config.name!r}", text))
