"""What is said of a process's memory, and the book's example."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende import cli
from duende.cli import exits
from duende.cli.locking import lines_of
from duende.errors import NotFoundError
from duende.examples import mlock as example
from duende.mlock import LockReport, MlockConfig, look
from duende.mlock.status import UNLIMITED, limit_of

MIB = 1 << 20


def report(*, limit: int = UNLIMITED, capable: bool = False, locked: int = 0, swapped: int = 0) -> LockReport:
    """Of a process with 100 MiB."""
    return LockReport(
        pid=7,
        name="web",
        locked=locked,
        resident=50 * MIB,
        swapped=swapped,
        mapped=100 * MIB,
        limit=limit,
        capable=capable,
    )


@pytest.mark.parametrize(
    ("found", "number"),
    [
        (report(), 0),
        (report(limit=99 * MIB), errno.ENOMEM),
        (report(limit=0), errno.EPERM),
        (report(limit=0, capable=True), 0),
        (report(limit=100 * MIB), 0),
    ],
)
def test_what_the_kernel_would_say(found: LockReport, number: int) -> None:
    """By limit and capability."""
    assert found.refusal(MlockConfig()) == number
    assert found.refusal(MlockConfig(current=False, future=False)) == 0
    assert found.refusal(MlockConfig(current=False, future=False, onfault=True)) == errno.EINVAL
    text = "\n".join(lines_of(found))
    assert ("would lock all of it" in text) == (number == 0)
    assert ("remedy" in text) == (number != 0)


def test_locked_and_swapped() -> None:
    """Is told: it should not be."""
    assert "beware" in lines_of(report(locked=MIB, swapped=MIB))[-1]


@given(st.text(max_size=400))
def test_any_text_has_a_limit(text: str) -> None:
    """Or none."""
    assert limit_of(text) == UNLIMITED
    assert (
        limit_of(f"{text}\nMax locked memory         65536                8388608              bytes\n")
        == 65536
    )


def test_this_process_and_no_process() -> None:
    """As the kernel tells it; one that is gone is an error."""
    found = look()
    assert (found.pid, found.locked) == (os.getpid(), 0)
    assert found.mapped > found.resident > MIB
    with pytest.raises(NotFoundError, match="no process"):
        look(2**22 - 1)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Explains this process, another, and refuses two at once."""
    code = cli.main(["mlock", "--status"])
    assert "RLIMIT_MEMLOCK" in capsys.readouterr().out
    assert cli.main(["mlock", "--json", "--pid", str(os.getpid())]) == code
    assert json.loads(capsys.readouterr().out)["result"]["pid"] == os.getpid()
    assert cli.main(["mlock", "--pid", "1", "name"]) == exits.FAILED
    assert "two processes" in capsys.readouterr().err
    assert cli.main(["mlock", "--pid", str(2**22 - 1)]) == exits.NOT_FOUND


@pytest.mark.parametrize(("limit", "text"), [("0:0", "EPERM"), ("65536:65536", "ENOMEM")])
def test_the_command_where_locking_would_fail(limit: str, text: str) -> None:
    """Its exit code tells, and it says what would help; a user without the capability."""
    script = f"import os, resource, sys\nresource.setrlimit(resource.RLIMIT_MEMLOCK, ({limit.replace(':', ', ')}))\n"
    script += "os.getuid() or os.setresuid(65534, 65534, 65534)\nfrom duende import cli\nsys.exit(cli.main(['mlock']))"
    preloaded = "import duende.cli.command, duende.cli.verbs, duende.cli.locking\n"
    done = subprocess.run(
        [sys.executable, "-c", preloaded + script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == exits.FAILED, done.stderr
    assert f"would fail with {text}" in done.stdout


def test_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    """Says what it does, and what there is; unknown words are explained."""
    line = [sys.executable, "-m", "duende.examples.mlock"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert done.stdout.count("Result: ") == 2
    assert "=== Example Complete ===" in done.stdout
    assert example.main(["--status"]) == 0
    assert "CAP_IPC_LOCK" in capsys.readouterr().out
    assert example.main(["--what"]) == 64
    assert example.main(["--help"]) == 0
