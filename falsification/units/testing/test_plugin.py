"""The fixtures work in the suite of a stranger, found through the entry point, and disturb nobody who does not use them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DAEMON = '''
import asyncio
from duende import Daemon, ExitReason


class Echo(Daemon):
    """Echoes lines."""

    name = "echo"

    async def init(self, config):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        print("port", self.server.sockets[0].getsockname()[1], flush=True)

    async def run(self, ctx):
        await ctx.wait_shutdown()
        return ExitReason.graceful()

    async def serve(self, reader, writer):
        try:
            while line := await reader.readline():
                self.metrics.record_request()
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
'''
SUITE = """
import os
import socket

import pytest

from duende import DaemonConfig
from duende.config.model import RestartConfig, RestartPolicy
from duende.signals import Signal
from duende.states import Phase
from duende.testing import ChaosConfig
from service import Echo

PIDS = []


def port_of(echo):
    return int(echo.wait_for_log("^port").split()[1])


def ask(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"hello\\n")
        if client.recv(100) != b"hello\\n":
            raise ConnectionError("no echo")


def test_life(daemon_harness, duende_adapter):
    assert duende_adapter == "native"
    echo = daemon_harness(Echo)
    PIDS.append(echo.pid)
    assert echo.status().phase is Phase.RUNNING
    assert echo.health().is_healthy
    ask(port_of(echo))
    assert echo.metrics().requests_total == 1
    echo.signal(Signal.STOP)
    echo.wait_for_status(Phase.PAUSED)
    echo.signal(Signal.CONT)
    echo.wait_for_status(Phase.RUNNING)
    certificate = echo.shutdown()
    assert certificate.proven


def test_restart_while_the_test_does_something_else(daemon_harness):
    policy = RestartConfig(policy=RestartPolicy.ALWAYS, initial_delay=0.0)
    echo = daemon_harness(Echo, DaemonConfig(name="echo", restart=policy))
    first = echo.kill_from_outside()
    echo.wait_for_restart(first)
    PIDS.append(echo.pid)


def test_chaos_and_load(daemon_harness, chaos, load_tester):
    echo = daemon_harness(Echo)
    port = port_of(echo)
    assert load_tester("quick", lambda: ask(port)).passed
    with chaos(echo, ChaosConfig(error_injection=1.0, duration=5.0), port=port) as injected:
        with pytest.raises(ConnectionError):
            ask(injected.port)
        ask(port)
    ask(injected.port)
    report = injected.stop()
    assert report.draws["error"].fired == 1
    measured = chaos(echo, ChaosConfig(seed=4, error_injection=0.5, duration=0.5), port=port)
    report = measured.run(lambda: ask(measured.port), rate=40, users=4, before=0.2, after=0.2)
    assert report.before.errors == 0 and report.after.errors == 0, report.table()
    assert report.during.errors == report.draws["error"].fired > 0
    PIDS.append(echo.pid)


def test_all_are_gone():
    assert len(PIDS) == 3
    assert not [pid for pid in PIDS if os.path.exists(f"/proc/{pid}")]


def test_on_another_platform(daemon_harness):
    assert daemon_harness(Echo, adapter="fake").status().phase is Phase.RUNNING
"""
FAILING = """
from service import Echo

def test_that_fails(daemon_harness):
    echo = daemon_harness(Echo)
    echo.wait_for_log("port")
    assert echo.pid == 0
"""


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A project with a daemon, in an environment that has the entry point of pyproject.toml as an installed duende would."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = tmp_path / "site" / "duende-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: duende\nVersion: 0\n", encoding="utf-8")
    lines = [f"{name} = {target}" for name, target in project["entry-points"]["pytest11"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]), encoding="utf-8")
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "service.py").write_text(DAEMON, encoding="utf-8")
    return tmp_path


def run_suite(stranger: Path, suite: str, *options: str) -> tuple[int, str]:
    """Run pytest over *suite* in a process of its own, with warnings as errors; exit code and output."""
    (stranger / "suite" / "test_service.py").write_text(suite, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=stranger / "suite",
        env={**os.environ, "PYTHONPATH": f"{stranger / 'site'}{os.pathsep}{ROOT}", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=50,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_strangers_suite_passes(stranger: Path) -> None:
    """Life, restart, chaos and load work from plain test functions, and no daemon outlives its test."""
    code, said = run_suite(stranger, SUITE)
    assert code == 0, said
    assert "5 passed" in said


def test_a_failing_test_shows_what_its_daemon_said(stranger: Path) -> None:
    """The daemon's last lines are in the report of the test that failed."""
    code, said = run_suite(stranger, FAILING)
    assert code == 1, said
    assert "last lines of daemon 'echo'" in said
    assert "port " in said


def test_the_platform_is_an_option(stranger: Path) -> None:
    """`--duende-adapter` chooses, and a name that is none is a clear error."""
    suite = "from service import Echo\ndef test_it(daemon_harness): assert daemon_harness(Echo).pid >= 1000\n"
    code, said = run_suite(stranger, suite, "--duende-adapter", "fake")
    assert code == 0, said
    code, said = run_suite(stranger, suite, "--duende-adapter", "dokcer")
    assert code == 1
    assert "no adapter is called 'dokcer'" in said


def test_nobody_is_disturbed(stranger: Path) -> None:
    """A suite that uses nothing of it loads nothing of it, and may turn it off."""
    suite = (
        "import sys\n"
        "def test_it():\n"
        "    loaded = [name for name in sys.modules if name.startswith('duende')]\n"
        "    assert sorted(loaded) in ([], ['duende', 'duende.testing', 'duende.testing.plugin'])\n"
        "    assert 'msgspec' not in sys.modules\n"
    )
    for options in ((), ("-p", "no:duende.testing.plugin")):
        code, said = run_suite(stranger, suite, *options)
        assert code == 0, said


def test_naming_it_twice_is_harmless(stranger: Path) -> None:
    """A suite that also lists the plugin, in its conftest or with -p, runs as any other."""
    suite = "def test_it(duende_adapter): assert duende_adapter == 'native'\n"
    code, said = run_suite(stranger, suite, "-p", "duende.testing.plugin")
    assert code == 0, said
    (stranger / "suite" / "conftest.py").write_text(
        'pytest_plugins = ["duende.testing.plugin"]\n', encoding="utf-8"
    )
    code, said = run_suite(stranger, suite)
    assert code == 0, said
