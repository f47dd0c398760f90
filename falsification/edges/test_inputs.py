"""Attempts with input that no daemon can be started from, and with the package as a user installs it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from duende.config.model import DaemonConfig
from duende.errors import ConfigError, DuendeError
from duende.states import Phase
from falsification.kit import Trial, attempt
from falsification.workbench import ROOT, manager_for, never

MIB = 1024 * 1024


async def command(
    *argv: str, within: float = 20.0, python: str = sys.executable, cwd: Path = ROOT
) -> tuple[int, str]:
    """Exit code and output of `duende ARGV`."""
    process = await asyncio.create_subprocess_exec(
        python,
        "-m",
        "duende",
        *argv,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), within)
    except TimeoutError:
        process.kill()
        return -1, f"it hung for {within} s"
    return process.returncode or 0, output.decode(errors="replace")


@attempt("F108", saboteurs=["anything-goes-into-the-environment"])
async def test_oversized_variable_is_refused(trial: Trial) -> None:
    """A variable of 1 MB is refused with its name and size, before anything is started; one that fits passes unharmed."""
    manager = await manager_for(trial)
    big = never(DaemonConfig(name="big", binary_path="sleep", args=("600",), env={"HUGE": "x" * MIB}))
    trial.reached("a variable of 1 MB was injected", at_least=2)
    try:
        manager.register(big)
        view = await manager.start("big")
        trial.check(False, f"it is refused; it is {view.status} with pid {view.pid}")
    except ConfigError as error:
        trial.check(
            "HUGE" in str(error) and str(MIB)[:4] in str(error).replace(",", ""),
            f"the error names the variable and its size: {error}",
        )
    except DuendeError as error:
        trial.check(False, f"it is refused before a start is tried: {error}")
    trial.check(not manager.list(), "nothing half-done is left of it")
    source = trial.tmp / "big.toml"
    source.write_text(f'name = "big"\nbinary_path = "sleep"\n[env]\nHUGE = "{"x" * MIB}"\n')
    code, output = await command("validate", str(source))
    trial.reached("a variable of 1 MB was injected")
    trial.check(
        code == 1 and "HUGE" in output and "Traceback" not in output,
        f"the command refuses it too ({code}): {output[:300]}",
    )
    fits = "y" * (128 * 1024 - 100)
    manager.register(
        never(DaemonConfig(name="fits", binary_path="sleep", args=("600",), env={"LARGE": fits}))
    )
    with trial.claimed("a variable just below the kernel's limit is accepted"):
        view = await manager.start("fits")
    trial.check(
        f"LARGE={fits}".encode() in Path(f"/proc/{view.pid}/environ").read_bytes(), "and arrives whole"
    )


@attempt("F109", timeout=90, saboteurs=["system-errors-go-unexplained", "any-length-will-do"])
async def test_over_long_path_is_refused(trial: Trial) -> None:
    """A path beyond PATH_MAX, or a component beyond NAME_MAX, gives one clear error with ENAMETOOLONG, wherever it is used."""
    manager = await manager_for(trial)
    trial.situation("an over-long path was used", at_least=12)
    for long in ("/tmp/" + "d/" * 2100 + "x", "/tmp/" + "n" * 300):
        for arguments in (("validate", long), ("run", "m:C", "--config", long), ("start", long + ".toml")):
            code, output = (
                await command(*arguments, "--runtime-dir", str(trial.tmp / "none"))
                if arguments[0] == "start"
                else await command(*arguments)
            )
            trial.reached("an over-long path was used")
            trial.check(
                code not in (0, -1) and "ENAMETOOLONG" in output,
                f"{arguments[0]} refuses it with ENAMETOOLONG ({code}): {output[-300:]}",
            )
            trial.check("Traceback" not in output, f"{arguments[0]} explains instead of crashing")
        for key in ("binary_path", "working_dir", "pid_file", "env_file", "config_path"):
            fields = {"binary_path": "/bin/sleep", key: long}
            try:
                manager.register(DaemonConfig(name="long", **fields))  # type: ignore[arg-type]
                trial.check(False, f"{key} of {len(long)} bytes is refused")
            except ConfigError as error:
                trial.check(
                    "ENAMETOOLONG" in str(error) and key in str(error),
                    f"the error names {key} and ENAMETOOLONG: {error}",
                )
            trial.reached("an over-long path was used")
    trial.check(not manager.list(), "nothing is registered")
    parts = "/".join(["p" * 200] * 3)
    folder = trial.tmp / parts
    folder.mkdir(parents=True)
    manager.register(
        never(DaemonConfig(name="deep", binary_path="sleep", args=("600",), working_dir=str(folder)))
    )
    with trial.claimed("a long path within the limits works"):
        view = await manager.start("deep")
    trial.check(view.status.phase is Phase.RUNNING, "the daemon runs there")


@attempt("F110", saboteurs=["system-errors-go-unexplained"])
async def test_symlink_loop_is_refused(trial: Trial) -> None:
    """A configuration path that is a symbolic link to itself gives ELOOP at once, and no hang."""
    one, two = trial.tmp / "one.toml", trial.tmp / "two.toml"
    one.symlink_to(two)
    two.symlink_to(one)
    folder = trial.tmp / "loop"
    folder.symlink_to(folder)
    for arguments in (
        ("validate", str(one)),
        ("validate", str(folder / "x.toml")),
        ("run", "m:C", "--config", str(one)),
        ("start", str(one), "--runtime-dir", str(trial.tmp / "none")),
    ):
        code, output = await command(*arguments)
        trial.reached("a symbolic link loop was followed", at_least=4)
        trial.check(
            code not in (0, -1) and "ELOOP" in output, f"{arguments[0]} says ELOOP ({code}): {output[-300:]}"
        )
        trial.check("Traceback" not in output, f"{arguments[0]} explains instead of crashing")
    manager = await manager_for(trial)
    manager.register(never(DaemonConfig(name="loop", binary_path=str(one))))
    try:
        await manager.start("loop")
        trial.check(False, "a program behind a loop is refused")
    except DuendeError as error:
        trial.check("symbolic links" in str(error) or "ELOOP" in str(error), f"the error says so: {error}")
    trial.check(manager.status("loop").status.phase is Phase.FAILED, "its state says Failed")


@attempt("F095", timeout=300, saboteurs=["wheel-lacks-the-life-cycle"])
async def test_portable_daemon_runs_on_linux(trial: Trial) -> None:
    """The wheel, built and installed into a fresh environment on x86-64 Linux, runs the example daemon to a graceful end."""
    trial.check(os.uname().machine == "x86_64", "this is x86-64")
    wheels, env = trial.tmp / "wheels", trial.tmp / "venv"
    await _run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)
    )
    (wheel,) = wheels.glob("duende-*.whl")
    trial.log(f"built {wheel.name}")
    await _run(sys.executable, "-m", "venv", str(env))
    python = str(env / "bin" / "python")
    await _run(python, "-m", "pip", "install", "--quiet", str(wheel))
    trial.reached("the built package was installed and run")
    process = await asyncio.create_subprocess_exec(
        str(env / "bin" / "duende"),
        "run",
        "duende.examples.daemon:CounterDaemon",
        cwd=trial.tmp,
        env=_clean(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    trial.defer(lambda: process.kill() if process.returncode is None else None)
    seen = b""
    if process.stdout is None:
        raise RuntimeError("no pipe to the example")
    while b"Count: 2" not in seen:
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        if not line:
            break
        seen += line
    trial.attach("example.log", seen)
    trial.check(re.search(rb"Count: 1 .*Count: 2 ", seen, re.DOTALL), f"it counts: {seen[-500:].decode()!r}")
    process.terminate()
    rest = await asyncio.wait_for(process.stdout.read(), 20)
    trial.check(
        await process.wait() == 0 and b"[SHUTDOWN]" in rest, f"it ends gracefully: {rest[-300:].decode()!r}"
    )


def _clean() -> dict[str, str]:
    """The environment without what could bring in the source tree: only the installed package may be found."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}


async def _run(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv, env=_clean(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 200)
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv[:4])} ended with {process.returncode}: {output.decode()[-1500:]}")
