"""Attempts on a daemon's surroundings: its output, its environment, its working folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from duende.config.model import (
    DaemonConfig,
    LoggingConfig,
    ReadinessConfig,
    ReadinessKind,
    RestartConfig,
    RestartPolicy,
)
from falsification.kit import Trial, attempt
from falsification.workbench import SCRIPTS, adapter_for, manager_for, never, request

NEVER = RestartConfig(policy=RestartPolicy.NEVER)
READY = ReadinessConfig(kind=ReadinessKind.LOG_LINE, pattern="^ready", timeout=20)
BOTH = "import sys\nfor n in range(500):\n print('out', n, flush=True)\n print('err', n, file=sys.stderr, flush=True)\nprint('last words', end='')\n"


def chatty(trial: Trial, name: str, logging: LoggingConfig, rate: int, size: int, count: int) -> DaemonConfig:
    """A program that writes numbered lines."""
    argv = (
        "-I",
        str(SCRIPTS / "chatty.py"),
        str(trial.tmp / f"{name}.report"),
        str(rate),
        str(size),
        str(count),
    )
    return DaemonConfig(
        name=name, binary_path=sys.executable, args=argv, logging=logging, readiness=READY, restart=NEVER
    )


def numbers(text: str) -> list[int]:
    """The numbers of the lines in order."""
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith("line ")]


@attempt("F017", saboteurs=["stderr-goes-nowhere", "last-words-are-cut"])
async def test_logs_reach_their_place(trial: Trial) -> None:
    """Every line of stdout and stderr is at the configured place, in order, the last words included."""
    manager = await manager_for(trial)
    place = trial.tmp / "deep" / "er" / "out.log"
    manager.register(
        DaemonConfig(
            name="both",
            binary_path=sys.executable,
            args=("-I", "-S", "-c", BOTH),
            logging=LoggingConfig(path=str(place)),
            restart=NEVER,
        )
    )
    manager.begin_many(["both"])
    await trial.until(lambda: manager.status("both").status.is_terminal, within=20, what="it ends")
    await manager.stop("both")
    trial.attach("events", "\n".join(map(str, manager.events)))
    await trial.until(
        lambda: place.exists() and b"last words" in place.read_bytes(),
        within=2,
        what="the last words arrive",
        claimed=True,
    )
    text = place.read_text()
    for stream in ("out", "err"):
        found = [int(line.split()[1]) for line in text.splitlines() if line.startswith(stream)]
        trial.check(
            found == list(range(500)), f"all 500 lines of std{stream} are there in order, found {len(found)}"
        )
        trial.reached("a stream's output was looked for", at_least=2)
    path = trial.tmp / "chatty.log"
    manager.register(chatty(trial, "chatty", LoggingConfig(path=str(path)), 2000, 100, 0))
    await manager.start("chatty")
    await trial.until(lambda: path.stat().st_size > 100_000, within=20, what="it has written a lot")
    proof = await manager.stop("chatty")
    trial.check(proof.exit is not None and proof.exit.code == 0, f"it ended by itself: {proof.exit}")
    text = path.read_text()
    found = numbers(text)
    trial.check(found == list(range(found[0], found[0] + len(found))), "no line is missing or doubled")
    trial.check("last words" in text, "what it printed while handling TERM is there when stop() has returned")
    trial.figure("lines compared", float(len(found)), unit="lines")


@attempt("F018", saboteurs=["rotation-throws-away"])
async def test_logs_rotate_by_size(trial: Trial) -> None:
    """A log that outgrows its size is archived and a new file started; no line is lost, no file is larger than allowed."""
    manager = await manager_for(trial)
    path, limit = trial.tmp / "rotating.log", 64 * 1024
    manager.register(
        chatty(trial, "rotating", LoggingConfig(path=str(path), max_bytes=limit, backups=20), 5000, 100, 5000)
    )
    await manager.start("rotating")
    files: list[Path] = []

    def archives() -> int:
        files[:] = [found for number in range(20, 0, -1) if (found := Path(f"{path}.{number}")).exists()] + [
            path
        ]
        return len(files) - 1

    await trial.until(lambda: archives() >= 5, within=30, what="it rotates", claimed=True, every=0.05)
    await manager.stop("rotating")
    trial.reached("the log had outgrown its size", archives(), at_least=5)
    sizes = [file.stat().st_size for file in files]
    trial.figure(
        "largest file",
        [float(size) for size in sizes],
        unit="bytes",
        statistic="max",
        relation="<=",
        threshold=limit,
    )
    found = numbers("".join(file.read_text() for file in files))
    trial.check(len(found) >= 3000, f"thousands of lines were written, found {len(found)}")
    trial.check(
        found == list(range(found[0], found[0] + len(found))) and found[0] <= 1,
        "archive and new file together have every line in order",
    )
    trial.figure("archives", float(len(files) - 1), unit="files")


@attempt("F019", saboteurs=["environment-leaks"])
async def test_environment_stays_inside(trial: Trial) -> None:
    """A variable set for a daemon is seen by it and by nobody else: not the caller, not the warden, not a neighbour."""
    before = dict(os.environ)
    adapter = await adapter_for(trial)
    secret = f"secret-{trial.rng.random()}"
    neighbour = await adapter.launch(
        request(never(DaemonConfig(name="neighbour", binary_path="sleep", args=("600",))))
    )
    owner = await adapter.launch(
        request(
            never(
                DaemonConfig(
                    name="owner",
                    binary_path="sleep",
                    args=("600",),
                    env={"DUENDE_SECRET": secret, "PATH": "/usr/bin:/bin"},
                )
            )
        )
    )
    later = await adapter.launch(
        request(never(DaemonConfig(name="later", binary_path="sleep", args=("600",))))
    )
    inside = Path(f"/proc/{owner.pid}/environ").read_bytes()
    trial.reached("the daemon itself has the variable", secret.encode() in inside)
    trial.check(dict(os.environ) == before, "the caller's environment is what it was")
    warden = adapter.helper_pid
    for who, pid in (
        ("the caller", os.getpid()),
        ("the warden", warden),
        ("its neighbour", neighbour.pid),
        ("a daemon started later", later.pid),
    ):
        trial.check(
            secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes(), f"{who} does not have it"
        )
    os.environ["DUENDE_HOST_ONLY"] = "host"
    trial.defer(os.environ.pop, "DUENDE_HOST_ONLY", None)
    fresh = await adapter.launch(
        request(never(DaemonConfig(name="fresh", binary_path="sleep", args=("600",))))
    )
    trial.check(
        b"DUENDE_HOST_ONLY" not in Path(f"/proc/{fresh.pid}/environ").read_bytes(),
        "what the host has beyond the usual does not go in",
    )


@attempt("F020", saboteurs=["working-folder-is-forgotten"])
async def test_working_directory_is_configurable(trial: Trial) -> None:
    """Relative paths of a daemon resolve against the working folder it was given."""
    adapter = await adapter_for(trial)
    for number, preload in enumerate((None, True, False)):
        folder = trial.tmp / f"w {number}"
        folder.mkdir()
        if preload is None:
            config = DaemonConfig(
                name="sh",
                binary_path="/bin/sh",
                args=("-c", "echo here > mark; exec sleep 600"),
                working_dir=str(folder),
            )
        else:
            from falsification.workbench import daemon_class, exec_path, with_settings

            config = with_settings(daemon_class("Reloader", working_dir=str(folder)), value="here")
            config = config if preload else exec_path(config)
        handle = await adapter.launch(request(never(config)))
        mark = folder / ("mark" if preload is None else "active")
        await trial.until(
            mark.exists, within=10, what=f"{mark.name} appears in the working folder", claimed=True
        )
        trial.check("here" in mark.read_text(), "with what the daemon wrote")
        trial.check(os.readlink(f"/proc/{handle.pid}/cwd") == str(folder), "the kernel says the same")
        trial.reached("a daemon wrote to a relative path", at_least=3)
        await adapter.stop(handle, 5.0)
